"""Blocks: chunks on local disk, with a directory of where those of each key lie.

A file is one block after another. Each flush appends one. A file of few large ones stays as it is;
many small ones are merged into one that is sorted by key.

Chunks that follow each other are compressed together, as a slab. To compress an event with lz4 took
0.14 us, and to write it as it is 0.95: a new page of the file is cleared and filled. Every
directory and every slab has a checksum, which is compared at each reading.

It has over 500 lines: the format, and all that writes and reads it.
"""

from __future__ import annotations

import os
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import cramjam
import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from app.ledger.rows import Chunks, KeyRanges, Keys, LedgerDamaged

_MAGIC: Final = b"mtrldgr2"
_HEAD: Final = struct.Struct("<8sIIIQ")
"""Magic, chunks, slabs, spans, checksum of the directory."""
_SPAN_BYTES: Final = 5 * 8
_ENTRY_BYTES: Final = 8 + 4
_PLACE_BYTES: Final = 8 + 4 + 8
_SLAB_BYTES: Final = 64 * 1024
"""Size of whole chunks that are compressed together, and unpacked to read one of them."""
_BLOCKS_APART: Final = 64
"""Directories of one file that are kept as they came, 1 KB and more each; of more one is made."""


class LedgerStretch(NamedTuple):
    """A stretch of both logs all of whose arrivals are there."""

    raw_from: int
    raw_until: int
    rekeyed_from: int
    rekeyed_until: int
    append_time_ms: int
    """The append time that the raw log had reached at its end."""

    def reaches(self, raw: int, rekeyed: int) -> bool:
        """Return whether some offset of one of the logs lies at or behind these."""
        return self.raw_until > raw or self.rekeyed_until > rekeyed

    def overlaps(self, other: LedgerStretch) -> bool:
        """Return whether some offset is in both."""
        return (max(self.raw_from, other.raw_from) < min(self.raw_until, other.raw_until)) or max(
            self.rekeyed_from, other.rekeyed_from
        ) < min(self.rekeyed_until, other.rekeyed_until)


def joined(spans: Iterable[LedgerStretch]) -> list[LedgerStretch]:
    """Return spans with those made one that follow each other."""
    found: list[LedgerStretch] = []
    for span in sorted(spans):
        if (
            found
            and found[-1].raw_until == span.raw_from
            and found[-1].rekeyed_until == span.rekeyed_from
        ):
            before = found.pop()
            span = span._replace(raw_from=before.raw_from, rekeyed_from=before.rekeyed_from)
        found.append(span)
    return found


class Slabs(NamedTuple):
    """Where compressed chunks lie in a file."""

    ends: NDArray[np.uint64]
    """Where each ends among all chunks of the file, as they are unpacked."""
    begins: NDArray[np.uint64]
    """Where it begins in the file."""
    sizes: NDArray[np.uint32]
    """How many bytes it has there."""
    checks: NDArray[np.uint64]
    """What these must hash to."""

    @classmethod
    def of(cls, ends: NDArray[np.uint64], packed: Sequence[bytes], begin: int) -> Slabs:
        """Return where slabs lie that follow each other from a place of the file on."""
        sizes = np.array([len(slab) for slab in packed], np.uint32)
        checks = np.array([xxh3_64_intdigest(slab) for slab in packed], np.uint64)
        return cls.placed(ends, sizes, checks, begin)

    @classmethod
    def placed(
        cls,
        ends: NDArray[np.uint64],
        sizes: NDArray[np.uint32],
        checks: NDArray[np.uint64],
        begin: int,
    ) -> Slabs:
        """Return the same of known sizes and checksums."""
        begins = np.cumsum(sizes, dtype=np.uint64) - sizes + np.uint64(begin)
        return cls(ends, begins, sizes, checks)


_NO_SLABS: Final = Slabs.of(np.empty(0, np.uint64), [], 0)


