"""What an event costs beside how many pairs there are, and what of it goes to the changelogs.

A pair is a subscription and a code. The core alone, without a server: all pairs are touched once,
then each round decodes, groups, folds and packs the same number of events. Narrow loads bring a
pair several events a portion, wide ones about one. Reading is not in it: `bench.contest` tells
what a whole worker costs, narrow and wide, against reading alone.

    python -m bench.pairs [--pairs 1250 10000 100000] [--rounds N] [--profile]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Mapping

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from app.bounds.collecting import Collecting, pass_over
from app.definitions.state import Definitions
from app.kafka.transactions import Record
from app.kernel import arrive, arrive_many, split
from app.runtime.partition.owned import slices_of, straight_parts
from app.wire.arrivals import PLAINLY, Arrival, MeterKey
from bench.world import METRICS, NOW_MS, definitions, event_value, number_of, profiling
from tables.event_index.index import EventIndex
from tables.partition.copies import Copies, Duplicate
from tables.partition.partition import Partition

ROUND_EVENTS = 50_000
"""As much as a flush takes in a second or two."""
PORTION_EVENTS = 5_000
RECORDS_AT = 61
"""Where the records of a batch begin."""
SLICE_EVENTS = 1_000
PORTION_MS = 100


ValueOf = Callable[[int, int, float], bytes]
"""From the number of an event, its subscription and the time in seconds."""


class Load:
    """A partition that takes events of so many pairs in turns."""

    def __init__(
        self, pairs: int, made: Definitions | None = None, value_of: ValueOf = event_value
    ):
        self.subscriptions = pairs // len(METRICS)
        self._value_of = value_of
        self.partition = Partition(0, made or definitions(self.subscriptions), EventIndex())
        self.partition.event_ranges.most_undefined = pairs
        self.taken = 0
        self._batches: dict[int, tuple[bytes, int, int]] = {}
        """Batches of what comes, by first event: bytes, and where the records begin and end."""
        self.records: Counter[str] = Counter()
        self.record_bytes = 0

    def values(self, count: int) -> list[bytes]:
        """Return the next events as they are read."""
        span = range(self.taken, self.taken + count)
        values = [
            self._value_of(i, number_of(i, self.subscriptions), self._now_ms(i) / 1000)
            for i in span
        ]
        for first in range(0, count, PORTION_EVENTS):
            part = values[first : first + PORTION_EVENTS]
            batch = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 40)
            for number, value in enumerate(part):
                batch.append(number, timestamp=0, key=None, value=value, headers=[])
            packed = bytes(batch.build())
            self._batches[self.taken + first] = packed, RECORDS_AT, len(packed)
        return values

    def _now_ms(self, number: int) -> int:
        return NOW_MS + number // PORTION_EVENTS * PORTION_MS

    def take(self, values: list[bytes]) -> tuple[float, float, float]:
        """Decode, fold and flush; return the CPU time of each."""
        clock = time.process_time
        decoding_s = folding_s = 0.0
        for start in range(0, len(values), PORTION_EVENTS):
            began = clock()
            runs = self._decoded(values[start : start + PORTION_EVENTS])
            decoded = clock()
            partition = self.partition
            weight_of, clock_s = partition.packing.weight_of, time.monotonic
            found = list(runs.items())
            for some in straight_parts(found, SLICE_EVENTS, partition.routes, clock_s):
                straight = partition.fold_straight(some)
                self.note_copies(straight.copies)
                for part in slices_of(straight.rest, SLICE_EVENTS, weight_of, clock_s):
                    first = partition.fold_first(part)
                    self.note_copies(first.copies)
                    partition.missing_members(first.rest)
                    self.note(partition.fold_closely(first.rest).duplicates)
            folding_s += clock() - decoded
            decoding_s += decoded - began
        began = clock()
        self.partition.instants.let_rest()
        changes = self.partition.take_changes()
        records = [
            Record(changelog, 0, key, value)
            for changelog, keys, values in self.partition.rows_of(changes)
            for key, value in zip(keys, values, strict=True)
        ]
        packing_s = clock() - began
        self.records.update(record.topic for record in records)
        self.record_bytes += sum(len(r.key or b"") + len(r.value or b"") for r in records)
        self.partition.index.seal_flush(self.partition.checkpoint.flush)
        self.partition.instants.at_rest.seal_flush(self.partition.checkpoint.flush)
        return decoding_s, folding_s, packing_s

    def note_copies(self, copies: Copies) -> None:
        """Take what was known already; nobody asks here."""

    def note(self, duplicates: list[Duplicate]) -> None:
        """Take what turned out to be known, where it was looked at closely."""

    def _decoded(self, values: list[bytes]) -> dict[MeterKey, list[Arrival]]:
        runs: dict[MeterKey, list[Arrival]] = {}
        at_ms, first, size = self._now_ms(self.taken), self.taken, len(values)
        self.taken += size
        records = split(
            *self._batches.pop(first), size, first, first + size, first, 0, at_ms, tuple
        )
        if records is None:
            for offset, value in enumerate(values, first):
                arrive(value, at_ms, 0, offset, None, runs, PLAINLY)
        else:
            room = 1 << 40
            arrive_many(records, 0, room, 0, first, at_ms, at_ms, 0, 0, None, runs, PLAINLY)
        return runs


def best_of(load: Load, rounds: int, *, profile: bool) -> tuple[float, float, float, float]:
    """Touch every pair, then play rounds; return µs of a touch, and of decode, fold and pack."""
    pairs = load.subscriptions * len(METRICS)
    touched_s = sum(load.take(load.values(pairs)))
    load.records.clear()
    load.record_bytes = 0
    pass_over()
    took = []
    with profiling(profile) as noting:
        for _ in range(rounds):
            values = load.values(ROUND_EVENTS)
            with noting:
                took.append(load.take(values))
    decode, fold, pack = (each / ROUND_EVENTS * 1e6 for each in min(took, key=sum))
    return touched_s / pairs * 1e6, decode, fold, pack


def tell_kinds(description: str | None, loads: Mapping[str, Callable[[], Load]]) -> None:
    """Print what an event costs of each load, or of those that are named."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("kinds", nargs="*", choices=[[], *loads])
    told = parser.parse_args()
    Collecting().start()
    for name in told.kinds or loads:
        _, decode, fold, pack = best_of(loads[name](), told.rounds, profile=False)
        print(
            f"{name:26} {decode + fold + pack:6.2f} us an event: decode {decode:.2f},"
            f" fold {fold:.2f}, pack {pack:.2f}"
        )


def measure(pairs: int, rounds: int, *, profile: bool) -> None:
    """Print what an event costs beside so many pairs."""
    load, events = Load(pairs), rounds * ROUND_EVENTS
    touch, decode, fold, pack = best_of(load, rounds, profile=profile)
    told = ", ".join(f"{name} {count / events:.2f}" for name, count in load.records.items())
    print(
        f"{pairs:>9,} pairs: first touch {touch:.1f} us\n"
        f"{'':>9} {decode + fold + pack:6.2f} us an event: decode {decode:.2f}, fold {fold:.2f},"
        f" pack {pack:.2f}\n"
        f"{'':>9} {load.records.total() / events:6.2f} changelog records an event ({told}),"
        f" {load.record_bytes / events:.0f} bytes"
    )


def main() -> None:
    """Measure each number of pairs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, nargs="*", default=[1_250, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--profile", action="store_true")
    told = parser.parse_args()
    Collecting().start()
    for pairs in told.pairs:
        measure(pairs, told.rounds, profile=told.profile)


if __name__ == "__main__":
    main()
