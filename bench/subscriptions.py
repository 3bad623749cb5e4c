"""What a worker weighs that has very many subscriptions, each with a live cell or a few.

    python -m bench.subscriptions [COUNT] [--cells 1] [--partitions 8] [--parts]

The core alone, without a server: definitions as a worker applies them, one event for each cell,
flushed, and the changelogs read back in a process of its own, as after a start. Then a day goes by:
one more event for each cell, spread over it, and what is idle cools. What clients of Kafka, the
API and the member sets in Redis take comes on top. `--parts` says what takes it, at a third more
memory while it counts.
"""

from __future__ import annotations

import argparse
import gc
import tempfile
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import count, islice, product
from pathlib import Path

import msgspec
import psutil

from app.bounds.collecting import Collecting
from app.bounds.turns import drained
from app.definitions.log import applying
from app.definitions.outcome import Applied
from app.definitions.state import Definitions
from app.runtime.shelf import Shelf
from app.settings import LOCAL_ORGANIZATION_ID as ORG
from app.wire.arrivals import Arrival, SubscriptionKey, runs_of
from app.wire.events import Event
from bench.world import (
    METRICS,
    SINCE_JANUARY,
    definitions_log,
    in_own_process,
    keyed,
    subscription_of,
)
from tables.changelogged.checkpoint import Checkpoint
from tables.closing.schedule import Schedule
from tables.event_index.index import EventIndex
from tables.partition.cooling import Cooling
from tables.partition.partition import Partition
from tables.partition.tables import Carried

NOW_MS = 1_768_435_200_000
"""2026-01-15"""
DAY_MS = 86_400_000
SLICE = 1_000
PARTS_OF_DAY = 144
"""Ten minutes each, after which what is idle is packed."""
WARM_BYTES = 512 << 20


class Shape(msgspec.Struct):
    """How many there are of what."""

    subscriptions: int
    cells: int
    partitions: int
    parts: bool

    def names(self, home: int) -> Iterator[SubscriptionKey]:
        """Yield whose home a partition is."""
        for number in range(self.subscriptions):
            external_id = str(subscription_of(number)["external_id"])
            if keyed(external_id, self.partitions)[1] == home:
                yield ORG, external_id


def logged(shape: Shape, directory: Path) -> None:
    """Write the log of definitions: metrics, one plan, subscriptions with a customer each."""
    with (directory / "log").open("wb") as log:
        for command in definitions_log(shape.subscriptions, SINCE_JANUARY, shape.cells):
            log.write(command.encode() + b"\n")


def defined(directory: Path) -> Definitions:
    """Apply the log of definitions; as in a worker most of it rests on local disk."""
    known = Definitions(Shelf(directory / "shelf").keep)
    with (directory / "log").open("rb") as log:
        for offset, value in enumerate(log):
            outcome = drained(applying(known, value, NOW_MS - DAY_MS + offset, offset))
            if not isinstance(outcome, Applied):
                raise TypeError(str(outcome))
    return known


def events(
    names: Iterable[SubscriptionKey], shape: Shape, offsets: Iterator[int], at_ms: int
) -> Iterator[Arrival]:
    """Yield an event for each cell of subscriptions, at home where it comes."""
    value = b'{"gb":1.25,"cores":3,"user":"u"}'
    for name, metric in product(names, METRICS[: shape.cells]):
        offset, code = next(offsets), str(metric["code"])
        sent = Event(ORG, name[1], f"t{offset}", code, at_ms, None, value, b"")
        yield Arrival(sent, ORG, at_ms, 0, offset, 0)


def fold(state: Partition, arrivals: Iterable[Arrival]) -> None:
    """Fold events; of the members nobody knows any yet."""
    rest = iter(arrivals)
    while part := list(islice(rest, SLICE)):
        runs = runs_of(part)
        for name in state.missing_members(runs):
            state.members.fill(name, None)
        state.fold(runs)


def flush(state: Partition) -> Iterator[tuple[str, list[tuple[bytes, bytes | None]]]]:
    """Yield what a flush writes; the index is sealed as on local disk."""
    changes = state.take_changes()
    for changelog, keys, values in state.rows_of(changes):
        yield changelog, list(zip(keys, values, strict=True))
    state.index.seal_flush(state.checkpoint.flush)


