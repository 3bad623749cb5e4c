"""Sorted, immutable segments of the event index, in memory or on local disk.

A row is 40 bytes: 12 of id hash, 28 of value. A segment holds the rows of a contiguous range of
the index log, sorted by id, only the newest row of each id. On disk it is two files:

    N.rows     the rows and nothing else
    N.filter   a Bloom filter, 2 bytes a row, ordered like the rows

and a line in `manifest.json` with both checksums. Beside them stay in memory the filter, if the
budget has room for it, and one id in 128 (`fences`, 0.1 byte a row) that says which block of rows
to read. A filter without room is read word by word from its file.

Filter words are chosen by the leading bits of the id, so that a merge can write the filter in the
order in which it meets the rows and needs no memory for it. The price: ids must be uniform (they
are hashes); crowded ids cost speed, never a wrong answer.

Local disk is a cache of the index log. Nothing is synced: what a power cut tears is noticed by
checksum when the directory is opened, thrown away and read again from the log.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec
import numpy as np
import numpy.typing as npt
import xxhash

ID_BYTES = 12
ROW_BYTES = 40
BLOCK_ROWS = 128
BLOCK_BYTES = BLOCK_ROWS * ROW_BYTES
ROWS_PER_FILTER_WORD = 4
FILTER_WORD_BYTES = 8
FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"

_READ_BLOCKS = 256
_ROWS_SUFFIX = ".rows"
_FILTER_SUFFIX = ".filter"

Words = npt.NDArray[np.uint64]
Indexes = npt.NDArray[np.int64]
Rows = npt.NDArray[np.void]
Ids = npt.NDArray[np.bytes_]

ROW = np.dtype([("high", ">u8"), ("low", ">u4"), ("value", "V28")])
_KEY = np.dtype([("high", ">u8"), ("low", ">u4")])
_ID = np.dtype("S12")
_WHOLE_ROW = np.dtype((np.void, ROW_BYTES))


def _filter_masks() -> Words:
    """Three of the 64 bits for each 12-bit number; part of the file format."""
    numbers = np.arange(4096, dtype=np.uint64)
    scattered = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    masks = np.zeros(4096, np.uint64)
    for shift in (58, 52, 46):
        masks |= np.uint64(1) << ((scattered >> np.uint64(shift)) & np.uint64(63))
    return masks


_MASKS = _filter_masks()
_U12 = np.uint64(12)
_U32 = np.uint64(32)
_LOW_12 = np.uint64(0xFFF)


class DamagedSegmentError(Exception):
    """Bytes of a segment changed under the program; its directory must be rebuilt from the log."""


class FlushMark(NamedTuple):
    """A point of the index log: everything up to the end of a committed flush."""

    flush_number: int
    length: int
    log_sum: int
    """Hash of all rows up to there in the order of the log; UNKNOWN_SUM when they were not seen."""


UNKNOWN_SUM = -1
START = FlushMark(flush_number=-1, length=0, log_sum=UNKNOWN_SUM)


class Keys:
    """The ids of one slice, prepared once for the probes of every segment."""

    __slots__ = ("bits", "ids", "leading")

    def __init__(self, packed: bytes | Rows) -> None:
        """`packed`: ids one after the other, or rows."""
        if isinstance(packed, bytes):
            keys = np.frombuffer(packed, _KEY)
            self.ids: Ids = np.frombuffer(packed, _ID)
        else:
            keys = packed
            self.ids = ids_of(packed)
        low = keys["low"].astype(np.uint64)
        self.leading: Indexes = (keys["high"] >> _U32).astype(np.int64)
        self.bits: Words = _MASKS[low & _LOW_12] | _MASKS[(low >> _U12) & _LOW_12]

    def words(self, word_count: int) -> Indexes:
        """The filter word of each id, in a filter of `word_count` words (less than 2^31)."""
        return (self.leading * word_count) >> 32

    def among(self, words: Words) -> Indexes:
        """Indexes of the ids that may be in a segment, given the filter word of each."""
        words &= self.bits
        matching: Indexes = (words == self.bits).nonzero()[0]
        return matching


def ids_of(rows: Rows) -> Ids:
    """The ids of rows, contiguous and comparable as bytes (numpy compares all twelve)."""
    packed = np.ascontiguousarray(rows).view(np.uint8).reshape(-1, ROW_BYTES)
    return np.ascontiguousarray(packed[:, :ID_BYTES]).view(_ID).ravel()


def sort_rows(newest_first: Rows, *, presorted: bool = False) -> Rows:
    """Rows sorted by id, and of equal ids only the first given.

    `presorted`: the rows are sorted runs one after the other (twelve times as fast, then).
    """
    high = newest_first["high"].astype(np.uint64)
    order = np.argsort(high, kind="stable" if presorted else None)
    ordered = high[order]
    if (ordered[1:] == ordered[:-1]).any():
        order = _order_of_newest(high, newest_first["low"].astype(np.uint32))
    # Taking whole rows is ten times as fast as taking records of three fields.
    return newest_first.view(_WHOLE_ROW).take(order).view(ROW)


def _order_of_newest(high: Words, low: npt.NDArray[np.uint32]) -> Indexes:
    order = np.lexsort((low, high))
    high, low = high[order], low[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
    return order[first]


def filter_words(row_count: int) -> int:
    """Words of the filter for that many rows."""
    return max(1, -(-row_count // ROWS_PER_FILTER_WORD))


def filter_bytes(row_count: int) -> int:
    """Bytes of the filter for that many rows."""
    return filter_words(row_count) * FILTER_WORD_BYTES


class RowSource(Protocol):
    """Where the rows of a segment are."""

    def read(self, first: int, end: int) -> bytes:
        """Rows [first, end)."""

    def close(self) -> None:
        """Let go of what is held."""


class FilterSource(Protocol):
    """Where the filter of a segment is."""

    resident_bytes: int

    def candidates(self, keys: Keys) -> Indexes:
        """Indexes of the ids that may be in the segment."""

    def close(self) -> None:
        """Let go of what is held."""


class MemoryRows:
    """Rows held in memory."""

    def __init__(self, rows: bytes) -> None:
        self._rows = rows

    def read(self, first: int, end: int) -> bytes:
        return self._rows[first * ROW_BYTES : end * ROW_BYTES]

    def close(self) -> None:
        self._rows = b""


class _ReadByPosition:
    """A file open for reading, closed with its holder at the latest: a rebalance may end that
    anywhere, and a worker that lives for months sees many.
    """

    _descriptor = -1

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = close


class FileRows(_ReadByPosition):
    """Rows read from a file by position, so that they never count as memory of the process."""

    def read(self, first: int, end: int) -> bytes:
        expected = (end - first) * ROW_BYTES
        rows = os.pread(self._descriptor, expected, first * ROW_BYTES)
        if len(rows) != expected:
            raise DamagedSegmentError("a segment of the event index is shorter than it was")
        return rows


class ResidentFilter:
    """A filter held in memory."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self.resident_bytes = words.nbytes

    def candidates(self, keys: Keys) -> Indexes:
        return keys.among(self._words.take(keys.words(len(self._words))))

    def close(self) -> None:
        self._words = np.zeros(1, np.uint64)


