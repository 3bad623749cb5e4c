"""What a correction costs beside ever more events of its partition: a refold, and a repair.

A partition without servers; subscriptions of 1,000 events each. Some events of one subscription are
cancelled, one after another. A refold is fed as a scan does: all events from the first one of the
subscription on. A repair is given the one event, which a worker reads by one look-up.

    python -m bench.corrections --events 10000 100000 1000000
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.state import Definitions
from app.wire.arrivals import Arrival, CorrectionArrival, runs_of
from app.wire.events import Correction, Event
from bench.world import METRICS, charge_of, plan_of, subscription_of
from tables.closing.close import next_cut, settle
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tables.partition.refold import Refold
from tables.partition.repair import Original, Repair

ORG = "bench"
FROM_MS = 1_767_225_600_000
"""2026-01-01"""
OF_EACH = 1_000
"""Events of a subscription."""
CODES = ("calls", "gb")
SLICE = 2_000
OFFSET = 1 << 40
"""Of the first correction."""


def external_id_of(number: int) -> str:
    """Name a subscription."""
    return str(subscription_of(number)["external_id"])


def arrival_of(number: int, subscriptions: int) -> Arrival:
    """Make an event of the partition; subscriptions and metrics take turns."""
    external_id = external_id_of(number % subscriptions)
    code = CODES[number // subscriptions % len(CODES)]
    event = Event(ORG, external_id, f"t{number}", code, FROM_MS + number, None, b'{"gb":1.25}', b"")
    return Arrival(event, ORG, FROM_MS + number, 0, number, 0)


def parts_of(arrivals: Iterator[Arrival]) -> Iterator[list[Arrival]]:
    """Yield arrivals by slices."""
    while part := list(islice(arrivals, SLICE)):
        yield part


class World:
    """A partition with so many events."""

    def __init__(self, events: int):
        self.events, self.subscriptions = events, max(1, events // OF_EACH)
        self.definitions = Definitions()
        self._apply(commands.set_settings(SettingsRecord(grace_s=0)))
        bodies = [body for body in METRICS if body["code"] in CODES]
        metrics = [self._apply(commands.create_billable_metric(ORG, body)) for body in bodies]
        charges = [charge_of(metric.object.id) for metric in metrics]
        self._apply(commands.create_plan(ORG, plan_of(charges)))
        self._apply(commands.upsert_customer(ORG, {"external_id": "customer"}))
        for number in range(self.subscriptions):
            body = {**subscription_of(number), "external_customer_id": "customer"}
            self._apply(commands.create_subscription(ORG, body))
        self.partition = Partition(0, self.definitions, EventIndex())
        for part in parts_of(self.arrivals()):
            self.partition.fold(runs_of(part))
        # The first cut is that of the period before.
        settle(self.partition, FROM_MS)
        self.name = (ORG, external_id_of(0))

    def _apply(self, command: Command) -> Any:
        return apply(self.definitions, command.encode(), FROM_MS - 1, self.definitions.offset)

    def arrivals(self) -> Iterator[Arrival]:
        """Yield what a scan reads."""
        return (arrival_of(number, self.subscriptions) for number in range(self.events))

    def cancel(self, number: int) -> None:
        """Take in the cancel of one event."""
        external_id = external_id_of(number % self.subscriptions)
        told = Correction(ORG, external_id, f"t{number}", "cancel", None, f"c{number}", b"")
        at_ms = FROM_MS + self.events + number
        assert self.partition.corrected.correct(
            CorrectionArrival(told, ORG, at_ms, 0, OFFSET + number, 0)
        )

    def refold(self) -> int:
        """Put corrections in force by a refold; return how many records were read."""
        next_ms = next_cut(self.partition, self.name)
        meter_keys = self.partition.event_ranges.meter_keys_of(self.name)
        job = Refold(self.partition, meter_keys, {self.name: next_ms})
        read = 0
        for part in parts_of(self.arrivals()):
            job.feed(part)
            read += len(part)
        assert job.swap()
        return read

    def repair(self) -> int:
        """Put corrections in force by a repair; return how many records were read."""
        job = Repair(self.partition, self.name, next_cut(self.partition, self.name))
        originals: dict[bytes, Original | None] = {}
        for identity in job.turning():
            entry = self.partition.index.find(identity)
            assert entry is not None
            arrival = arrival_of(entry.raw_offset, self.subscriptions)
            originals[identity] = Original.of(entry, arrival)
        assert drained(job.repairing(originals))
        job.finish()
        return len(originals)


def measured(world: World, by: str, numbers: Iterable[int]) -> None:
    """Cancel events, and print what one of them costs."""
    work, count, read, took_s = world.partition.work.counts, 0, 0, 0.0
    work.clear()
    for number in numbers:
        world.cancel(number)
        begun_s = time.process_time()
        read += world.repair() if by == "repair" else world.refold()
        took_s += time.process_time() - begun_s
        count += 1
    touched = dict.fromkeys(("index_rows", "cells"), 0.0)
    for (_, kind), amount in work.items():
        touched[kind] = touched.get(kind, 0) + amount / count
    told = ", ".join(f"{kind} {amount:,.0f}" for kind, amount in touched.items())
    print(
        f"{world.events:>9,} events, {by:6}: log_records {read / count:,.0f}, {told}, "
        f"{1000 * took_s / count:,.2f} ms each",
        flush=True,
    )


def main() -> None:
    """Measure both ways at each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--refolds", type=int, default=2)
    parser.add_argument("--repairs", type=int, default=200)
    given = parser.parse_args()
    for events in given.events:
        world = World(events)
        numbers = iter(range(0, events, world.subscriptions))
        measured(world, "refold", [next(numbers) for _ in range(given.refolds)])
        measured(world, "repair", [next(numbers) for _ in range(given.repairs)])


if __name__ == "__main__":
    main()