class Directory(NamedTuple):
    """Where chunks lie among all of a file, as they are unpacked."""

    keys: Keys
    starts: NDArray[np.uint64]
    sizes: NDArray[np.uint32]
    slabs: Slabs = _NO_SLABS
    """All of the file, whatever chunks these are."""

    @classmethod
    def over(cls, parts: Sequence[Directory]) -> Directory:
        """Return all parts one after another."""
        if len(parts) == 1:
            return parts[0]
        slabs = [part.slabs for part in parts]
        return cls(
            np.concatenate([part.keys for part in parts]),
            np.concatenate([part.starts for part in parts]),
            np.concatenate([part.sizes for part in parts]),
            Slabs(
                np.concatenate([each.ends for each in slabs]),
                np.concatenate([each.begins for each in slabs]),
                np.concatenate([each.sizes for each in slabs]),
                np.concatenate([each.checks for each in slabs]),
            ),
        )

    def ordered(self, order: NDArray[np.intp]) -> Directory:
        """Return its entries in another order."""
        keys, starts, sizes, slabs = self
        return Directory(keys[order], starts[order], sizes[order], slabs)

    def find(self, wanted: KeyRanges) -> NDArray[np.intp]:
        """Return the numbers of the chunks that are wanted, in the order they were written."""
        order = np.argsort(self.keys, kind="stable")
        keys = self.keys[order]
        begins = np.searchsorted(keys, wanted.first, "left")
        ends = np.searchsorted(keys, wanted.last, "right")
        hits = begins < ends
        found = [order[b:e] for b, e in zip(begins[hits], ends[hits], strict=True)]
        return np.sort(np.concatenate(found)) if found else np.empty(0, np.intp)


class Block(NamedTuple):
    """One block: its spans, and its chunks as if its file had no other."""

    spans: list[LedgerStretch]
    directory: Directory
    end: int
    """Where it ends in the file."""


def directory_of(chunks: Chunks) -> Directory:
    """Return where chunks lie among all of them."""
    ends = np.array(chunks.ends, np.uint64)
    starts = np.concatenate((np.zeros(min(1, len(ends)), np.uint64), ends[:-1]))
    return Directory(np.array(chunks.keys, np.uint64), starts, (ends - starts).astype(np.uint32))


def collected(chunks: Chunks, wanted: KeyRanges) -> list[bytes]:
    """Return the chunks in memory that are wanted."""
    keys, ends = np.array(chunks.keys, np.uint64), chunks.ends
    none = np.empty(0, np.uint64)
    numbers = Directory(keys, none, none.astype(np.uint32)).find(wanted).tolist()
    packed, found, slab, at_hand, begun = chunks.packed, list[bytes](), b"", -1, 0
    for n in numbers:
        begin = ends[n - 1] if n else 0
        if begin >= packed:
            found.append(bytes(chunks.buffer[begin - packed : ends[n] - packed]))
            continue
        number = bisect_right(chunks.slab_ends, begin)
        if number != at_hand:
            at_hand, begun = number, chunks.slab_ends[number - 1] if number else 0
            slab = _unpacked(chunks.slabs[number], chunks.slab_ends[number] - begun)
        found.append(slab[begin - begun : ends[n] - begun])
    return found


def pack(chunks: Chunks, most: int) -> None:
    """Pack the first slabs of chunks that are not packed, as files have them; so many at most."""
    ends, begun = chunks.ends, chunks.packed
    first = bisect_right(ends, begun) if begun else 0
    with memoryview(chunks.buffer) as view:
        for _ in range(most):
            begin = chunks.packed
            last = bisect_left(ends, begin + _SLAB_BYTES, first)
            if last == len(ends):
                break
            slab = _compressed(view[begin - begun : ends[last] - begun])
            chunks.slabs.append(slab)
            chunks.slab_ends.append(ends[last])
            chunks.slab_bytes += len(slab)
            first = last + 1
    del chunks.buffer[: chunks.packed - begun]


