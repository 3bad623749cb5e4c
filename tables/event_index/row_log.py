"""A row log: rows of any length by id, of which the newest counts, in a file as their log has them.

The file holds the records of the log one behind the other. An event index of its own tells where
the newest row of an id is, so rows take no memory, however many there are. Local disk holds whole
committed flushes only, and is a cache: whoever has the first rows of the log reads on from there.

A row in the file is its id (12 bytes), its length (4 bytes, big-endian) and its bytes. A record
begins with the place of its first row in the file (8 bytes).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from shutil import rmtree
from typing import Final, NamedTuple

import xxhash

from app.bounds.discards import Discarded, DiscardReason, tell_nobody
from app.bounds.turns import STEP_ITEMS, Steps
from tables.event_index.entries import Entry, pack_entries
from tables.event_index.index import EventIndex, LogDiffers
from tables.event_index.log import LOG_START, LogPlace
from tables.event_index.rows import ID_BYTES, ReadByPosition

RECORD_BYTES: Final = 1 << 19
"""A record of the log is full when it has so many bytes; its last row may be beyond them."""
MEMORY_BYTES: Final = 1 << 20
FILE_NAME: Final = "rows.log"

_LENGTH_BYTES: Final = 4
_HEAD_BYTES: Final = ID_BYTES + _LENGTH_BYTES
_PLACE_BYTES: Final = 8
_HASH_BYTES: Final = 6


class RowsLost(OSError):
    """Local disk does not give what was written to it; it is made again from the log."""


class FlushedRows(NamedTuple):
    """Some rows of a flush, and where they stand in the log."""

    place: LogPlace
    value: bytes


class _File(ReadByPosition):
    """The rows on local disk, open for reading and writing."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def read(self, at: int, length: int) -> bytes:
        return os.pread(self._descriptor, length, at)

    def write(self, at: int, rows: bytes | bytearray) -> bool:
        return os.pwrite(self._descriptor, rows, at) == len(rows)

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size


def _tell_nobody(error: RowsLost) -> None:
    """Leave it to whoever asked."""


