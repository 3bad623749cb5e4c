"""Operations: those of unique counts paid in advance that have many, each in a row of its own.

What an operation bills hangs on the newest one before it in event time, whenever that came. So all
of a property are kept. A few lie in its member; once they are more, each has a row here, and the
member keeps what any other unique count keeps. Then an operation writes and looks at a few rows,
however many there are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from struct import Struct

import msgspec

from app.bounds.turns import STEP_ITEMS, Steps, batches
from app.wire.arrivals import Position
from tables.unique_count import MemberOperation

ROW_PREFIX = b"o"
"""Begins the key of a row in the changelog."""

BLOCK_ROWS = 128
"""Rows that an insertion may have to move."""

_Name = tuple[bytes, str]
"""(set, property text), as of a member."""
Row = bytes
"""Time, position and kind of an operation, sorted as bytes as they are by event time."""

NamedRow = tuple[_Name, Row]
"""A row, and of which property it is."""

_EVENT_TIME = Struct(">QQIQI")
_POSITION = slice(8, _EVENT_TIME.size)
_ADDS, _REMOVES = b"+", b"-"
_BIAS_MS = 1 << 63
"""Makes an instant before 1970 sort before those after it."""

_encode = msgspec.msgpack.encode
_decode_name = msgspec.msgpack.Decoder(_Name).decode


def row_of(operation: MemberOperation) -> Row:
    """Return the row of an operation: what it bills does not hang on its period and cut."""
    place = event_time_of(operation.timestamp_ms, operation.position)
    return place + (_ADDS if operation.adds else _REMOVES)


def event_time_of(timestamp_ms: int, position: Position) -> bytes:
    """Return where an operation has its place among rows."""
    return _EVENT_TIME.pack(timestamp_ms + _BIAS_MS, *position)


def position_of(row: bytes) -> bytes:
    """Return the position of a row, or of its place; positions sort as bytes, too."""
    return row[_POSITION]


def adds(row: Row) -> bool:
    """Return whether the operation of a row is an addition."""
    return row[_EVENT_TIME.size :] == _ADDS


class OperationRows:
    """Rows of one property in event-time order, in blocks, so that no insertion moves many."""

    __slots__ = ("_blocks",)

    def __init__(self) -> None:
        self._blocks: list[list[Row]] = []

    def __iter__(self) -> Iterator[Row]:
        return (row for block in self._blocks for row in block)

    def __bool__(self) -> bool:
        return bool(self._blocks)

    def add(self, row: Row) -> bool:
        """Insert a row; return False if it is there."""
        blocks = self._blocks
        if not blocks:
            blocks.append([row])
            return True
        number = max(0, bisect_right(blocks, row, key=_first) - 1)
        block = blocks[number]
        place = bisect_left(block, row)
        if place < len(block) and block[place] == row:
            return False
        block.insert(place, row)
        if len(block) > BLOCK_ROWS:
            half = len(block) // 2
            blocks[number : number + 1] = [block[:half], block[half:]]
        return True

    def after(self, place: bytes) -> Iterator[Row]:
        """Yield the rows at or after a place, in order."""
        for number in range(
            max(0, bisect_right(self._blocks, place, key=_first) - 1), len(self._blocks)
        ):
            block = self._blocks[number]
            for at in range(bisect_left(block, place), len(block)):
                yield block[at]

    def drop_before(self, place: bytes) -> None:
        """Forget the rows before a place."""
        number = max(0, bisect_right(self._blocks, place, key=_first) - 1)
        del self._blocks[:number]
        if self._blocks:
            first = self._blocks[0]
            del first[: bisect_left(first, place)]
            if not first:
                del self._blocks[0]

    def before(self, event_time: bytes) -> Iterator[Row]:
        """Yield the rows before a place, the newest first."""
        blocks = self._blocks
        number = bisect_right(blocks, event_time, key=_first) - 1
        if number < 0:
            return
        block = blocks[number]
        for place in range(bisect_left(block, event_time) - 1, -1, -1):
            yield block[place]
        for earlier in range(number - 1, -1, -1):
            yield from reversed(blocks[earlier])


def _first(block: list[Row]) -> Row:
    return block[0]


class Operations:
    """The rows of one partition's properties with many operations, those of a refold apart."""

    def __init__(self, write: Callable[[bytes, bytes | None, bytes | None], None] | None = None):
        """Take what writes a row to the changelog: key, old and new value; None: there is none."""
        self._write = write
        self._sets: dict[bytes, dict[str, OperationRows]] = {}
        """Rows appended until the last cut, by set and property text."""
        self._coming: dict[_Name, OperationRows] = {}
        """Rows appended after it, in order of position: another may come before any of them."""
        self._settled_ms = -1
        self._gone: dict[bytes, dict[str, list[Row]]] = {}
        """Rows that the changelog has yet."""
        self.looked_at = 0
        """How many rows were looked at, to tell what came before and to sort them in."""

    def __contains__(self, name: _Name) -> bool:
        return name[1] in self._sets.get(name[0], ())

    def add(self, name: _Name, operation: MemberOperation) -> None:
        """Keep an operation."""
        self._put(name, row_of(operation))

    def _put(self, name: _Name, row: Row) -> None:
        if name[0] in self._gone:
            for _ in self._deleting_set(name[0]):
                pass
        if self._keep(name, row) and self._write is not None:
            self._write(_key(name, row), None, row[_EVENT_TIME.size :])

    def _keep(self, name: _Name, row: Row) -> bool:
        rows = self._sets.setdefault(name[0], {}).setdefault(name[1], OperationRows())
        if int.from_bytes(row[8:16]) <= self._settled_ms:
            return rows.add(row)
        return self._coming.setdefault(name, OperationRows()).add(_by_position(row))

    def load(self, key: bytes, value: bytes) -> None:
        """Take over one changelog record."""
        end = len(key) - _EVENT_TIME.size
        self._keep(_decode_name(key[len(ROW_PREFIX) : end]), key[end:] + value)

    def settling(self, cut_ms: int) -> Steps[None]:
        """Sort in, by small steps, what no earlier operation can come after: the cut is taken."""
        self._settled_ms = max(self._settled_ms, cut_ms)
        end = (self._settled_ms + 1).to_bytes(8)
        for name in list(self._coming):
            rows = self._sets.get(name[0], {}).get(name[1], OperationRows())
            for count, row in enumerate(self.coming(name, b"", end), 1):
                rows.add(row)
                if count % STEP_ITEMS == 0:
                    yield
            coming = self._coming.get(name)
            if coming is not None:
                coming.drop_before(end)
                if not coming:
                    del self._coming[name]

    # Looking up

    def newest(self, name: _Name, event_time: bytes, known: bytes) -> Row | None:
        """Return the last row before a place that came before a position; of the settled ones."""
        return self.newest_of(self._sets[name[0]][name[1]], event_time, known)

    def newest_of(self, rows: OperationRows, event_time: bytes, known: bytes) -> Row | None:
        """Do the same with other rows."""
        for row in rows.before(event_time):
            self.looked_at += 1
            if position_of(row) < known:
                return row
        return None

    def coming(self, name: _Name, since: bytes, until: bytes) -> Iterator[Row]:
        """Yield the rows between two positions that are not settled, in order of position."""
        coming = self._coming.get(name)
        for row in coming.after(since) if coming is not None else ():
            if row >= until:
                break
            self.looked_at += 1
            yield _by_event_time(row)

    def of_set(self, key: bytes) -> dict[str, list[Row]]:
        """Return all rows of a set, by property text."""
        return {
            text: sorted((*rows, *map(_by_event_time, self._coming.get((key, text), ()))))
            for text, rows in self._sets.get(key, {}).items()
        }

    # Refolds

    def drop(self, keys: Iterable[bytes]) -> None:
        """Forget the rows of sets; the next flush deletes them."""
        for key in keys:
            found = self.of_set(key)
            if found:
                self._gone.setdefault(key, {}).update(found)
                del self._sets[key]
                for text in found:
                    self._coming.pop((key, text), None)

    def deleting(self) -> Steps[None]:
        """Delete by small steps what was forgotten since the last flush."""
        for key in list(self._gone):
            yield from self._deleting_set(key)

    def _deleting_set(self, key: bytes) -> Steps[None]:
        gone, write = self._gone.pop(key), self._write
        if write is None:
            return
        for text, rows in gone.items():
            for count, row in enumerate(rows, 1):
                write(_key((key, text), row), row[_EVENT_TIME.size :], None)
                if count % STEP_ITEMS == 0:
                    yield

    def replacing(self, others: Operations) -> Steps[None]:
        """Take over, by small steps, the rows that a refold made."""
        count = 0
        for key in list(others._sets):
            for text, rows in others.of_set(key).items():
                for row in rows:
                    self._put((key, text), row)
                    count += 1
                    if count % STEP_ITEMS == 0:
                        yield

    def told(self) -> Iterator[Sequence[NamedRow]]:
        """Yield all rows by small parts, for another process to take over."""
        for key in self._sets:
            for text, rows in self.of_set(key).items():
                yield from batches([((key, text), row) for row in rows], STEP_ITEMS)

    def take_over(self, rows: Iterable[NamedRow]) -> None:
        """Take over rows that a refold made in another process."""
        for name, row in rows:
            self._put(name, row)


def _by_position(row: Row) -> bytes:
    return row[_POSITION] + row[:8] + row[_EVENT_TIME.size :]


def _by_event_time(row: bytes) -> Row:
    return row[24:32] + row[:24] + row[_EVENT_TIME.size :]


def _key(name: _Name, row: Row) -> bytes:
    return ROW_PREFIX + _encode(name) + row[: _EVENT_TIME.size]