def _slab_ends(sizes: NDArray[np.uint32]) -> NDArray[np.uint64]:
    """Return where slabs of chunks of these sizes end."""
    ends = np.cumsum(sizes, dtype=np.uint64)
    found: list[np.uint64] = []
    place = 0
    while place < len(ends):
        begin = ends[place - 1] if place else np.uint64(0)
        last = np.searchsorted(ends, begin + np.uint64(_SLAB_BYTES))
        place = min(int(last), len(ends) - 1) + 1
        found.append(ends[place - 1])
    return np.array(found, np.uint64)


def _compressed(data: bytes | memoryview) -> bytes:
    return bytes(cramjam.lz4.compress_block(data, store_size=False))


def _unpacked(slab: bytes, size: int) -> bytes:
    return bytes(cramjam.lz4.decompress_block(slab, output_len=size))


def _head_of(spans: Sequence[LedgerStretch], directory: Directory) -> bytes:
    """Return the head of a block, which its slabs follow."""
    slabs = directory.slabs
    parts = [
        np.array(spans, np.int64).tobytes(),
        directory.keys.tobytes(),
        directory.sizes.tobytes(),
        slabs.ends.tobytes(),
        slabs.sizes.tobytes(),
        slabs.checks.tobytes(),
    ]
    text = b"".join(parts)
    count = len(directory.keys)
    counts = count, len(slabs.ends), len(spans)
    return _HEAD.pack(_MAGIC, *counts, xxh3_64_intdigest(text, count)) + text