class RowLog:
    """The rows of one partition. One thread at a time.

    Without a directory everything stays in memory.
    """

    def __init__(
        self,
        directory: Path | None = None,
        *,
        memory_bytes: int = MEMORY_BYTES,
        identity: str = "",
        tell: Callable[[Discarded], None] = tell_nobody,
    ) -> None:
        """Open what `directory` holds; `tell` is called if it is discarded.

        So it is of another `identity`.
        """
        self._directory = directory
        self._tell_discarded = tell
        index = None if directory is None else directory / "index"
        self.index = EventIndex(index, memory_bytes=memory_bytes, identity=identity, tell=tell)
        self._file: _File | None = None
        self._file_error: str | None = None
        self._memory_bytes = memory_bytes
        self._written = 0
        """How many bytes of the log the file has."""
        self._tail = bytearray()
        """What comes behind them, committed or not."""
        self._end = LOG_START
        self._handed_out = 0
        """How many bytes of it were there when the flush under way was packed."""
        self._sealed = 0
        """How many bytes of it are committed."""
        self._new: dict[bytes, bytes] = {}
        """Rows since the last flush."""
        self._at_hand: dict[bytes, bytes | None] = {}
        """What was looked up last."""
        self._tell_lost: Callable[[RowsLost], None] = _tell_nobody

    def when_lost(self, tell: Callable[[RowsLost], None]) -> None:
        """Tell somebody that local disk does not give what it was given; who asked fails."""
        self._tell_lost = tell

    @property
    def is_empty(self) -> bool:
        """Whether there is no row."""
        return not (self.index.length or self._new)

    @property
    def pending(self) -> int:
        """How many rows there are since the last flush."""
        return len(self._new)

    @property
    def end(self) -> LogPlace:
        """Where the log ends, with what the flush under way has."""
        return self._end

    def get(self, row_id: bytes) -> bytes | None:
        """Return the newest row of an id.

        Raises:
            RowsLost: local disk does not give it any more; a restore makes it again.
        """
        if row_id in self._at_hand:
            return self._at_hand[row_id]
        return self._found([row_id])[0]

    def look_up(self, ids: Sequence[bytes]) -> None:
        """Have the rows of some ids at hand, and no others: together they cost much less.

        Raises: as `get`.
        """
        self._at_hand = dict(zip(ids, self._found(ids), strict=True))

    def _found(self, ids: Sequence[bytes]) -> list[bytes | None]:
        rows = list(map(self._new.get, ids))
        if self.index.length and ids:
            for number, entry in enumerate(self.index.find_many(ids)):
                if entry is not None and rows[number] is None:
                    rows[number] = self._read(entry)
        return rows

    def _read(self, entry: Entry) -> bytes:
        at, length = entry.raw_offset, entry.rekeyed_offset
        if at >= self._written:
            first = at - self._written
            row = bytes(self._tail[first : first + length])
        else:
            try:
                row = b"" if self._file is None else self._file.read(at, length)
            except OSError as error:
                raise self._lost("unreadable", str(error)) from error
        if _hash(row) != entry.body_hash:
            raise self._lost("damaged", "it has other bytes than were written to it")
        return row

    def _lost(self, reason: DiscardReason, why: str) -> RowsLost:
        """Discard all of it; whoever opens it again begins anew."""
        error = RowsLost(f"{self._directory}: {why}")
        if self._directory is not None:
            rmtree(self._directory, ignore_errors=True)
        self._tell_discarded(Discarded(reason, str(error)))
        self._tell_lost(error)
        return error

    def put(self, row_id: bytes, row: bytes) -> None:
        """Put a row in place of the one before; the next flush writes it."""
        self._new[row_id] = row
        if row_id in self._at_hand:
            self._at_hand[row_id] = row

    # Flushes

    def taking(self) -> Steps[list[FlushedRows]]:
        """Return the records of this flush, by small steps; rows may be read meanwhile, not put."""
        records = list[FlushedRows]()
        for rows in _parts(self._new.items()):
            at = self._written + len(self._tail)
            packed, framed = _framed(at, rows)
            self._tail += framed
            self.index.add_rows(packed)
            records.append(FlushedRows(self._end, at.to_bytes(_PLACE_BYTES) + framed))
            self._end = self._end.after(packed)
            yield
        self._new.clear()
        self.index.pending()
        self._handed_out = len(self._tail)
        return records

    def seal_flush(self, flush: int) -> None:
        """Let local disk have what `taking` handed out: the flush committed."""
        self._sealed = self._handed_out
        self._write()
        self.index.seal_flush(flush)

    def try_disk_again(self) -> None:
        """Write what waits, if local disk takes it now."""
        self._write()
        self.index.try_disk_again()

    def _write(self) -> None:
        """Write to the file what is committed, if it takes that."""
        size = self._sealed
        if self._directory is None or not size:
            return
        try:
            if self._file is None:
                self._file = _File(self._directory / FILE_NAME)
            taken = self._file.write(self._written, self._tail[:size])
            self._file_error = None if taken else "it has no room"
        except OSError as error:
            self._file_error, taken = str(error), False
        if taken:
            self._written += size
            self._handed_out -= size
            self._sealed = 0
            del self._tail[:size]

    @property
    def disk_error(self) -> str | None:
        """Why local disk took nothing when it was tried last; what it lacks stays in memory."""
        error = self.index.disk_error
        return self._file_error or (None if error is None else str(error))

    @property
    def wanted_disk_bytes(self) -> int:
        """What has to go to disk, which takes nothing, before more may come; 0: nothing has."""
        waits = self._file_error is not None and len(self._tail) > self._memory_bytes
        return self.index.wanted_disk_bytes + (len(self._tail) if waits else 0)

    def limit_memory(self, memory_bytes: int) -> None:
        """Take at most so much memory from now on."""
        self._memory_bytes = memory_bytes
        self.index.limit_memory(memory_bytes)

    # Restores

    def load(self, values: Iterable[bytes]) -> None:
        """Take in the next committed records, from the start of the log or a place in it on.

        Raises:
            LogDiffers: local disk has other rows: `begin_anew`, and read the log from its start.
        """
        for value in values:
            at, framed = int.from_bytes(value[:_PLACE_BYTES]), memoryview(value)[_PLACE_BYTES:]
            if at != self._written + len(self._tail):
                self._go_on_at(at)
            self._tail += framed
            self._handed_out = self._sealed = len(self._tail)
            self._write()
            self.index.load(_read_again(at, framed))
        self._end = self.index.log_place

    def _go_on_at(self, at: int) -> None:
        """Take what the file has before a place for the first rows of the log."""
        if self._directory is not None and self._file is None:
            self._file = _File(self._directory / FILE_NAME)
        if self._file is None or self._tail or self._file.size() < at:
            raise LogDiffers("the rows on local disk end before those that the log goes on with")
        self._written = at

    def begin_anew(self) -> None:
        """Forget everything that was loaded, or was there."""
        self.index.truncate(0)
        self._new.clear()
        self._at_hand.clear()
        self._tail.clear()
        self._written = self._handed_out = self._sealed = 0
        self._end = LOG_START

    def close(self) -> None:
        """Let go of local disk."""
        self.index.close()
        if self._file is not None:
            self._file.close()


def _parts(items: Iterable[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield rows by a step each, and by what a record holds."""
    part, size = list[tuple[bytes, bytes]](), 0
    for item in items:
        part.append(item)
        size += len(item[1])
        if size >= RECORD_BYTES or len(part) == 8 * STEP_ITEMS:
            yield part
            part, size = [], 0
    if part:
        yield part


def _framed(at: int, rows: Iterable[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """Return rows that begin at a place of the file, as the index has them and as the file does."""
    ids, entries, parts = list[bytes](), list[Entry](), list[bytes]()
    for row_id, row in rows:
        ids.append(row_id)
        entries.append(_entry(at + _HEAD_BYTES, row))
        parts += (row_id, len(row).to_bytes(_LENGTH_BYTES), row)
        at += _HEAD_BYTES + len(row)
    return pack_entries(ids, entries), b"".join(parts)


def _read_again(at: int, framed: memoryview) -> bytes:
    """Return what the index has of rows as the file has them from a place on."""
    ids, entries, first = list[bytes](), list[Entry](), 0
    while first < len(framed):
        begin = first + _HEAD_BYTES
        end = begin + int.from_bytes(framed[first + ID_BYTES : begin])
        ids.append(bytes(framed[first : first + ID_BYTES]))
        entries.append(_entry(at + begin, framed[begin:end]))
        first = end
    return pack_entries(ids, entries)


def _entry(at: int, row: bytes | memoryview) -> Entry:
    """Return an entry that leads to a row: where it begins, how long it is, and its hash."""
    return Entry(0, 0, at, 0, len(row), _hash(row))


def _hash(row: bytes | memoryview) -> int:
    return int.from_bytes(xxhash.xxh3_64_digest(row)[:_HASH_BYTES])
