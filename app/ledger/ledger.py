"""Ledger: what a partition took, where its refolds, explanations and lists find it again.

Offsets alone, with events left in Kafka, were no gain: each event of a rare subscription costs a
fetch of hundreds. SQLite took five times the CPU of these files to write.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from asyncio import to_thread
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, Protocol
from uuid import uuid4

from app.bounds.discards import Discarded, Discards
from app.ledger.blocks import (
    Block,
    LedgerFile,
    LedgerStretch,
    Located,
    closed,
    collected,
    merged,
    pack,
    read_blocks,
)
from app.ledger.rows import Chunks, KeyRanges, LedgerDamaged, rows_of
from app.wire.arrivals import Arrival, Arrived, CorrectionArrival, Run

log = logging.getLogger(__name__)

MERGED_BYTES = 64 * 1024 * 1024
MERGED_CHUNKS = 65_536
MERGED_BLOCKS = 16_384
"""Files that flushes append to are merged when they have as much of one: their directories are in
memory, some 20 bytes a chunk and 50 a block."""

FEW_BLOCKS = 256
"""A file of more is merged: each has its directory, which whoever looks something up reads."""

MEMORY_BYTES = 256 * 1024 * 1024
"""Most that the ledgers of a worker hold for flushes to come; what is more has a hole."""

SLABS_AT_ONCE = 16
"""A ledger packs so many at each slice that is folded, which has fewer: 0.5 ms."""

LEAST_FLUSHED_BYTES = 1024 * 1024
"""A ledger with less asks for no flush."""

WELL_AFTER_S = 600
"""It is told to be over so long after the last write that failed: on a full disk a ledger has room
for some flushes again once it forgot all that it had."""

_APPENDED, _MERGED = ".appended", ".merged"


Place = tuple[int, int, int]
"""(raw partition, offset, array index)"""

FindRaw = Callable[[Sequence[Place]], Awaitable[Mapping[Place, Arrived]]]
"""Returns what the raw log has at places."""


class Checkpoint(Protocol):
    """Where the live fold of a partition stands."""

    raw_next: int
    rekeyed_next: int
    append_time_ms: int
    index_epoch: int


class LedgerRoom:
    """What the ledgers of one worker may take of its memory and its local disk."""

    def __init__(self, directory: Path, disk_bytes: int, discards: Discards | None = None):
        """Take what is told of files that are of no use."""
        self.discards = discards or Discards()
        self.directory = directory
        self.disk_bytes = disk_bytes
        self.memory_bytes = self.ledgers = 0
        """How much the ledgers hold, and how many there are."""

    def of(self, number: int, checkpoint: Checkpoint, find: FindRaw) -> Ledger:
        """Return the ledger of a partition; another begins when its index does."""

        def ends() -> Ends:
            return Ends(checkpoint.raw_next, checkpoint.rekeyed_next, checkpoint.append_time_ms)

        directory = self.directory / str(number) / str(checkpoint.index_epoch)
        return Ledger(self, number, directory, ends, find)

    def drop_oldest(self) -> None:
        """Delete the oldest files until the others fit; half of what is free stays free."""
        found = []
        for path in self.directory.rglob("*.*"):
            with suppress(OSError):
                told = path.stat()
                found.append((told.st_mtime_ns, told.st_size, path))
        used = sum(size for _, size, _ in found)
        most = min(self.disk_bytes, (used + shutil.disk_usage(self.directory).free) // 2)
        for _, size, path in sorted(found):
            if used <= most:
                return
            with suppress(OSError):
                path.unlink()
            used -= size


class Ends(NamedTuple):
    """Where both logs are folded up to."""

    raw: int
    rekeyed: int
    append_time_ms: int


class _Frame(NamedTuple):
    """What one flush took."""

    chunks: Chunks
    span: LedgerStretch


class LedgerPart(NamedTuple):
    """Stretches of both logs, and the chunks of what is wanted in them, or where these lie."""

    spans: list[LedgerStretch]
    chunks: list[bytes] | Located


class Ledger:
    """The arrivals of one partition: on local disk, of the flush under way, and since then."""

    def __init__(
        self,
        room: LedgerRoom,
        number: int,
        directory: Path,
        ends: Callable[[], Ends],
        find: FindRaw,
    ):
        """Take where the live fold stands: what lies behind that on disk is void."""
        self._room = room
        room.ledgers += 1
        self._number = number
        self._find = find
        self._directory = directory
        self._ends = ends
        self._restored = self._from = ends()
        self._chunks = Chunks()
        self._overflown = room.disk_bytes == 0
        """What came since the last flush is not all here."""
        self._packed: _Frame | None = None
        """What a flush took that is not committed."""
        self._durable: deque[_Frame] = deque()
        """What committed flushes took; the first one is being written."""
        self._gone = False
        self._files: list[LedgerFile] = []
        self._is_loaded = False
        """The files of before are among them."""
        self._current: LedgerFile | None = None
        """The one that flushes are appended to."""
        self._failed_s: float | None = None
        """When the disk failed last, until that is told to be over."""
        self._void: list[Path] = []
        """Merged into another; deleted with the next ones, when nobody reads them any more."""
        self._disk = asyncio.Lock()
        """Held while files come and go."""
        self._writing: asyncio.Task[None] | None = None

    # Taking

    def note(self, part: Sequence[Run], *, plain: bool) -> None:
        """Note what was folded; `plain`: each event is all that its raw record holds."""
        if self._overflown:
            return
        chunks = self._chunks
        before = chunks.size
        chunks.add(part, plain=plain)
        if self._room.memory_bytes >= MEMORY_BYTES // 2:
            # Before that it is left to the thread that writes.
            pack(chunks, SLABS_AT_ONCE)
        self._grown(chunks.size - before)

    def note_corrections(self, corrections: Sequence[CorrectionArrival]) -> None:
        """Note corrections that were taken in."""
        if self._overflown:
            return
        before = self._chunks.size
        self._chunks.add_corrections(corrections)
        self._grown(self._chunks.size - before)

    def _grown(self, size: int) -> None:
        self._room.memory_bytes += size
        if self._room.memory_bytes > MEMORY_BYTES:
            self._release(self._chunks)
            self._chunks, self._overflown = Chunks(), True

    def _release(self, chunks: Chunks) -> None:
        self._room.memory_bytes -= chunks.size

    def is_full(self) -> bool:
        """Return whether a flush had better come: ledgers hold much, and this one some of it."""
        held, room = self._chunks.size, self._room
        if held < LEAST_FLUSHED_BYTES or room.memory_bytes < MEMORY_BYTES // 4 * 3:
            return False
        # Not one that was flushed a moment ago: others hold it.
        return held * 2 * room.ledgers >= room.memory_bytes

    # Writing

    def pack(self) -> None:
        """Note that a flush takes what was noted, up to where the live fold stands."""
        ends = self._ends()
        if self._room.disk_bytes == 0 or not (self._overflown or self._chunks.keys):
            # What brought nothing is told with what comes next.
            return
        if not self._overflown:
            self._packed = _Frame(self._chunks, self._span(ends))
        self._from, self._chunks, self._overflown = ends, Chunks(), False

    def _span(self, ends: Ends) -> LedgerStretch:
        begun = self._from
        return LedgerStretch(begun.raw, ends.raw, begun.rekeyed, ends.rekeyed, ends.append_time_ms)

    def commit(self) -> None:
        """Have written what the flush took, beside everything else: it is durable."""
        if self._packed is not None:
            self._durable.append(self._packed)
            self._packed = None
        if self._durable and (self._writing is None or self._writing.done()):
            self._writing = asyncio.create_task(self._write())

    async def rest(self) -> None:
        """Wait until nothing is written."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    def give_up(self) -> None:
        """Take and write no more: somebody else may have the files."""
        if not self._gone:
            for frame in self._frames():
                self._release(frame.chunks)
            self._release(self._chunks)
            self._room.ledgers -= 1
        self._gone = self._overflown = True

    def _frames(self) -> list[_Frame]:
        return [*self._durable, *([] if self._packed is None else [self._packed])]

    async def _write(self) -> None:
        now_s = asyncio.get_running_loop().time
        try:
            while self._durable and not self._gone:
                async with self._disk:
                    await self._append(self._durable[0])
                    await self._merge()
                if self._failed_s is not None and now_s() - self._failed_s >= WELL_AFTER_S:
                    self._failed_s = None
                    log.info("The ledger in %s is written again", self._directory)
        except (OSError, MemoryError) as error:
            # A full disk fails each flush, or every few.
            if self._failed_s is None:
                log.warning("The ledger in %s begins anew: %r", self._directory, error)
            self._failed_s = now_s()
            self.forget()
            while self._durable and not self._gone:
                self._release(self._durable.popleft().chunks)

    def forget(self) -> None:
        """Forget all that is on local disk."""
        for file in list(self._files):
            self._lose(file)

    async def _append(self, frame: _Frame) -> None:
        current = self._current or LedgerFile(self._path(_APPENDED), merged=False)

        def append() -> Block:
            self._directory.mkdir(parents=True, exist_ok=True)
            return current.append([frame.span], frame.chunks)

        block = await to_thread(append)
        if self._gone:
            return
        current.add(block)
        if current is not self._current:
            self._files.append(current)
            self._current = current
        self._release(self._durable.popleft().chunks)

    async def _merge(self) -> None:
        """Close the file that flushes were appended to, or merge them, if it is enough."""
        files = sorted((file for file in self._files if not file.merged), key=_order)
        size, chunks = sum(file.bytes for file in files), sum(file.chunks for file in files)
        blocks = sum(file.blocks for file in files)
        if size < MERGED_BYTES and chunks < MERGED_CHUNKS and blocks < MERGED_BLOCKS:
            return
        if len(files) == 1 and files[0].blocks <= FEW_BLOCKS:
            # To write all of it once more costs as much as all else that is done with an event.
            whole = await to_thread(closed, files[0], self._path(_MERGED))
        else:
            known, contents = [], []
            for file in files:
                directory = file.known()
                if directory is None:
                    continue
                try:
                    contents.append(await to_thread(file.unpacked, directory))
                except LedgerDamaged as error:
                    self._lose_damaged(file.path, error)
                    return
                known.append(directory)
            whole = await to_thread(merged, files, known, contents, self._path(_MERGED))
        if not all(file in self._files for file in files):
            # Some was found damaged meanwhile.
            await to_thread(whole.path.unlink, missing_ok=True)
            return
        self._files = [*(file for file in self._files if file not in files), whole]
        self._current = None
        void, self._void = self._void, [file.path for file in files]
        for path in void:
            await to_thread(path.unlink, missing_ok=True)
        await to_thread(self._room.drop_oldest)

    def _path(self, suffix: str) -> Path:
        # Never one of before: who gave the partition up may yet end a write.
        return self._directory / f"{uuid4().hex}{suffix}"

    # Reading

    async def locate(self, wanted: KeyRanges, raw: int = 0, rekeyed: int = 0) -> list[LedgerPart]:
        """Return stretches of the logs, in order, with all that they have of what is wanted.

        `raw`, `rekeyed`: only stretches that reach beyond these offsets; such a one may have rows
        before them or not. What no stretch covers is to be read from the logs.
        """
        if not self._is_loaded:
            await self._load()
        files = [
            (file, file.spans, file.known(), file.chunks_before(raw, rekeyed))
            for file in sorted(self._files, key=_order)
            if any(span.reaches(raw, rekeyed) for span in file.spans)
        ]
        recent = [(frame.chunks, frame.span) for frame in self._frames()]
        if not self._overflown:
            recent.append((self._chunks, self._span(self._ends())))
        at_hand = [
            LedgerPart([span], collected(chunks, wanted))
            for chunks, span in recent
            if span.reaches(raw, rekeyed)
        ]
        found: list[LedgerPart] = []
        for file, spans, known, first in files:
            try:
                found.append(LedgerPart(spans, await to_thread(file.locate, wanted, known, first)))
            except LedgerDamaged as error:
                self._lose_damaged(file.path, error)
        return found + at_hand

    async def read(self, part: LedgerPart) -> list[bytes] | None:
        """Return what a stretch has of what is wanted; None: it is damaged, the logs have it."""
        if isinstance(part.chunks, list):
            return part.chunks
        try:
            return await to_thread(part.chunks.read)
        except LedgerDamaged as error:
            self._lose_damaged(part.chunks.path, error)
            return None

    def _lose_damaged(self, path: Path, error: LedgerDamaged) -> None:
        lost = [file for file in self._files if file.path == path]
        if lost:
            # Others may have read it at the same time.
            self._room.discards.tell("ledger", self._number, Discarded("damaged", str(error)))
        for file in lost:
            self._lose(file)

    def _lose(self, file: LedgerFile) -> None:
        """Go on without a file."""
        if file in self._files:
            self._files.remove(file)
        if file is self._current:
            self._current = None
        with suppress(OSError):
            file.path.unlink()

    async def _load(self) -> None:
        """Take the files of before over, if they are of this log."""
        async with self._disk:
            if self._is_loaded:
                return
            ours = {*(file.path for file in self._files), *self._void}
            found = await to_thread(_files_of, self._directory, self._restored, ours)
            newest = max(found, key=_order, default=None)
            if newest is None or await self._is_of_log(newest):
                self._files += found
            else:
                why = Discarded("another", str(self._directory))
                self._room.discards.tell("ledger", self._number, why)
                for file in found:
                    self._lose(file)
            self._is_loaded = True

    async def _is_of_log(self, file: LedgerFile) -> bool:
        """Return whether the log has what the file has: topics may have been made anew."""
        try:
            chunk = await to_thread(file.newest, file.known())
            row = rows_of(chunk, self._number)[-1]
        except LedgerDamaged:
            return False
        place = (row.raw_partition, row.raw_offset, row.array_index)
        return _told((await self._find([place])).get(place)) == _told(row)


