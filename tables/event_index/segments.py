"""Sorted, immutable segments of the event index, in memory or on local disk.

A row is 40 bytes: 12 of id hash, 28 of value. A segment holds the rows of a contiguous range of
the index log, sorted by id, only the newest row of each id. On disk it is two files:

    N.rows     the rows and nothing else
    N.filter   a Bloom filter, 2 bytes a row, ordered like the rows

and a line in `manifest.json` with both checksums. One id in 128 stays in memory (`fences`, 0.1 byte
a row) and says which block of rows to read. So does the filter, if the budget has room for it; a
filter without room is read word by word from its file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from app.kernel import row_among
from tables.event_index.filters import AskedKeys, ColdFilter, FilterSource, ResidentFilter
from tables.event_index.rows import (
    ID,
    ROW,
    ROW_BYTES,
    DamagedSegmentError,
    Ids,
    ReadByPosition,
    Words,
    ids_of,
)

BLOCK_ROWS = 128
BLOCK_BYTES = BLOCK_ROWS * ROW_BYTES

ROWS_SUFFIX = ".rows"
FILTER_SUFFIX = ".filter"


class FlushMark(NamedTuple):
    """A point of the index log: everything up to there is committed."""

    flush_number: int
    """The last flush that was sealed; a point within the next one has its number, too."""
    length: int
    log_sum: int
    """As a `LogPlace` has it; UNKNOWN_SUM when the rows were not seen."""


UNKNOWN_SUM = -1
START = FlushMark(flush_number=-1, length=0, log_sum=UNKNOWN_SUM)


class MemoryRows:
    """Rows held in memory."""

    def __init__(self, rows: bytes) -> None:
        self._rows = rows

    def read(self, first: int, end: int) -> bytes:
        """Read rows [first, end)."""
        return self._rows[first * ROW_BYTES : end * ROW_BYTES]

    def close(self) -> None:
        """Let go of what is held."""
        self._rows = b""


class FileRows(ReadByPosition):
    """Rows read from a file by position, so that they never count as memory of the process."""

    def read(self, first: int, end: int) -> bytes:
        """Read rows [first, end)."""
        expected = (end - first) * ROW_BYTES
        rows = os.pread(self._descriptor, expected, first * ROW_BYTES)
        if len(rows) != expected:
            raise DamagedSegmentError("a segment of the event index is shorter than it was")
        return rows


class SegmentRecord(msgspec.Struct, frozen=True):
    """A disk segment as the manifest names it."""

    number: int
    level: int
    first_row: int
    flush_number: int
    length: int
    log_sum: int
    row_count: int
    filter_word_count: int
    rows_digest: str
    filter_digest: str


class Segment:
    """Rows [first_row, end_row) of the log, sorted; `row_count` of them after dropping old ones."""

    __slots__ = (
        "_fences",
        "_filter",
        "_rows",
        "directory",
        "end_row",
        "first_row",
        "level",
        "mark",
        "record",
        "row_count",
    )

    def __init__(
        self,
        *,
        first_row: int,
        end_row: int,
        level: int,
        row_count: int,
        rows: MemoryRows | FileRows,
        filter_source: FilterSource,
        fences: Ids,
        mark: FlushMark | None = None,
        directory: Path | None = None,
        record: SegmentRecord | None = None,
    ) -> None:
        self.first_row = first_row
        self.end_row = end_row
        self.level = level
        self.row_count = row_count
        self.mark = mark
        self.directory = directory
        self.record = record
        self._rows = rows
        self._filter = filter_source
        self._fences = fences

    @property
    def on_disk(self) -> bool:
        return self.record is not None

    @property
    def cold(self) -> bool:
        """Whether the filter is left to its file."""
        return not self._filter.resident_bytes

    @property
    def filter_resident_bytes(self) -> int:
        return self._filter.resident_bytes

    @property
    def resident_bytes(self) -> int:
        """Memory this segment takes."""
        rows = 0 if self.on_disk else self.row_count * ROW_BYTES
        return rows + self._filter.resident_bytes + self._fences.nbytes

    def find(self, asked: AskedKeys) -> Iterator[tuple[int, bytes]]:
        """Yield (place, row) of those ids that are here."""
        candidates = self._filter.candidates(asked)
        if not candidates:
            return
        ids = [asked[place] for place in candidates]
        blocks = self._fences.searchsorted(np.array(ids, ID), side="right") - 1
        for place, event_id, block in zip(candidates, ids, blocks.tolist(), strict=True):
            if block >= 0:
                first = block * BLOCK_ROWS
                rows = self._rows.read(first, min(first + BLOCK_ROWS, self.row_count))
                if (row := row_among(rows, event_id)) is not None:
                    yield place, row

    def fence_after(self, row: int, rows: int) -> bytes | None:
        """Return the first fence at least `rows` beyond `row`; None: the segment ends before."""
        block = -(-(row + rows) // BLOCK_ROWS)
        return self._fences[block : block + 1].tobytes() if block < len(self._fences) else None

    def read_until(self, first: int, bound: bytes | None) -> bytes:
        """Read rows from `first` on whose id is less than `bound` (None: all of them)."""
        if bound is None:
            return self._rows.read(first, self.row_count)
        limit = np.frombuffer(bound, ID)
        block = int(self._fences.searchsorted(limit)[0])
        end = min(block * BLOCK_ROWS, self.row_count)
        if end <= first:
            return b""
        last = max(first, (block - 1) * BLOCK_ROWS)
        tail = ids_of(np.frombuffer(self._rows.read(last, end), ROW))
        return self._rows.read(first, last + int(tail.searchsorted(limit)[0]))

    def cool(self) -> None:
        """Leave the filter to its file."""
        if self.directory is None or self.record is None or self.cold:
            return
        path = self.directory / file_name(self.record.number, FILTER_SUFFIX)
        self._filter = ColdFilter(path, self.record.filter_word_count)

    def warm(self) -> None:
        """Read the filter into memory, from where `cool` left it."""
        if self.directory is None or self.record is None or not self.cold:
            return
        path = self.directory / file_name(self.record.number, FILTER_SUFFIX)
        words = np.fromfile(path, "<u8").astype(np.uint64, copy=False)
        self._filter.close()
        self._filter = ResidentFilter(words)

    def close(self) -> None:
        """Give back memory and files; the files stay where they are."""
        self._rows.close()
        self._filter.close()


class FenceBuilder:
    """Keeps the first id of every block of rows that come in order."""

    def __init__(self) -> None:
        self.row_count = 0
        self._parts: list[Ids] = []

    def add(self, ids: Ids) -> None:
        self._parts.append(ids[-self.row_count % BLOCK_ROWS :: BLOCK_ROWS].copy())
        self.row_count += len(ids)

    def finish(self) -> Ids:
        return np.concatenate(self._parts) if self._parts else np.empty(0, ID)


def disk_segment(
    directory: Path, record: SegmentRecord, fences: Ids, words: Words | None
) -> Segment:
    filter_path = directory / file_name(record.number, FILTER_SUFFIX)
    filter_source: FilterSource = (
        ColdFilter(filter_path, record.filter_word_count)
        if words is None
        else ResidentFilter(words)
    )
    return Segment(
        first_row=record.first_row,
        end_row=record.length,
        level=record.level,
        row_count=record.row_count,
        rows=FileRows(directory / file_name(record.number, ROWS_SUFFIX)),
        filter_source=filter_source,
        fences=fences,
        mark=FlushMark(record.flush_number, record.length, record.log_sum),
        directory=directory,
        record=record,
    )


def file_name(number: int, suffix: str) -> str:
    return f"{number:08d}{suffix}"
