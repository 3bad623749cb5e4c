"""Rows of what is defined, beside very much else that is: plans of one subscription above all."""

from __future__ import annotations

from functools import partial

from app.api.definitions.definitions_json import metric_json
from app.definitions import commands
from bench.growth.spent import Spent
from bench.growth.world import NOW_MS, ORG, TIMES, World
from bench.world import METRICS


def metric_told(children: int) -> Spent:
    """Rename a metric, and tell it, beside so many plans that each are of one subscription."""
    world = World()
    for number in range(children):
        world.override(number)
    code = str(METRICS[0]["code"])

    def told(number: int) -> None:
        renamed = {"name": f"name {number}"}
        metric = world.apply(commands.update_billable_metric(ORG, code, renamed)).object
        metric_json(world.definitions, metric, NOW_MS)

    return world.spent([partial(told, number) for number in range(TIMES)])
