"""Blocks: chunks on local disk, with a directory of where those of each key lie.

A file is one block after another. Each flush appends one. A file of few large ones stays as it is;
many small ones are merged into one that is sorted by key. Every directory and every chunk has a
checksum, which is compared at each reading.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

from app.ledger.rows import Chunks, Keys, LedgerDamaged, Wanted

_MAGIC: Final = b"mtrldgr1"
_HEAD: Final = struct.Struct("<8sIIQ")
"""Magic, chunks, spans, checksum of the directory."""
_SPAN_BYTES: Final = 5 * 8
_ENTRY_BYTES: Final = 8 + 4 + 8
_BLOCKS_APART: Final = 256
"""Directories of one file that are kept as they came; of more one is made."""
_SLAB_BYTES: Final = 4 * 1024 * 1024
"""Merged in one go."""


class Span(NamedTuple):
    """A stretch of both logs all of whose arrivals are there."""

    raw_from: int
    raw_until: int
    rekeyed_from: int
    rekeyed_until: int
    append_time_ms: int
    """The append time that the raw log had reached at its end."""

    def overlaps(self, other: Span) -> bool:
        """Return whether some offset is in both."""
        return (max(self.raw_from, other.raw_from) < min(self.raw_until, other.raw_until)) or max(
            self.rekeyed_from, other.rekeyed_from
        ) < min(self.rekeyed_until, other.rekeyed_until)


def joined(spans: Iterable[Span]) -> list[Span]:
    """Return spans with those made one that follow each other."""
    found: list[Span] = []
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


class Directory(NamedTuple):
    """Where chunks lie in a file, and what they must hash to."""

    keys: Keys
    starts: NDArray[np.uint64]
    sizes: NDArray[np.uint32]
    checks: NDArray[np.uint64]

    @classmethod
    def over(cls, parts: Sequence[Directory]) -> Directory:
        """Return all parts one after another."""
        if len(parts) == 1:
            return parts[0]
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def ordered(self, order: NDArray[np.intp]) -> Directory:
        """Return its entries in another order."""
        return Directory(
            self.keys[order], self.starts[order], self.sizes[order], self.checks[order]
        )

    def find(self, wanted: Wanted) -> NDArray[np.intp]:
        """Return the numbers of the chunks that are wanted, in the order they were written."""
        order = np.argsort(self.keys, kind="stable")
        keys = self.keys[order]
        begins = np.searchsorted(keys, wanted.first, "left")
        ends = np.searchsorted(keys, wanted.last, "right")
        hits = begins < ends
        found = [order[b:e] for b, e in zip(begins[hits], ends[hits], strict=True)]
        return np.sort(np.concatenate(found)) if found else np.empty(0, np.intp)


class Block(NamedTuple):
    """One block: its spans, and where its chunks lie in its file."""

    spans: list[Span]
    directory: Directory
    end: int


def directory_of(chunks: Chunks) -> Directory:
    """Return where chunks lie in their buffer."""
    ends = np.array(chunks.ends, np.uint64)
    starts = np.concatenate((np.zeros(min(1, len(ends)), np.uint64), ends[:-1]))
    with memoryview(chunks.buffer) as view:
        places = zip(starts.tolist(), chunks.ends, strict=True)
        checks = [xxh3_64_intdigest(view[begin:end]) for begin, end in places]
    sizes = (ends - starts).astype(np.uint32)
    return Directory(np.array(chunks.keys, np.uint64), starts, sizes, np.array(checks, np.uint64))


def collected(chunks: Chunks, wanted: Wanted) -> list[bytes]:
    """Return the chunks in memory that are wanted."""
    keys, ends = np.array(chunks.keys, np.uint64), chunks.ends
    none = np.empty(0, np.uint64)
    numbers = Directory(keys, none, none.astype(np.uint32), none).find(wanted).tolist()
    return [bytes(chunks.buffer[ends[n - 1] if n else 0 : ends[n]]) for n in numbers]


def write_head(file: int, spans: Sequence[Span], directory: Directory) -> int:
    """Write the head of a block whose chunks follow in this order; return its size."""
    parts = [
        np.array(spans, np.int64).tobytes(),
        directory.keys.tobytes(),
        directory.sizes.tobytes(),
        directory.checks.tobytes(),
    ]
    text = b"".join(parts)
    count = len(directory.keys)
    head = _HEAD.pack(_MAGIC, count, len(spans), xxh3_64_intdigest(text, count))
    _write(file, head + text)
    return len(head) + len(text)


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
            magic, count, spans, check = _HEAD.unpack(head)
            text_bytes = spans * _SPAN_BYTES + count * _ENTRY_BYTES
            at += _HEAD.size + text_bytes
            if magic != _MAGIC or at > size:
                return
            text = os.pread(file.fileno(), text_bytes, at - text_bytes)
            if xxh3_64_intdigest(text, count) != check:
                return
            block = _block(text, count, spans, at)
            at = block.end
            if at > size:
                return
            yield block


def _block(text: bytes, count: int, spans: int, begin: int) -> Block:
    told = np.frombuffer(text, np.int64, spans * 5).reshape(-1, 5).tolist()
    at = spans * _SPAN_BYTES
    keys = np.frombuffer(text, np.uint64, count, at)
    sizes = np.frombuffer(text, np.uint32, count, at + count * 8)
    checks = np.frombuffer(text, np.uint64, count, at + count * 12)
    ends = np.cumsum(sizes, dtype=np.uint64) + np.uint64(begin)
    directory = Directory(keys, ends - sizes, sizes, checks)
    end = int(ends[-1]) if count else begin
    return Block([Span(*each) for each in told], directory, end)


class LedgerFile:
    """A file of blocks. Of one that is merged only the spans are kept in memory."""

    def __init__(self, path: Path, *, merged: bool):
        self.path = path
        self.merged = merged
        self.spans: list[Span] = []
        """A list that is replaced, never changed: who reads may keep it."""
        self.bytes = self.blocks = self.chunks = 0
        self._directories: list[Directory] = []

    def add(self, block: Block) -> None:
        """Take note of a block that it has."""
        self.spans = joined([*self.spans, *block.spans])
        self.bytes = block.end
        self.blocks += 1
        if self.merged:
            return
        self.chunks += len(block.directory.keys)
        self._directories.append(block.directory)
        if len(self._directories) > _BLOCKS_APART:
            self._directories = [Directory.over(self._directories)]

    def known(self) -> Directory | None:
        """Return its directory as it is now; None: `collect` reads it from the file."""
        return None if self.merged else Directory.over(self._directories)

    def append(self, spans: Sequence[Span], directory: Directory, data: bytearray) -> Block:
        """Append a block, which the caller adds."""
        file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            begin = os.fstat(file).st_size
            begin += write_head(file, spans, directory)
            _write(file, data)
        finally:
            os.close(file)
        placed = directory._replace(starts=directory.starts + np.uint64(begin))
        return Block(list(spans), placed, begin + len(data))

    def _read_directory(self) -> Directory:
        blocks = list(read_blocks(self.path))
        if joined(span for block in blocks for span in block.spans) != self.spans:
            raise LedgerDamaged(f"{self.path}: its directory is torn")
        return Directory.over([block.directory for block in blocks])

    def newest(self, directory: Directory | None) -> bytes:
        """Return its last chunk.

        Raises:
            LedgerDamaged: it is not as it was written.
        """
        try:
            directory = directory or self._read_directory()
            place = (int(column[-1]) for column in directory[1:])
            with self.path.open("rb") as file:
                return _chunk(file.fileno(), *place)
        except OSError as error:
            raise LedgerDamaged(f"{self.path}: {error}") from error

    def locate(self, wanted: Wanted, directory: Directory | None) -> Located:
        """Return where the chunks lie that are wanted, in the order they were written.

        Raises:
            LedgerDamaged: the directory is not as it was written.
        """
        try:
            directory = directory or self._read_directory()
        except OSError as error:
            raise LedgerDamaged(f"{self.path}: {error}") from error
        return Located(self.path, directory.ordered(directory.find(wanted)))


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
        _, starts, sizes, checks = self.directory
        if not len(starts):
            return []
        columns = (starts, sizes, checks)
        places = zip(*(column.tolist() for column in columns), strict=True)
        try:
            with self.path.open("rb") as file:
                return [_chunk(file.fileno(), *place) for place in places]
        except OSError as error:
            raise LedgerDamaged(f"{self.path}: {error}") from error


def _chunk(file: int, begin: int, size: int, check: int) -> bytes:
    chunk = os.pread(file, size, begin)
    if xxh3_64_intdigest(chunk) != check:
        raise LedgerDamaged(f"the chunk at {begin} is wrong")
    return chunk


def closed(file: LedgerFile, path: Path) -> LedgerFile:
    """Return a file under another name, to which nothing is appended any more."""
    os.link(file.path, path)
    found = LedgerFile(path, merged=True)
    found.spans, found.bytes = file.spans, file.bytes
    return found


def merged(files: Sequence[LedgerFile], directories: Sequence[Directory], path: Path) -> LedgerFile:
    """Return one file with the chunks of all, sorted by key; those of a key stay in order.

    Chunks keep their checksums: what is wrong in them is found when they are read.
    """
    whole = Directory.over(directories)
    of_file = np.repeat(np.arange(len(files)), [len(known.keys) for known in directories])
    order = np.argsort(whole.keys, kind="stable")
    whole, of_file = whole.ordered(order), of_file[order]
    found = LedgerFile(path, merged=True)
    found.spans = joined(span for file in files for span in file.spans)
    contents = [memoryview(file.path.read_bytes()) for file in files]
    draft = path.with_suffix(".draft")
    out = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        write_head(out, found.spans, whole)
        slab: list[memoryview] = []
        room = _SLAB_BYTES
        columns = (of_file, whole.starts, whole.sizes)
        for number, begin, size in zip(*(column.tolist() for column in columns), strict=True):
            slab.append(contents[number][begin : begin + size])
            room -= size
            if room <= 0:
                _write(out, b"".join(slab))
                slab, room = [], _SLAB_BYTES
        _write(out, b"".join(slab))
        found.bytes = os.fstat(out).st_size
    finally:
        os.close(out)
    draft.rename(path)
    return found
