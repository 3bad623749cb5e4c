"""CPU of the event index against rocksdict: `python -m bench.dedupe [rows ...]`.

Slices of 1,000 new ids are looked up and added, with a flush every 100,000, until the index holds
the given number of rows. CPU is that of the process, background threads included. rocksdict is
given its rows packed already, so the comparison favours it.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rocksdict import (
    BlockBasedOptions,
    Cache,
    DBCompressionType,
    Options,
    Rdict,
    WriteBatch,
    WriteOptions,
)

from tables.event_index.entries import Entry
from tables.event_index.index import EventIndex
from tables.event_index.rows import ID_BYTES

SLICE = 1_000
FLUSH_ROWS = 100_000
Slice = Callable[[Sequence[bytes], list[Entry]], None]


class Measured(NamedTuple):
    """Microseconds of CPU an event, and milliseconds of CPU of the longest slice."""

    find_us: float
    add_us: float
    all_us: float
    longest_ms: float


def measure(rows: int, find: Callable[[list[bytes]], object], add: Slice) -> Measured:
    """Fill an index with `rows` new ids, slice by slice."""
    find_s = add_s = other_s = longest_s = 0.0
    started = time.process_time()
    for first in range(0, rows, SLICE):
        before = time.process_time()
        ids = _new_ids()
        entries = [Entry(1_700_000_000_000 + first, 3, first + i, 0, -1, i) for i in range(SLICE)]
        t0 = time.process_time()
        find(ids)
        t1 = time.process_time()
        add(ids, entries)
        t2 = time.process_time()
        longest_s = max(longest_s, t2 - t0)
        other_s, find_s, add_s = other_s + t0 - before, find_s + t1 - t0, add_s + t2 - t1
    all_s = time.process_time() - started - other_s
    us = 1e6 / rows
    return Measured(find_s * us, add_s * us, all_s * us, longest_s * 1e3)


def _new_ids() -> list[bytes]:
    packed = os.urandom(SLICE * ID_BYTES)
    return [packed[at : at + ID_BYTES] for at in range(0, len(packed), ID_BYTES)]


def event_index(rows: int, directory: Path) -> Measured:
    """This program's index, on disk."""
    index = EventIndex(directory)

    def add(ids: Sequence[bytes], entries: list[Entry]) -> None:
        index.add_many(ids, entries)
        if index.length % FLUSH_ROWS == 0:
            index.pending()
            index.seal_flush(index.length // FLUSH_ROWS)

    measured = measure(rows, index.find_many, add)
    print(f"  {len(index._segments)} segments, {index.resident_bytes / 1e6:.0f} MB of memory")
    _measure_known(index)
    started = time.process_time()
    index.close()
    closed = time.process_time()
    EventIndex(directory).close()
    print(f"  close {closed - started:.2f} s, open {time.process_time() - closed:.2f} s of CPU")
    return measured


def _measure_known(index: EventIndex) -> None:
    known = _new_ids()
    index.add_many(known, [Entry(1, 0, i, 0, -1, i) for i in range(SLICE)])
    for _ in range(index.length // SLICE // 2):
        index.add_many(_new_ids(), [Entry(1, 0, i, 0, -1, i) for i in range(SLICE)])
    started = time.process_time()
    found = index.find_many(known)
    assert all(found)
    print(f"  find known {(time.process_time() - started) / SLICE * 1e6:.2f} us an event")


def rocks(rows: int, directory: Path) -> Measured:
    """rocksdict: raw mode, Bloom filters, no log of its own, one WriteBatch a slice."""
    options = Options(raw_mode=True)
    options.set_write_buffer_size(16 << 20)
    options.set_compression_type(DBCompressionType.none())
    table = BlockBasedOptions()
    table.set_bloom_filter(10, False)
    table.set_block_cache(Cache(64 << 20))
    options.set_block_based_table_factory(table)
    without_log = WriteOptions()
    setattr(without_log, "disable_wal", True)  # noqa: B010 - typed as a method, is an attribute
    database = Rdict(str(directory), options)
    value = os.urandom(28)

    def add(ids: Sequence[bytes], _entries: list[Entry]) -> None:
        batch = WriteBatch(raw_mode=True)
        for event_id in ids:
            batch.put(event_id, value)
        database.write(batch, without_log)

    measured = measure(rows, lambda ids: database.get(list(ids)), add)
    database.close()
    return measured


def main() -> None:
    """Print both for each number of rows."""
    for rows in [int(argument) for argument in sys.argv[1:]] or [1_000_000]:
        for name, run in (("event index", event_index), ("rocksdict", rocks)):
            with tempfile.TemporaryDirectory() as directory:
                m = run(rows, Path(directory) / "index")
            print(
                f"{name:12} {rows:>9} rows: find {m.find_us:.2f} add {m.add_us:.2f} "
                f"all {m.all_us:.2f} us CPU an event, longest slice {m.longest_ms:.1f} ms"
            )


if __name__ == "__main__":
    main()
