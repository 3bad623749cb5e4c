"""The core alone: decode, fold and pack for the changelog, without any server.

python -m bench.fold [--events N] [--profile]
"""

from __future__ import annotations

import cProfile
import gc
import pstats
import time

import click

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.judging import Judging
from app.definitions.log import apply
from app.definitions.outcome import Applied
from app.definitions.state import Definitions
from app.settings import LOCAL_ORGANIZATION_ID as ORG
from app.wire.arrivals import Arrival, arrivals_of, runs_of
from bench.world import METRICS, charge_of, event_value, number_of, plan_of, subscription_of
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition

NOW_MS = 1_767_225_600_000
SLICE_EVENTS = 500


@click.command()
@click.option("--events", default=200_000, show_default=True)
@click.option("--subscriptions", default=250, show_default=True)
@click.option("--profile", is_flag=True)
def main(events: int, subscriptions: int, profile: bool) -> None:
    """Measure the core."""
    partition = Partition(0, definitions(subscriptions), EventIndex())
    values = [event_value(i, number_of(i, subscriptions), NOW_MS / 1000) for i in range(events)]
    profiler = cProfile.Profile() if profile else None
    gc.collect()
    gc.freeze()
    decoding = folding = 0.0
    accepted = 0
    if profiler:
        profiler.enable()
    for start in range(0, events, SLICE_EVENTS):
        began = time.process_time()
        part = runs_of(_arrivals(values[start : start + SLICE_EVENTS], start))
        decoded = time.process_time()
        partition.missing_members(part)
        accepted += partition.fold(part).accepted
        folding += time.process_time() - decoded
        decoding += decoded - began
    if profiler:
        profiler.disable()
    _report("decode", events, decoding)
    _report("fold", accepted, folding)
    started = time.process_time()
    changes = partition.take_changes()
    _report("pack", events, time.process_time() - started)
    counts = (f"{name} {len(changes.rows[name]):,}" for name in ("cells", "members", "presence"))
    click.echo("  ".join(counts))
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(30)


def _arrivals(values: list[bytes], offset: int) -> list[Arrival]:
    return [
        arrival
        for i, value in enumerate(values)
        for arrival in arrivals_of(value, (), NOW_MS, 0, offset + i, Judging())
        if isinstance(arrival, Arrival)
    ]


def definitions(subscriptions: int, at_ms: int = NOW_MS) -> Definitions:
    """Return metrics, a plan of all and subscriptions, made at a time."""
    definitions = Definitions()
    charges = []
    for body in METRICS:
        applied = define(definitions, commands.create_billable_metric(ORG, body), at_ms)
        charges.append(charge_of(applied.object.id))
    define(definitions, commands.create_plan(ORG, plan_of(charges)), at_ms)
    for i in range(subscriptions):
        define(definitions, commands.create_subscription(ORG, subscription_of(i)), at_ms)
    return definitions


def define(definitions: Definitions, command: Command, at_ms: int = NOW_MS) -> Applied:
    """Apply a command that has to be accepted."""
    outcome = apply(definitions, command.encode(), at_ms, definitions.offset)
    if not isinstance(outcome, Applied):
        raise TypeError(str(outcome))
    return outcome


def _report(what: str, events: int, cpu_s: float) -> None:
    click.echo(f"{what:10} {cpu_s / events * 1e6:6.2f} µs CPU/event")


if __name__ == "__main__":
    main()
