"""Correction rows: all that memory holds of a correction, packed, and found by two hashes.

As objects in two dicts a correction took more than 500 bytes. A row takes 69, and the places that
lead to it some 20 more.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterable, Iterator
from struct import Struct
from typing import Final, NamedTuple

import msgspec

from app.definitions.indexes.numbered import Numbers
from app.definitions.indexes.places import Places
from app.definitions.periods import NEVER_MS
from app.wire.arrivals import Position, SubscriptionKey
from app.wire.events import Event
from tables.spool import Place, Spool

_ROW: Final = Struct("<qIqI 12s12s 12s I IB")
"""Position; event id and key; place of the event; number of the name; next row and flags."""
_APPEND_TIME: Final = Struct("<q")
_POSITION: Final = Struct("<qIqI")
_INTEGER: Final = Struct("<I")
_IDENTITY_AT, _KEY_AT, _NUMBER_AT, _NEXT_AT, _FLAGS_AT = 24, 36, 60, 64, 68
_HASH_BYTES, _PLACE_BYTES = 12, 12
_NONE: Final = (1 << 32) - 1

_APPLIED, _FOLLOWED, _VOID, _CANCELS, _IN_MEMORY, _AWAITS, _MOVES = 1, 2, 4, 8, 16, 32, 64


class StoredCorrection(NamedTuple):
    """One correction of one event, as it was when it was asked for."""

    row: int
    position: Position
    name: SubscriptionKey
    identity: bytes
    """The event id."""
    place: Place | None
    """Place of the amended event in the spool; None: the correction cancels the event."""
    spool: Spool
    applied: bool
    """Whether the cells show it; False only for events that were appended before it."""
    followed: bool
    """Whether later cuts may still show it or leave it out."""

    @property
    def event(self) -> Event | None:
        """Amended event, read from the spool each time; None: the event is cancelled."""
        return None if self.place is None else _decode_event(self.spool.get(self.place))

    @property
    def append_time_ms(self) -> int:
        """Append time in ms; the first cut at or after it shows the correction."""
        return self.position[0]


class CorrectionRows:
    """The corrections of one partition, each with the number of its row."""

    def __init__(self, spool: Spool):
        self._spool = spool
        """Store of the events that corrections carry; hardly one of a thousand is read again."""
        self._rows = bytearray()
        self._in_memory: dict[int, bytes] = {}
        """Events that the spool left in memory."""
        self._names: list[SubscriptionKey] = []
        """Corrected external subscriptions; a row has the number of one."""
        self._numbers = Numbers(self._names)
        self._dated_ms = array("q")
        """By the number of a name, the greatest time that an amendment gave an event."""
        self._unread = array("I")
        """By number of the name, how many amendments are of events whose own code is not known."""
        self._sources: dict[tuple[int, str], set[str]] = {}
        """By number of the name and amended code, other codes that its events came with."""
        self._awaited = array("I")
        """By the number of a name, how many of its corrected events have not come."""
        self.awaited = 0
        """How many events have not come that are corrected."""
        self._by_event = Places()
        """Newest row of each event id; it leads to the next."""
        self._by_key = Places()
        self.events = 0
        """How many events are corrected."""

    def __len__(self) -> int:
        """Return how many there were; those without a key any more are void."""
        return len(self._rows) // _ROW.size

    def has_name(self, name: SubscriptionKey) -> bool:
        """Return whether any event of an external subscription is corrected."""
        return name in self._numbers

    def dated_until(self, name: SubscriptionKey) -> int:
        """Return the greatest time (ms) of an external subscription's events as amended.

        -NEVER_MS: no amendment names one.
        """
        number = self._numbers.get(name)
        return -NEVER_MS if number is None else self._dated_ms[number]

    def awaits(self, name: SubscriptionKey) -> bool:
        """Return whether a corrected event of an external subscription has not come."""
        number = self._numbers.get(name)
        return number is not None and self._awaited[number] > 0

    def has_event(self, identity: bytes) -> bool:
        """Return whether an event is corrected, or was."""
        return self._of_event(identity) >= 0

    def awaits_event(self, identity: bytes) -> bool:
        """Return whether an event is corrected that has not come."""
        row = self._of_event(identity)
        return row >= 0 and bool(self._flags(row) & _AWAITS)

    def note_event(self, identity: bytes, *, came: bool) -> None:
        """Note that a corrected event has come, or has not; of others nothing is noted."""
        row = self._of_event(identity)
        if row < 0 or bool(self._flags(row) & _AWAITS) != came:
            return
        self._rows[row * _ROW.size + _FLAGS_AT] ^= _AWAITS
        number = self._integer(row, _NUMBER_AT)
        change = -1 if came else 1
        self._awaited[number] += change
        self.awaited += change

    def put(
        self,
        key: bytes,
        position: Position,
        name: SubscriptionKey,
        identity: bytes,
        event: Event | None,
    ) -> int:
        """Keep a correction in place of an earlier one of its key, and say that cells show it."""
        known = self._of_key(key)
        if known >= 0:
            # Whoever has noted its row knows that one, never what takes its place.
            self.void(known)
            self._by_key.remove(hash(key), known)
        row, first = len(self), self._of_event(identity)
        following = _NONE if first < 0 else first
        number = self._numbers[name]
        if number == len(self._dated_ms):
            self._dated_ms.append(-NEVER_MS)
            self._awaited.append(0)
            self._unread.append(0)
        if event is not None and event.timestamp_ms is not None:
            self._dated_ms[number] = max(self._dated_ms[number], event.timestamp_ms)
        flags, place = self._put_event(row, event)
        if event is not None:
            flags |= _MOVES
            self._unread[number] += 1
        if first >= 0:
            # The newest row of an event says whether it has come; others are not asked.
            flags |= self._flags(first) & _AWAITS
        fields = (identity, key, place, number, following, flags | _APPLIED)
        self._rows += _ROW.pack(*position, *fields)
        if first >= 0:
            self._by_event.remove(hash(identity), first)
        else:
            self.events += 1
        self._by_event.add(hash(identity), row)
        self._by_key.add(hash(key), row)
        return row

    def _of_event(self, identity: bytes) -> int:
        """Return the newest row of an event id; -1: there is none."""
        return self._row_in(self._by_event.find(hash(identity)), _IDENTITY_AT, identity)

    def _of_key(self, key: bytes) -> int:
        """Return the newest row of a key; -1: there is none."""
        return self._row_in(self._by_key.find(hash(key)), _KEY_AT, key)

    def _row_in(self, rows: Iterable[int], at: int, wanted: bytes) -> int:
        for row in rows:
            if self._rows.startswith(wanted, row * _ROW.size + at):
                return row
        return -1

    def _put_event(self, row: int, event: Event | None) -> tuple[int, bytes]:
        """Return flags and bytes that say where the event of a row lies."""
        if event is None:
            return _CANCELS, b""
        place = self._spool.put(msgspec.msgpack.encode(event))
        if isinstance(place, int):
            return 0, place.to_bytes(_PLACE_BYTES, "big")
        self._in_memory[row] = place
        return _IN_MEMORY, b""

    def get(self, row: int) -> StoredCorrection:
        """Return a correction."""
        append_ms, partition, offset, index, identity, _, place, number, _, flags = (
            _ROW.unpack_from(self._rows, row * _ROW.size)
        )
        position = (append_ms, partition, offset, index)
        at: Place | None = None
        if flags & _IN_MEMORY:
            at = self._in_memory[row]
        elif not flags & _CANCELS:
            at = int.from_bytes(place, "big")
        told = (bool(flags & _APPLIED), bool(flags & _FOLLOWED))
        return StoredCorrection(
            row, position, self._names[number], identity, at, self._spool, *told
        )

    def find(self, key: bytes) -> StoredCorrection | None:
        """Return the correction of a key; None: there is none."""
        row = self._of_key(key)
        return None if row < 0 or self._flags(row) & _VOID else self.get(row)

    def of_event(self, identity: bytes) -> list[StoredCorrection]:
        """Return all corrections of an event id, in order of position."""
        row = self._of_event(identity)
        if row < 0:
            return []
        found: list[StoredCorrection] = []
        while row != _NONE:
            if not self._flags(row) & _VOID:
                found.append(self.get(row))
            row = self._integer(row, _NEXT_AT)
        if len(found) > 1:
            found.sort(key=lambda stored: stored.position)
        return found

    def all(self) -> Iterator[int]:
        """Yield the rows that are not void."""
        for row in range(len(self)):
            if not self._flags(row) & _VOID:
                yield row

    def void(self, row: int) -> None:
        """Forget a correction."""
        self._in_memory.pop(row, None)
        self._note_read(row)
        self._rows[row * _ROW.size + _FLAGS_AT] |= _VOID

    def has_unread(self, name: SubscriptionKey) -> bool:
        """Return whether amendments may have given an event of any code another one."""
        number = self._numbers.get(name)
        return number is not None and self._unread[number] > 0

    def note_code(self, row: int, came_with: str, amended: str) -> None:
        """Note with which code an event came that an amendment is of."""
        self._note_read(row)
        if came_with != amended:
            key = self._integer(row, _NUMBER_AT), amended
            self._sources.setdefault(key, set()).add(came_with)

    def _note_read(self, row: int) -> None:
        if self._flags(row) & _MOVES:
            self._rows[row * _ROW.size + _FLAGS_AT] ^= _MOVES
            self._unread[self._integer(row, _NUMBER_AT)] -= 1

    def sources(self, name: SubscriptionKey, code: str) -> Collection[str]:
        """Return the codes of events that were amended into one, as far as they are known."""
        number = self._numbers.get(name) if self._sources else None
        return () if number is None else self._sources.get((number, code), ())

    def append_time_ms(self, row: int) -> int:
        """Return when a correction was appended, ms."""
        at_ms: int = _APPEND_TIME.unpack_from(self._rows, row * _ROW.size)[0]
        return at_ms

    def position(self, row: int) -> Position:
        """Return the position of a correction."""
        position: Position = _POSITION.unpack_from(self._rows, row * _ROW.size)
        return position

    def is_followed(self, row: int) -> bool:
        """Return whether later cuts may still show a correction or leave it out."""
        return bool(self._flags(row) & _FOLLOWED)

    def mark(self, row: int, *, applied: bool, followed: bool) -> None:
        """Note whether cells show a correction, and whether it is followed."""
        flags = self._flags(row) & ~(_APPLIED | _FOLLOWED)
        self._rows[row * _ROW.size + _FLAGS_AT] = flags | _APPLIED * applied | _FOLLOWED * followed

    def identity(self, row: int) -> bytes:
        """Return the event id of a correction."""
        begin = row * _ROW.size + _IDENTITY_AT
        return bytes(self._rows[begin : begin + _HASH_BYTES])

    def _integer(self, row: int, at: int) -> int:
        found: int = _INTEGER.unpack_from(self._rows, row * _ROW.size + at)[0]
        return found

    def _flags(self, row: int) -> int:
        return self._rows[row * _ROW.size + _FLAGS_AT]


_decode_event = msgspec.msgpack.Decoder(Event).decode
