"""What the ledger costs beside the fold, and what it spares whoever reads events again.

Writing: what folds, with and without a ledger, by turns. Reading: a subscription of
1,000 events beside ever more of its partition, from all records and from the ledger.

    python -m bench.ledger [--events 10000 100000 1000000]
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from app.ledger.ledger import Ledger, LedgerRoom, Place
from app.ledger.rows import KeyRanges, rows_of
from app.runtime.partition.owned import slices_of
from app.settings import LOCAL_ORGANIZATION_ID as ORG
from app.wire.arrivals import Arrival, Arrived, plain_arrival, runs_of
from bench.world import NOW_MS, definitions, event_value, number_of, subscription_of
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tables.partition.refold import Refold

FLUSH_EVENTS = 50_000
SLICE_EVENTS = 1_000
PORTION_EVENTS = 10_000
WRITTEN_EVENTS = 100_000
ROUNDS = 5
OF_EACH = 1_000
DISK_BYTES = 1 << 40


class World:
    """A partition that takes events of so many subscriptions, in turns."""

    def __init__(self, events: int, subscriptions: int, directory: Path):
        self.subscriptions, self.events = subscriptions, events
        self.partition = Partition(0, definitions(subscriptions), EventIndex())
        self.checkpoint = self.partition.checkpoint
        self.checkpoint.append_time_ms = NOW_MS
        room = LedgerRoom(directory, DISK_BYTES)
        self.ledger: Ledger = room.of(0, self.checkpoint, _nothing)
        self.decoding_s = self.taking_s = self.noting_s = self.packing_s = 0.0

    def portions(self) -> Iterator[list[Arrival]]:
        """Yield what the records hold."""
        for start in range(0, self.events, PORTION_EVENTS):
            values = [
                event_value(i, number_of(i, self.subscriptions), NOW_MS / 1000)
                for i in range(start, min(self.events, start + PORTION_EVENTS))
            ]
            began = time.process_time()
            found = [
                plain_arrival(value, NOW_MS, 0, start + i, ORG) for i, value in enumerate(values)
            ]
            self.decoding_s += time.process_time() - began
            yield [arrival for arrival in found if arrival is not None]

    async def take(self) -> None:
        """Fold and note all of it."""
        clock = time.process_time
        for portion in self.portions():
            began = clock()
            runs = runs_of(portion)
            self.taking_s += clock() - began
            for part in slices_of(runs, SLICE_EVENTS, self.partition.packing.weight_of, clock):
                began = clock()
                self.partition.missing_members(part)
                self.partition.fold(part)
                folded = clock()
                self.ledger.note(part, plain=True)
                self.noting_s += clock() - folded
                self.taking_s += folded - began
            self.checkpoint.raw_next = portion[-1].raw_offset + 1
            if self.checkpoint.raw_next % FLUSH_EVENTS == 0:
                began = clock()
                self.partition.take_changes()
                self.taking_s += clock() - began
                began = clock()
                self.ledger.pack()
                self.ledger.commit()
                await self.ledger.rest()
                self.packing_s += clock() - began

    def refold(self) -> Refold:
        """Begin a refold of one metric of one subscription."""
        name = (ORG, str(subscription_of(0)["external_id"]))
        meter_keys = sorted(self.partition.event_ranges.meter_keys_of(name))
        return Refold(self.partition, meter_keys[:1])


async def _nothing(_: Sequence[Place]) -> Mapping[Place, Arrived]:
    return {}


async def writing(subscriptions: int) -> None:
    """Tell what an event costs with the ledger, and what of it is the ledger's."""
    best = [float("inf")] * 3
    for _ in range(ROUNDS):
        with TemporaryDirectory() as directory:
            world = World(WRITTEN_EVENTS, subscriptions, Path(directory))
            await world.take()
        spent = (world.decoding_s + world.taking_s, world.noting_s, world.packing_s)
        best = [min(pair) for pair in zip(best, spent, strict=True)]
    taking, noting, packing = (each / WRITTEN_EVENTS * 1e6 for each in best)
    print(
        f"{subscriptions:>7,} subscriptions: decode, fold and pack {taking:.2f} us an event; "
        f"note {noting:.2f}, write {packing:.2f}: {(noting + packing) / taking:.1%}"
    )


async def reading(events: int) -> None:
    """Tell what reading one subscription of 1,000 events again costs."""
    with TemporaryDirectory() as directory:
        world = World(events, max(1, events // OF_EACH), Path(directory))
        await world.take()
        world.decoding_s = feeding_s = 0.0
        job, rows = world.refold(), 0
        for part in world.portions():
            began = time.process_time()
            job.feed(part)
            feeding_s += time.process_time() - began
            rows += len(part)
        assert job.swap()
        spent_s = world.decoding_s + feeding_s
        print(f"{events:>9,} events: all records {rows:>9,} rows, {spent_s * 1e3:>9,.1f} ms")
        job, rows = world.refold(), 0
        began = time.process_time()
        names, codes = job.sought()
        for found_part in await world.ledger.locate(KeyRanges.of(names, codes)):
            for chunk in await world.ledger.read(found_part) or ():
                found = [row for row in rows_of(chunk, 0) if isinstance(row, Arrival)]
                job.feed(found)
                rows += len(found)
        assert job.swap()
        spent_s = time.process_time() - began
        print(f"{'':>9}         the ledger  {rows:>9,} rows, {spent_s * 1e3:>9,.1f} ms")


def main() -> None:
    """Measure both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    told = parser.parse_args()
    for subscriptions in (250, 10_000):
        asyncio.run(writing(subscriptions))
    for events in told.events:
        asyncio.run(reading(events))


if __name__ == "__main__":
    main()
