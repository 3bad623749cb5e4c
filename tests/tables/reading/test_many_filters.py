"""A charge with many filters: what an event and a row cost does not follow how many there are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from app.definitions import commands
from bench.growth.spent import steps_of
from tables.reading.usage import current_usage
from tests.world import bodies
from tests.world.clock import HOUR_MS, START_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, lines, plan_body, subscription_body
from tests.world.events import arrived
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)
FEW, MANY = 30, 300


def filtered(filters: int) -> Live:
    """A charge with so many filters, each by one text."""
    texts = [str(number) for number in range(filters)]
    metric = bodies.metric("m", "count_agg", filters=[{"key": "k", "values": texts}])
    grouped = {"amount": "1", "pricing_group_keys": ["g"]}
    charge = {
        **bodies.charge(),
        "filters": [{"values": {"k": [text]}, "properties": grouped} for text in texts],
    }
    made = [
        commands.set_settings(SETTINGS),
        commands.create_billable_metric(ORG, metric),
        commands.create_plan(ORG, {**plan_body([]), "charges": [charge]}),
        commands.create_subscription(ORG, subscription_body()),
    ]
    live = Live(lines((START_MS - HOUR_MS, command) for command in made))
    live.define_all()
    live.deliver([arrived("m", 0, START_MS, k="0", g="first")])
    return live


def an_event(live: Live, filters: int) -> float:
    sent = [arrived("m", 1 + n, START_MS + n, k=str(n), g="x") for n in range(filters)]
    return steps_of(partial(live.deliver, sent)) / filters


def a_row(live: Live, filters: int) -> float:
    an_event(live, filters)
    return steps_of(partial(current_usage, live.partition, NAME, START_MS + HOUR_MS)) / filters


@pytest.mark.parametrize("spent", [an_event, a_row])
def test_one_costs_the_same_beside_many(spent: Callable[[Live, int], float]) -> None:
    few, many = (spent(filtered(filters), filters) for filters in (FEW, MANY))
    assert many < 1.1 * few
