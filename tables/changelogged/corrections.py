"""Corrections: events cancelled or amended by transaction_id, at any age (records-and-cuts §9).

Several corrections of one event may be appended until a cut T: the one with the highest position
holds at T. A correction may come before its event. A correction sent again under its correction_id
changes nothing, whatever it says.

An event that was appended after its correction is folded corrected. Any other correction shows in
the cells only after a refold or a repair, and only while the next cut of its subscription is not
before it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

import msgspec

from app.bounds.turns import STEP_ITEMS, Steps, batches
from app.wire.arrivals import CorrectionArrival, Position, SubscriptionKey
from app.wire.events import Event
from tables.changelogged.checksum import Changelogged
from tables.changelogged.correction_rows import CorrectionRows, StoredCorrection
from tables.changelogged.followed import Followed
from tables.spool import Spool


class CorrectionTable(Changelogged):
    """Corrections of one partition."""

    def __init__(self, spool: Spool | None = None) -> None:
        super().__init__()
        self.spool = spool or Spool()
        """Store of the events that corrections carry."""
        self.outdated = False
        """Whether an older program wrote a loaded record, which calls for a rebuild from raw."""
        self.rows = CorrectionRows(self.spool)
        """The corrections themselves, and what is known of their events."""
        self.followed = Followed(self.rows)
        """Corrections of known events that later cuts may still show or leave out."""
        self._loads = False
        """Whether rows were loaded, of whose events it is not known yet."""

    def __len__(self) -> int:
        """Return how many events are corrected."""
        return self.rows.events

    def __bool__(self) -> bool:
        return len(self.rows) > 0

    def touches(self, name: SubscriptionKey) -> bool:
        """Return True if any event of an external subscription is corrected."""
        return self.rows.has_name(name)

    def awaits(self, name: SubscriptionKey) -> bool:
        """Return whether a new event of an external subscription may be corrected already.

        Of those that come most are not, also where some that came before were.
        """
        return self.rows.awaits(name) or (self._loads and self.touches(name))

    def awaits_any(self) -> bool:
        """Return whether any new event may be corrected already."""
        return self.rows.awaited > 0 or (self._loads and bool(self))

    def awaits_event(self, identity: bytes) -> bool:
        """Return whether a new event may be corrected already."""
        return self._loads or self.rows.awaits_event(identity)

    def note_code(self, history: Iterable[StoredCorrection], came_with: str) -> None:
        """Note with which code a corrected event came; a copy of it may have another."""
        for stored in history:
            event = stored.event
            if event is not None:
                self.rows.note_code(stored.row, came_with, event.code)

    def loaded(self, find_many: Callable[[list[bytes]], Sequence[object | None]]) -> Steps[None]:
        """Find out which events have not come, now that all corrections are loaded, by steps.

        `find_many`: what is known of each of some ids; None: it has not come.
        """
        rows = self.rows
        for part in batches(range(len(rows)), STEP_ITEMS):
            ids = [rows.identity(row) for row in part]
            for identity, known in zip(ids, find_many(ids), strict=True):
                rows.note_event(identity, came=known is not None)
            yield
        self._loads = False

    def accept(self, identity: bytes, arrival: CorrectionArrival) -> list[StoredCorrection]:
        """Take a correction in; return it and the one it replaces, or [] if it is known."""
        hashed = _hash_of(arrival)
        known = self.rows.find(hashed)
        if known is not None and known.position <= arrival.position:
            return []
        event, before = arrival.correction.event, None
        if known is not None:
            before = _packed(known.position, known.name, known.identity, known.event)
            self.followed.forget(known)
        value = _packed(arrival.position, arrival.name, identity, event)
        row = self.rows.put(hashed, arrival.position, arrival.name, identity, event)
        self._put(_KEY + hashed, before, value)
        self.rows.note_event(identity, came=False)
        stored = self.rows.get(row)
        return [stored] if known is None else [stored, known]

    def has_taken(self, arrival: CorrectionArrival) -> bool:
        """Return True if a passed correction is known, or another under its correction_id."""
        known = self.rows.find(_hash_of(arrival))
        if known is None:
            return False
        elsewhere = known.position[1:] != arrival.position[1:]
        return elsewhere or known.event == arrival.correction.event

    def history(self, identity: bytes) -> list[StoredCorrection]:
        """Return every correction of an event id, in order of position."""
        return self.rows.of_event(identity)

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take over one changelog record, in place of an earlier one of its key."""
        hashed, before = key[len(_KEY) :], None
        known = self.rows.find(hashed) if key[:1] == _KEY else None
        if known is not None:
            before = _packed(known.position, known.name, known.identity, known.event)
        if before is not None or value is not None:
            self.sum = self.sum.replaced(key, before, value)
        if value is None:
            if known is not None:
                self.rows.void(known.row)
        elif key[:1] != _KEY:
            self.outdated = True
        else:
            self._loads = True
            self.rows.put(hashed, *_decode_packed(value))


_KEY = b"c"
_decode_packed = msgspec.msgpack.Decoder(
    tuple[Position, SubscriptionKey, bytes, Event | None]
).decode


def _packed(
    position: Position, name: SubscriptionKey, identity: bytes, event: Event | None
) -> bytes:
    return msgspec.msgpack.encode((position, name, identity, event))


def _hash_of(arrival: CorrectionArrival) -> bytes:
    text = "\0".join((*arrival.name, arrival.correction.correction_id))
    return hashlib.blake2b(text.encode(), digest_size=12).digest()
