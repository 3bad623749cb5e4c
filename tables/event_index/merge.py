"""Writing segments, and merging neighbours into one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import xxhash

from tables.event_index.filters import FilterBuilder, Keys, ResidentFilter
from tables.event_index.rows import (
    ROW,
    ROW_BYTES,
    DamagedSegmentError,
    Rows,
    Words,
    ids_of,
    sort_rows,
)
from tables.event_index.segments import (
    FILTER_SUFFIX,
    ROWS_SUFFIX,
    FenceBuilder,
    FlushMark,
    MemoryRows,
    Segment,
    SegmentRecord,
    disk_segment,
    file_name,
)


class MemorySegmentWriter:
    """Writes a segment into memory."""

    def __init__(self, row_count: int) -> None:
        self._filter = FilterBuilder(row_count)
        self._fences = FenceBuilder()
        self._words: list[Words] = []
        self._rows: list[bytes] = []

    @property
    def resident_bytes(self) -> int:
        """Memory taken so far."""
        return self._fences.row_count * ROW_BYTES + sum(words.nbytes for words in self._words)

    def append(self, rows: Rows) -> None:
        """Append the next rows by id."""
        if not len(rows):
            return
        keys = Keys(rows)
        self._words.append(self._filter.add(keys))
        self._fences.add(ids_of(rows))
        self._rows.append(rows.tobytes())

    def finish(self, first_row: int, end_row: int, level: int, mark: FlushMark | None) -> Segment:
        """Return the segment; nothing may be appended after."""
        words = np.concatenate([*self._words, self._filter.finish()])
        return Segment(
            first_row=first_row,
            end_row=end_row,
            level=level,
            row_count=self._fences.row_count,
            rows=MemoryRows(b"".join(self._rows)),
            filter_source=ResidentFilter(words),
            fences=self._fences.finish(),
            mark=mark,
        )

    def abandon(self) -> None:
        """Throw away what was written."""
        self._rows.clear()
        self._words.clear()


class FileSegmentWriter:
    """Writes a segment to two files, in order, holding only the filter and only if `resident`."""

    def __init__(self, directory: Path, number: int, row_count: int, *, resident: bool) -> None:
        self._directory = directory
        self._number = number
        self._filter = FilterBuilder(row_count)
        self._fences = FenceBuilder()
        self._resident = np.zeros(self._filter.word_count, np.uint64) if resident else None
        self._word_count = 0
        self._rows_path = directory / file_name(number, ROWS_SUFFIX)
        self._filter_path = directory / file_name(number, FILTER_SUFFIX)
        self._rows_file = self._rows_path.open("wb")
        self._filter_file = self._filter_path.open("wb")
        self._rows_digest = xxhash.xxh3_128()
        self._filter_digest = xxhash.xxh3_128()

    @property
    def resident_bytes(self) -> int:
        """Memory taken so far."""
        return 0 if self._resident is None else self._resident.nbytes

    def append(self, rows: Rows) -> None:
        """Append the next rows by id."""
        if not len(rows):
            return
        keys = Keys(rows)
        self._fences.add(ids_of(rows))
        packed = rows.tobytes()
        self._rows_digest.update(packed)
        self._rows_file.write(packed)
        self._append_words(self._filter.add(keys))

    def _append_words(self, words: Words) -> None:
        packed = words.astype("<u8").tobytes()
        self._filter_digest.update(packed)
        self._filter_file.write(packed)
        if self._resident is not None:
            self._resident[self._word_count : self._word_count + len(words)] = words
        self._word_count += len(words)

    def finish(self, first_row: int, end_row: int, level: int, mark: FlushMark | None) -> Segment:
        """Return the segment; nothing may be appended after."""
        if mark is None or mark.length != end_row:
            raise ValueError("only whole flushes are written to disk")
        self._append_words(self._filter.finish())
        self._rows_file.close()
        self._filter_file.close()
        record = SegmentRecord(
            number=self._number,
            level=level,
            first_row=first_row,
            flush_number=mark.flush_number,
            length=mark.length,
            log_sum=mark.log_sum,
            row_count=self._fences.row_count,
            filter_word_count=self._filter.word_count,
            rows_digest=self._rows_digest.hexdigest(),
            filter_digest=self._filter_digest.hexdigest(),
        )
        return disk_segment(self._directory, record, self._fences.finish(), self._resident)

    def abandon(self) -> None:
        """Throw away what was written."""
        for file in (self._rows_file, self._filter_file):
            # A full disk takes not even what is buffered.
            with suppress(OSError):
                file.close()
        self._rows_path.unlink(missing_ok=True)
        self._filter_path.unlink(missing_ok=True)


SegmentWriter = MemorySegmentWriter | FileSegmentWriter
"""Takes sorted rows and becomes a segment."""


class Merge:
    """Merges neighbouring segments into one, a few thousand rows at a time."""

    def __init__(self, inputs: Sequence[Segment], writer: SegmentWriter, level: int) -> None:
        """Take `inputs`: oldest first, contiguous."""
        self.inputs = tuple(inputs)
        self.writer = writer
        self._level = level
        self._newest_first = tuple(reversed(inputs))
        self.row_count = sum(segment.row_count for segment in inputs)
        self._credit = 0
        self._cursors = [0] * len(inputs)
        self._digests = [xxhash.xxh3_128() for _ in inputs]

    @property
    def done(self) -> bool:
        return all(
            cursor == segment.row_count
            for cursor, segment in zip(self._cursors, self._newest_first, strict=True)
        )

    def advance(self, rows: int, step_rows: int) -> bool:
        """Merge `rows` more, in steps of `step_rows`, now or together with later calls; done?"""
        self._credit += rows
        while self._credit > 0 and not self.done:
            self._credit -= self._step(step_rows)
        return self.done

    def _step(self, rows: int) -> int:
        """Merge about that many rows; returns how many were read."""
        bound = self._bound(rows)
        parts = []
        for index, segment in enumerate(self._newest_first):
            packed = segment.read_until(self._cursors[index], bound)
            self._cursors[index] += len(packed) // ROW_BYTES
            self._digests[index].update(packed)
            parts.append(packed)
        merged = np.frombuffer(b"".join(parts), ROW)
        self.writer.append(sort_rows(merged, presorted=True))
        return len(merged)

    def _bound(self, rows: int) -> bytes | None:
        """Return an id that leaves about `rows` rows below it: each input offers its own share."""
        fences = []
        for cursor, segment in zip(self._cursors, self._newest_first, strict=True):
            share = max(1, rows * segment.row_count // max(1, self.row_count))
            fence = segment.fence_after(cursor, share)
            if fence is not None:
                fences.append(fence)
        return min(fences, default=None)

    def finish(self) -> Segment:
        """Return the merged segment. DamagedSegmentError if an input was not what it had been."""
        for segment, digest in zip(self._newest_first, self._digests, strict=True):
            if segment.record is not None and segment.record.rows_digest != digest.hexdigest():
                raise DamagedSegmentError("a segment of the event index changed on disk")
        newest = self._newest_first[0]
        oldest = self.inputs[0]
        return self.writer.finish(oldest.first_row, newest.end_row, self._level, newest.mark)