def _told(row: Arrived | None) -> tuple[int, bytes] | None:
    if isinstance(row, Arrival):
        return row.append_time_ms, row.event.body
    if isinstance(row, CorrectionArrival):
        return row.append_time_ms, row.correction.body
    return None


def _order(file: LedgerFile) -> LedgerStretch:
    return file.spans[0]


def _files_of(directory: Path, restored: Ends, ours: Collection[Path]) -> list[LedgerFile]:
    """Return the files of before, as far as they lie before the checkpoint and say nothing twice.

    Those of another time, before all was folded anew, are deleted.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for other in directory.parent.iterdir():
        if other != directory:
            shutil.rmtree(other, ignore_errors=True)
    files: list[LedgerFile] = []
    paths = [path for path in directory.iterdir() if path not in ours]
    for path in sorted(paths, key=lambda path: (path.suffix != _MERGED, path.name)):
        file = LedgerFile(path, merged=path.suffix == _MERGED)
        for block in read_blocks(path):
            if all(_fits(span, restored, [*files, file]) for span in block.spans):
                file.add(block)
        if file.spans and path.suffix in (_MERGED, _APPENDED):
            files.append(file)
        else:
            path.unlink(missing_ok=True)
    return files


def _fits(span: LedgerStretch, restored: Ends, files: Sequence[LedgerFile]) -> bool:
    if span.raw_until > restored.raw or span.rekeyed_until > restored.rekeyed:
        return False
    return not any(span.overlaps(each) for file in files for each in file.spans)