class ColdFilter(_ReadByPosition):
    """A filter left in its file: one read of eight bytes an id, no memory."""

    resident_bytes = 0

    def __init__(self, path: Path, word_count: int) -> None:
        super().__init__(path)
        self._word_count = word_count

    def candidates(self, keys: Keys) -> Indexes:
        offsets = (keys.words(self._word_count) * FILTER_WORD_BYTES).tolist()
        descriptor = self._descriptor
        packed = b"".join([os.pread(descriptor, FILTER_WORD_BYTES, offset) for offset in offsets])
        if len(packed) != len(offsets) * FILTER_WORD_BYTES:
            raise DamagedSegmentError("a filter of the event index is shorter than it was")
        return keys.among(np.frombuffer(packed, "<u8").astype(np.uint64))


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
        rows: RowSource,
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

    def find(self, keys: Keys, ids: Sequence[bytes]) -> Iterator[tuple[int, bytes]]:
        """(index into ids, row) of those ids that are here."""
        candidates = self._filter.candidates(keys)
        if not len(candidates):
            return
        blocks = self._fences.searchsorted(keys.ids[candidates], side="right") - 1
        for index, block in zip(candidates.tolist(), blocks.tolist(), strict=True):
            row = self._find_in_block(block, ids[index])
            if row is not None:
                yield index, row

    def _find_in_block(self, block: int, event_id: bytes) -> bytes | None:
        if block < 0:
            return None
        first = block * BLOCK_ROWS
        rows = self._rows.read(first, min(first + BLOCK_ROWS, self.row_count))
        at = rows.find(event_id)
        while at >= 0 and at % ROW_BYTES:
            at = rows.find(event_id, at + 1)
        return rows[at : at + ROW_BYTES] if at >= 0 else None

    def fence_after(self, row: int, rows: int) -> bytes | None:
        """The first fence at least `rows` beyond `row`, None when the segment ends before it."""
        block = -(-(row + rows) // BLOCK_ROWS)
        return self._fences[block : block + 1].tobytes() if block < len(self._fences) else None

    def read_until(self, first: int, bound: bytes | None) -> bytes:
        """Rows from `first` on whose id is less than `bound` (None: all of them)."""
        if bound is None:
            return self._rows.read(first, self.row_count)
        limit = np.frombuffer(bound, _ID)
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
        path = self.directory / _file_name(self.record.number, _FILTER_SUFFIX)
        self._filter = ColdFilter(path, self.record.filter_word_count)

    def warm(self) -> None:
        """Read the filter into memory, from where `cool` left it."""
        if self.directory is None or self.record is None or not self.cold:
            return
        path = self.directory / _file_name(self.record.number, _FILTER_SUFFIX)
        words = np.fromfile(path, "<u8").astype(np.uint64, copy=False)
        self._filter.close()
        self._filter = ResidentFilter(words)

    def close(self) -> None:
        """Give back memory and files; the files stay where they are."""
        self._rows.close()
        self._filter.close()


class _FilterBuilder:
    """Builds the filter of rows that come sorted, emitting words that can change no more."""

    def __init__(self, row_count: int) -> None:
        self.word_count = filter_words(row_count)
        self._emitted = 0
        self._open = np.uint64(0)

    def add(self, keys: Keys) -> Words:
        """The words finished by these keys, in order."""
        words = keys.words(self.word_count)
        starts = np.flatnonzero(np.concatenate(([True], words[1:] != words[:-1])))
        masks = np.bitwise_or.reduceat(keys.bits, starts)
        at = words[starts] - self._emitted
        block = np.zeros(int(at[-1]) + 1, np.uint64)
        block[at] = masks
        block[0] |= self._open
        self._open = block[-1]
        self._emitted += len(block) - 1
        return block[:-1]

    def finish(self) -> Words:
        """The remaining words."""
        rest = np.zeros(self.word_count - self._emitted, np.uint64)
        rest[0] = self._open
        return rest


class SegmentWriter(Protocol):
    """Takes sorted rows and becomes a segment."""

    @property
    def resident_bytes(self) -> int:
        """Memory taken so far."""

    def append(self, rows: Rows) -> None:
        """The next rows by id."""

    def finish(self, first_row: int, end_row: int, level: int, mark: FlushMark | None) -> Segment:
        """The segment; nothing may be appended after."""

    def abandon(self) -> None:
        """Throw away what was written."""


class _FenceBuilder:
    """Keeps the first id of every block of rows that come in order."""

    def __init__(self) -> None:
        self.row_count = 0
        self._parts: list[Ids] = []

    def add(self, ids: Ids) -> None:
        self._parts.append(ids[-self.row_count % BLOCK_ROWS :: BLOCK_ROWS].copy())
        self.row_count += len(ids)

    def finish(self) -> Ids:
        return np.concatenate(self._parts) if self._parts else np.empty(0, _ID)


class MemorySegmentWriter:
    """Writes a segment into memory."""

    def __init__(self, row_count: int) -> None:
        self._filter = _FilterBuilder(row_count)
        self._fences = _FenceBuilder()
        self._words: list[Words] = []
        self._rows: list[bytes] = []

    @property
    def resident_bytes(self) -> int:
        return self._fences.row_count * ROW_BYTES + sum(words.nbytes for words in self._words)

    def append(self, rows: Rows) -> None:
        if not len(rows):
            return
        keys = Keys(rows)
        self._words.append(self._filter.add(keys))
        self._fences.add(keys.ids)
        self._rows.append(rows.tobytes())

    def finish(self, first_row: int, end_row: int, level: int, mark: FlushMark | None) -> Segment:
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
        self._rows.clear()
        self._words.clear()


class FileSegmentWriter:
    """Writes a segment to two files, in order, holding only the filter and only if `resident`."""

    def __init__(self, directory: Path, number: int, row_count: int, *, resident: bool) -> None:
        self._directory = directory
        self._number = number
        self._filter = _FilterBuilder(row_count)
        self._fences = _FenceBuilder()
        self._resident = np.zeros(self._filter.word_count, np.uint64) if resident else None
        self._word_count = 0
        self._rows_path = directory / _file_name(number, _ROWS_SUFFIX)
        self._filter_path = directory / _file_name(number, _FILTER_SUFFIX)
        self._rows_file = self._rows_path.open("wb")
        self._filter_file = self._filter_path.open("wb")
        self._rows_digest = xxhash.xxh3_128()
        self._filter_digest = xxhash.xxh3_128()

    @property
    def resident_bytes(self) -> int:
        return 0 if self._resident is None else self._resident.nbytes

    def append(self, rows: Rows) -> None:
        if not len(rows):
            return
        keys = Keys(rows)
        self._fences.add(keys.ids)
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
        return _disk_segment(self._directory, record, self._fences.finish(), self._resident)

    def abandon(self) -> None:
        for file in (self._rows_file, self._filter_file):
            # A full disk takes not even what is buffered.
            with suppress(OSError):
                file.close()
        self._rows_path.unlink(missing_ok=True)
        self._filter_path.unlink(missing_ok=True)


class Merge:
    """Merges neighbouring segments into one, a few thousand rows at a time."""

    def __init__(self, inputs: Sequence[Segment], writer: SegmentWriter, level: int) -> None:
        """`inputs`: oldest first, contiguous."""
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
        """An id that leaves about `rows` rows below it: each input offers its own share."""
        fences = []
        for cursor, segment in zip(self._cursors, self._newest_first, strict=True):
            share = max(1, rows * segment.row_count // max(1, self.row_count))
            fence = segment.fence_after(cursor, share)
            if fence is not None:
                fences.append(fence)
        return min(fences, default=None)

    def finish(self) -> Segment:
        """The merged segment. DamagedSegmentError if an input was not what it had been."""
        for segment, digest in zip(self._newest_first, self._digests, strict=True):
            if segment.record is not None and segment.record.rows_digest != digest.hexdigest():
                raise DamagedSegmentError("a segment of the event index changed on disk")
        newest = self._newest_first[0]
        oldest = self.inputs[0]
        return self.writer.finish(oldest.first_row, newest.end_row, self._level, newest.mark)


class _Manifest(msgspec.Struct, frozen=True):
    format_version: int
    identity: str
    next_number: int
    segments: list[SegmentRecord]


class _SignedManifest(msgspec.Struct, frozen=True):
    digest: str
    manifest: msgspec.Raw


class SegmentDirectory:
    """The files of one event index: which segments count, and a check that they are whole."""

    def __init__(self, path: Path, identity: str) -> None:
        """`identity`: what the directory must have been written for, else it is discarded."""
        self.path = path
        self._identity = identity
        self._next_number = 0
        path.mkdir(parents=True, exist_ok=True)

    def open(self) -> tuple[list[Segment], str | None]:
        """The segments, oldest first, and why the directory was discarded if it was."""
        segments: list[Segment] = []
        try:
            manifest = self._read_manifest()
            for record in manifest.segments if manifest else []:
                segments.append(self._open_segment(record, segments))
        except (DamagedSegmentError, OSError, ValueError, msgspec.DecodeError) as error:
            for segment in segments:
                segment.close()
            self.discard()
            return [], str(error)
        if manifest is not None:
            self._next_number = manifest.next_number
        self._remove_all_but(segments)
        return segments, None

    def writer(self, row_count: int, *, resident: bool) -> FileSegmentWriter:
        """A writer for a new segment of at most that many rows."""
        number = self._next_number
        self._next_number += 1
        return FileSegmentWriter(self.path, number, row_count, resident=resident)

    def commit(self, segments: Sequence[Segment]) -> None:
        """From now on exactly these count, in one atomic step."""
        records = [segment.record for segment in segments if segment.record is not None]
        manifest = msgspec.json.encode(
            _Manifest(FORMAT_VERSION, self._identity, self._next_number, records)
        )
        signed = _SignedManifest(xxhash.xxh3_128_hexdigest(manifest), msgspec.Raw(manifest))
        draft = self.path / (MANIFEST_NAME + ".tmp")
        draft.write_bytes(msgspec.json.encode(signed))
        draft.replace(self.path / MANIFEST_NAME)

    def remove(self, segment: Segment) -> None:
        """Delete the files of a segment that no longer counts."""
        segment.close()
        if segment.record is not None:
            for suffix in (_ROWS_SUFFIX, _FILTER_SUFFIX):
                (self.path / _file_name(segment.record.number, suffix)).unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget everything; the manifest goes first, so that a crash in between is harmless."""
        (self.path / MANIFEST_NAME).unlink(missing_ok=True)
        self._remove_all_but([])

    def _read_manifest(self) -> _Manifest | None:
        path = self.path / MANIFEST_NAME
        if not path.exists():
            return None
        signed = msgspec.json.decode(path.read_bytes(), type=_SignedManifest)
        if xxhash.xxh3_128_hexdigest(bytes(signed.manifest)) != signed.digest:
            raise DamagedSegmentError("the manifest of the event index is damaged")
        manifest = msgspec.json.decode(signed.manifest, type=_Manifest)
        if manifest.format_version != FORMAT_VERSION:
            raise DamagedSegmentError(
                f"the event index has format {manifest.format_version}, not {FORMAT_VERSION}"
            )
        if manifest.identity != self._identity:
            raise DamagedSegmentError(
                f"the event index belongs to {manifest.identity!r}, not {self._identity!r}"
            )
        return manifest

    def _open_segment(self, record: SegmentRecord, before: Sequence[Segment]) -> Segment:
        expected_first = before[-1].end_row if before else 0
        if record.first_row != expected_first:
            raise DamagedSegmentError("the segments of the event index leave a gap")
        fences = self._verified_fences(record)
        self._verify_filter(record)
        return _disk_segment(self.path, record, fences, None)

    def _verified_fences(self, record: SegmentRecord) -> Ids:
        digest = xxhash.xxh3_128()
        fences = _FenceBuilder()
        with (self.path / _file_name(record.number, _ROWS_SUFFIX)).open("rb", buffering=0) as file:
            while packed := _read_exactly(file.fileno(), _READ_BLOCKS * BLOCK_BYTES):
                digest.update(packed)
                if len(packed) % ROW_BYTES:
                    raise DamagedSegmentError("a segment of the event index ends within a row")
                fences.add(ids_of(np.frombuffer(packed, ROW)))
        if fences.row_count != record.row_count or digest.hexdigest() != record.rows_digest:
            raise DamagedSegmentError("a segment of the event index is damaged")
        return fences.finish()

    def _verify_filter(self, record: SegmentRecord) -> None:
        digest = xxhash.xxh3_128()
        path = self.path / _file_name(record.number, _FILTER_SUFFIX)
        with path.open("rb", buffering=0) as file:
            while packed := _read_exactly(file.fileno(), _READ_BLOCKS * BLOCK_BYTES):
                digest.update(packed)
        if digest.hexdigest() != record.filter_digest:
            raise DamagedSegmentError("a filter of the event index is damaged")

    def _remove_all_but(self, segments: Sequence[Segment]) -> None:
        kept = {
            _file_name(segment.record.number, suffix)
            for segment in segments
            if segment.record is not None
            for suffix in (_ROWS_SUFFIX, _FILTER_SUFFIX)
        }
        for path in self.path.iterdir():
            ours = path.suffix in (_ROWS_SUFFIX, _FILTER_SUFFIX, ".tmp")
            if ours and path.name not in kept:
                path.unlink()


def _disk_segment(
    directory: Path, record: SegmentRecord, fences: Ids, words: Words | None
) -> Segment:
    filter_path = directory / _file_name(record.number, _FILTER_SUFFIX)
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
        rows=FileRows(directory / _file_name(record.number, _ROWS_SUFFIX)),
        filter_source=filter_source,
        fences=fences,
        mark=FlushMark(record.flush_number, record.length, record.log_sum),
        directory=directory,
        record=record,
    )


def _file_name(number: int, suffix: str) -> str:
    return f"{number:08d}{suffix}"


def _read_exactly(descriptor: int, size: int) -> bytes:
    """`size` bytes, fewer only at the end of the file."""
    parts = []
    while size and (part := os.read(descriptor, size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