def write(shape: Shape, directory: Path) -> None:
    """Fold one event for each cell, and write the changelogs as they are after compaction."""
    logged(shape, directory)
    known = defined(directory)
    for home in range(shape.partitions):
        state = Partition(home, known, EventIndex(directory / f"index{home}"))
        newest: dict[str, dict[bytes, bytes]] = {}
        names = iter(list(shape.names(home)))
        offsets = count()
        while part := list(islice(names, 20_000)):
            fold(state, events(part, shape, offsets, NOW_MS))
            for changelog, rows in flush(state):
                kept = newest.setdefault(changelog, {})
                for key, value in rows:
                    if value is None:
                        kept.pop(key, None)
                    else:
                        kept[key] = value
            for name in part:
                state.packing.pack(name)
        state.index.close()
        told = msgspec.msgpack.encode((state.checkpoint, newest))
        (directory / f"state{home}").write_bytes(told)


def run(shape: Shape, directory: Path) -> None:
    """Start from the changelogs, and go on for a day; say what is held after each."""
    Collecting().start()
    if shape.parts:
        tracemalloc.start(4)
    weigh = Scale(shape)
    weigh("before")
    known = defined(directory)
    weigh("definitions")
    owned = [restored(directory, home, known) for home in range(shape.partitions)]
    weigh("cells and event ranges")
    homes: list[list[SubscriptionKey]] = [[] for _ in owned]
    for name in known.all_subscription_keys():
        homes[keyed(name[1], shape.partitions)[1]].append(name)
    schedules = [Schedule(state, ()) for state in owned]
    for state, schedule in zip(owned, schedules, strict=True):
        for name in homes[state.number]:
            schedule.update(name)
            state.packing.pack(name)
    del homes
    weigh("cuts to come: after a start")
    for state in owned:
        a_day(shape, state)
    weigh("a day's events: after a day")
    del schedules


def restored(directory: Path, home: int, known: Definitions) -> Partition:
    """Load one partition as a restore does."""
    told = (directory / f"state{home}").read_bytes()
    checkpoint, newest = msgspec.msgpack.decode(
        told, type=tuple[Checkpoint, dict[str, dict[bytes, bytes]]]
    )
    del told
    index = EventIndex(directory / f"index{home}")
    state = Partition(home, known, index, carried=Carried(checkpoint))
    for changelog, load in (
        ("presence", state.event_ranges.load),
        ("cells", state.packing.load_cell),
    ):
        for key, value in newest[changelog].items():
            load(key, value)
    drained(state.loaded())
    if not drained(state.restored()):
        raise RuntimeError("what was written is torn")
    return state


def a_day(shape: Shape, state: Partition) -> None:
    """Fold an event more for each cell, a part each ten minutes, and let cool what is idle."""
    names = list(shape.names(state.number))
    cooling, offsets = Cooling(state), count(1 << 40)
    for part in range(PARTS_OF_DAY):
        at_ms = NOW_MS + (part + 1) * DAY_MS // PARTS_OF_DAY
        fold(state, events(names[part::PARTS_OF_DAY], shape, offsets, at_ms))
        state.checkpoint.append_time_ms = at_ms
        # As ticks move it.
        state.definitions.append_time_ms = max(state.definitions.append_time_ms, at_ms)
        for _ in flush(state):
            pass
        drained(cooling.cooling(WARM_BYTES // shape.partitions))


class Scale:
    """Says what is held now, and how much more than the last time."""

    def __init__(self, shape: Shape):
        self._shape = shape
        self._before = 0
        self._began_s = time.process_time()

    def __call__(self, what: str) -> None:
        gc.unfreeze()
        gc.collect()
        memory = psutil.Process().memory_info().rss
        grown = (memory - self._before) / self._shape.subscriptions
        took_s = time.process_time() - self._began_s
        print(
            f"{what:30} {memory / 2**20:8,.0f} MiB {grown:8,.0f} bytes more a subscription "
            f"{took_s:8.1f} s of CPU",
            flush=True,
        )
        self._before = memory
        if self._shape.parts and what != "before":
            taken = tracemalloc.take_snapshot().statistics("lineno")
            for one in taken[:25]:
                place = "/".join(one.traceback[0].filename.split("/")[-3:])
                print(
                    f"    {one.size / self._shape.subscriptions:8.0f} B {one.count:10,} "
                    f"{place}:{one.traceback[0].lineno}"
                )


def main() -> None:
    """Write and read."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--cells", type=int, default=1)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--parts", action="store_true")
    told = parser.parse_args()
    shape = Shape(told.count, told.cells, told.partitions, told.parts)
    with tempfile.TemporaryDirectory() as directory:
        for measure in (write, run):
            in_own_process(measure, shape, Path(directory))


if __name__ == "__main__":
    main()