def _write(file: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of it: a full disk may take a part and raise only the next time."""
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def read_blocks(path: Path) -> Iterator[Block]:
    """Yield the blocks of a file up to the first that is torn or wrong."""
    with path.open("rb") as file:
        size, at = os.fstat(file.fileno()).st_size, 0
        while at + _HEAD.size <= size:
            head = os.pread(file.fileno(), _HEAD.size, at)
            magic, count, slabs, spans, check = _HEAD.unpack(head)
            text_bytes = spans * _SPAN_BYTES + count * _ENTRY_BYTES + slabs * _PLACE_BYTES
            at += _HEAD.size + text_bytes
            if magic != _MAGIC or at > size:
                return
            text = os.pread(file.fileno(), text_bytes, at - text_bytes)
            if xxh3_64_intdigest(text, count) != check:
                return
            block = _block(text, count, slabs, spans, at)
            at = block.end
            if at > size:
                return
            yield block


def _block(text: bytes, count: int, slabs: int, spans: int, begin: int) -> Block:
    told = np.frombuffer(text, np.int64, spans * 5).reshape(-1, 5).tolist()
    at = spans * _SPAN_BYTES
    keys = np.frombuffer(text, np.uint64, count, at)
    sizes = np.frombuffer(text, np.uint32, count, at + count * 8)
    at += count * _ENTRY_BYTES
    placed = Slabs.placed(
        np.frombuffer(text, np.uint64, slabs, at),
        np.frombuffer(text, np.uint32, slabs, at + slabs * 8),
        np.frombuffer(text, np.uint64, slabs, at + slabs * 12),
        begin,
    )
    starts = np.cumsum(sizes, dtype=np.uint64) - sizes
    end = int(placed.begins[-1] + placed.sizes[-1]) if slabs else begin
    return Block(
        [LedgerStretch(*each) for each in told], Directory(keys, starts, sizes, placed), end
    )


class LedgerFile:
    """A file of blocks. Of one that is merged only the spans are kept in memory."""

    def __init__(self, path: Path, *, merged: bool):
        self.path = path
        self.merged = merged
        self.spans: list[LedgerStretch] = []
        """A list that is replaced, never changed: who reads may keep it."""
        self.bytes = self.blocks = self.chunks = 0
        """How many it has; bytes as its chunks are unpacked."""
        self._directories: list[Directory] = []
        # 24 bytes a block; a span of its own takes 250.
        self._raw_ends, self._rekeyed_ends = array("q"), array("q")
        """Up to where each block reaches."""
        self._before = array("q")
        """How many chunks there are before it."""

    def add(self, block: Block) -> None:
        """Take note of a block that it has."""
        self.spans = joined([*self.spans, *block.spans])
        self.blocks += 1
        if self.merged:
            return
        self._raw_ends.append(block.spans[-1].raw_until)
        self._rekeyed_ends.append(block.spans[-1].rekeyed_until)
        self._before.append(self.chunks)
        self.chunks += len(block.directory.keys)
        self._directories.append(_behind(block.directory, self.bytes))
        self.bytes += _size(block.directory)
        if len(self._directories) > _BLOCKS_APART:
            self._directories = [Directory.over(self._directories)]

    def known(self) -> Directory | None:
        """Return its directory as it is now; None: `locate` reads it from the file."""
        return None if self.merged else Directory.over(self._directories)

    def chunks_before(self, raw: int, rekeyed: int) -> int:
        """Return how many chunks lie before the first block that reaches beyond these offsets."""
        first = min(bisect_right(self._raw_ends, raw), bisect_right(self._rekeyed_ends, rekeyed))
        return self._before[first] if first < len(self._before) else 0

    def append(self, spans: Sequence[LedgerStretch], chunks: Chunks) -> Block:
        """Append a block, which the caller adds."""
        directory, begin = directory_of(chunks), np.uint64(chunks.packed)
        # Some may be packed already.
        ends = _slab_ends(directory.sizes[directory.starts >= begin])
        with memoryview(chunks.buffer) as view:
            packed = [
                *chunks.slabs,
                *(_compressed(view[b:e]) for b, e in pairwise([0, *ends.tolist()])),
            ]
        ends = np.concatenate((np.array(chunks.slab_ends, np.uint64), ends + begin))
        slabs = Slabs.of(ends, packed, 0)
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            head = _head_of(spans, directory._replace(slabs=slabs))
            at = os.fstat(file).st_size + len(head)
            _write(file, b"".join((head, *packed)))
        finally:
            os.close(file)
        placed = slabs._replace(begins=slabs.begins + np.uint64(at))
        end = at + sum(map(len, packed))
        return Block(list(spans), directory._replace(slabs=placed), end)

    def unpacked(self, directory: Directory) -> bytes:
        """Return all its chunks one after another.

        Raises:
            LedgerDamaged: they cannot be unpacked.
        """
        try:
            with self.path.open("rb") as file:
                slabs = range(len(directory.slabs.ends))
                return b"".join(_slab(file.fileno(), directory.slabs, each) for each in slabs)
        except OSError as error:
            raise LedgerDamaged(f"{self.path}: {error}") from error

    def _read_directory(self) -> Directory:
        found = LedgerFile(self.path, merged=False)
        for block in read_blocks(self.path):
            found.add(block)
        directory = found.known() if found.spans == self.spans else None
        if directory is None:
            raise LedgerDamaged(f"{self.path}: its directory is torn")
        return directory

    def newest(self, directory: Directory | None) -> bytes:
        """Return its last chunk.

        Raises:
            LedgerDamaged: it is not as it was written.
        """
        try:
            directory = directory or self._read_directory()
            return Located(self.path, directory.ordered(np.array([-1]))).read()[0]
        except OSError as error:
            raise LedgerDamaged(f"{self.path}: {error}") from error

    def locate(self, wanted: KeyRanges, directory: Directory | None, first: int = 0) -> Located:
        """Return where the chunks lie that are wanted, in the order they were written.

        `first`: only from this chunk on.

        Raises:
            LedgerDamaged: the directory is not as it was written.
        """
        try:
            directory = directory or self._read_directory()
        except OSError as error:
            raise LedgerDamaged(f"{self.path}: {error}") from error
        found = directory._replace(keys=directory.keys[first:]).find(wanted) + first
        return Located(self.path, directory.ordered(found))


class Located(NamedTuple):
    """Chunks that are wanted of one file."""

    path: Path
    directory: Directory

    @property
    def size(self) -> int:
        """How many bytes they have."""
        return int(self.directory.sizes.sum())

    def read(self) -> list[bytes]:
        """Return the chunks.

        Raises:
            LedgerDamaged: they are not as they were written.
        """
        _, starts, sizes, slabs = self.directory
        numbers = np.searchsorted(slabs.ends, starts, "right")
        befores = np.concatenate((np.zeros(1, np.uint64), slabs.ends))[numbers]
        columns = (numbers, starts - befores, sizes)
        found: list[bytes] = []
        slab, at_hand = b"", -1
        try:
            with self.path.open("rb") as file:
                for number, begin, size in zip(*(each.tolist() for each in columns), strict=True):
                    if number != at_hand:
                        slab, at_hand = _slab(file.fileno(), slabs, number), number
                    found.append(slab[begin : begin + size])
        except OSError as error:
            raise LedgerDamaged(f"{self.path}: {error}") from error
        return found


def _slab(file: int, slabs: Slabs, number: int) -> bytes:
    """Return a slab, unpacked."""
    begin, size = int(slabs.begins[number]), int(slabs.sizes[number])
    unpacked = int(slabs.ends[number]) - (int(slabs.ends[number - 1]) if number else 0)
    packed = os.pread(file, size, begin)
    if xxh3_64_intdigest(packed) != int(slabs.checks[number]):
        raise LedgerDamaged(f"slab {number} is wrong")
    return _unpacked(packed, unpacked)


def _size(directory: Directory) -> int:
    """Return how many bytes all chunks have."""
    return int(directory.slabs.ends[-1]) if len(directory.slabs.ends) else 0


def _behind(directory: Directory, unpacked: int) -> Directory:
    """Return a directory behind others of the file that have so many bytes."""
    begin, slabs = np.uint64(unpacked), directory.slabs
    return directory._replace(
        starts=directory.starts + begin, slabs=slabs._replace(ends=slabs.ends + begin)
    )


def closed(file: LedgerFile, path: Path) -> LedgerFile:
    """Return a file under another name, to which nothing is appended any more."""
    os.link(file.path, path)
    found = LedgerFile(path, merged=True)
    found.spans = file.spans
    return found


def merged(
    files: Sequence[LedgerFile],
    directories: Sequence[Directory],
    contents: Sequence[bytes],
    path: Path,
) -> LedgerFile:
    """Return one file with the chunks of all, sorted by key; those of a key stay in order.

    `contents`: of each file all its chunks.
    """
    whole = Directory.over(directories)
    of_file = np.repeat(np.arange(len(files)), [len(known.keys) for known in directories])
    order = np.argsort(whole.keys, kind="stable")
    starts, of_file = whole.starts[order].tolist(), of_file[order].tolist()
    found = LedgerFile(path, merged=True)
    found.spans = joined(span for file in files for span in file.spans)
    whole = whole.ordered(order)
    ends = _slab_ends(whole.sizes)
    whole = whole._replace(slabs=Slabs.of(ends, [b""] * len(ends), 0))
    views = [memoryview(content) for content in contents]
    chunks = zip(of_file, starts, whole.sizes.tolist(), strict=True)
    draft = path.with_suffix(".draft")
    out = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        # Its size is known before all that it says.
        _write(out, _head_of(found.spans, whole))
        sizes, checks, end = [], [], 0
        for until in ends.tolist():
            slab: list[memoryview] = []
            while end < until:
                number, begin, size = next(chunks)
                slab.append(views[number][begin : begin + size])
                end += size
            packed = _compressed(b"".join(slab))
            sizes.append(len(packed))
            checks.append(xxh3_64_intdigest(packed))
            _write(out, packed)
        columns = np.array(sizes, np.uint32), np.array(checks, np.uint64)
        whole = whole._replace(slabs=Slabs.placed(ends, *columns, 0))
        os.lseek(out, 0, os.SEEK_SET)
        _write(out, _head_of(found.spans, whole))
    finally:
        os.close(out)
    draft.rename(path)
    return found
