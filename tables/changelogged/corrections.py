"""Corrections: events cancelled or amended by transaction_id, at any age (records-and-cuts §9).

Several corrections of one event may be appended until a cut T: the one with the highest position
holds at T. A correction may come before its event. A correction sent again under its correction_id
changes nothing, whatever it says.

An event that was appended after its correction is folded corrected. Any other correction shows in
the cells only after a refold, and only while the next cut of its subscription is not before it. The
table follows which corrections are *in force* in the cells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from app.wire.arrivals import CorrectionArrival, Position, SubscriptionKey
from app.wire.events import Event
from tables.changelogged.checksum import ChangelogSum
from tables.spool import Place, Spool


@dataclass(slots=True, eq=False)
class StoredCorrection:
    """One correction of one event."""

    position: Position
    name: SubscriptionKey
    identity: bytes
    """The event id."""
    place: Place | None
    """Place of the amended event in the spool; None: the correction cancels the event."""
    spool: Spool
    applied: bool = True
    """Whether the cells show it; False only for events that were appended before it."""

    @property
    def event(self) -> Event | None:
        """Amended event, read from the spool each time; None: the event is cancelled."""
        return None if self.place is None else _decode_event(self.spool.get(self.place))

    @property
    def append_time_ms(self) -> int:
        """Append time in ms; the first cut at or after it shows the correction."""
        return self.position[0]


class CorrectionTable:
    """Corrections of one partition."""

    def __init__(self, spool: Spool | None = None) -> None:
        self.spool = spool or Spool()
        """Store of the events that corrections carry; hardly one of a thousand is read again."""
        self.sum = ChangelogSum()
        """Sum of the changelog records that were loaded or taken."""
        self.outdated = False
        """Whether an older program wrote a loaded record, which calls for a rebuild from raw."""
        self._stored: dict[bytes, list[StoredCorrection]] = {}
        """Corrections by event id, in order of position."""
        self._seen: dict[bytes, StoredCorrection] = {}
        """First correction sent under each correction_id, by the hash of that id."""
        self._names: dict[SubscriptionKey, SubscriptionKey] = {}
        """Corrected external subscriptions; all corrections of one share the same object."""
        self._followed: dict[SubscriptionKey, list[StoredCorrection]] = {}
        """Corrections of known events that later cuts may still show or leave out, by name."""
        self._unclear: set[SubscriptionKey] = set()
        """Names of which cells may show what no correction says any more, until a refold."""
        self._dirty: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        return len(self._stored)

    def __bool__(self) -> bool:
        return bool(self._seen)

    def touches(self, name: SubscriptionKey) -> bool:
        """Return True if any event of an external subscription is corrected."""
        return name in self._names

    def accept(self, identity: bytes, arrival: CorrectionArrival) -> list[StoredCorrection]:
        """Take a correction in; return it and the one it replaces, or [] if it is known."""
        key = _seen_key(arrival)
        known = self._seen.get(key)
        if known is not None and known.position <= arrival.position:
            return []
        stored = self._made(arrival.position, arrival.name, identity, arrival.correction.event)
        if known is not None:
            self._stored[known.identity].remove(known)
            self._unclear.add(arrival.name)
        self._store(key, stored)
        value = _packed(stored)
        self.sum = self.sum.replaced(key, None if known is None else _packed(known), value)
        self._dirty[key] = value
        return [stored] if known is None else [stored, known]

    def _made(
        self, position: Position, name: SubscriptionKey, identity: bytes, event: Event | None
    ) -> StoredCorrection:
        place = None if event is None else self.spool.put(msgspec.msgpack.encode(event))
        name = self._names.setdefault(name, name)
        return StoredCorrection(position, name, identity, place, self.spool)

    def _store(self, key: bytes, stored: StoredCorrection) -> None:
        self._seen[key] = stored
        history = self._stored.setdefault(stored.identity, [])
        history.append(stored)
        history.sort(key=lambda one: one.position)

    def has_taken(self, arrival: CorrectionArrival) -> bool:
        """Return True if a passed correction is known, or another under its correction_id."""
        known = self._seen.get(_seen_key(arrival))
        if known is None:
            return False
        elsewhere = known.position[1:] != arrival.position[1:]
        return elsewhere or known.event == arrival.correction.event

    def history(self, identity: bytes) -> list[StoredCorrection]:
        """Return every correction of an event id, in order of position."""
        return self._stored.get(identity, [])

    def all(self) -> Iterable[StoredCorrection]:
        """Return every correction."""
        return self._seen.values()

    def follow(self, stored: StoredCorrection) -> None:
        """Follow a correction that was appended after its known event: no cell shows it yet.

        If it is followed already, cells may show it for another copy of the event.
        """
        stored.applied = False
        followed = self._followed.setdefault(stored.name, [])
        if stored not in followed:
            followed.append(stored)

    def followed_of(self, name: SubscriptionKey) -> list[StoredCorrection]:
        """Return those of an external subscription that later cuts may still show or leave out."""
        return list(self._followed.get(name, ()))

    def is_clear(self, name: SubscriptionKey) -> bool:
        """Return whether its cells show each event as the corrections in force have it."""
        return name not in self._unclear

    def mark_unclear(self, name: SubscriptionKey) -> None:
        """Note that cells may show another copy of an event than the one that counts."""
        self._unclear.add(name)

    def turning(
        self, name: SubscriptionKey, horizon_ms: int
    ) -> dict[bytes, list[StoredCorrection]]:
        """Return those to be put in force, or out of it, for all until a time to be; by event."""
        found: dict[bytes, list[StoredCorrection]] = {}
        for stored in self._followed.get(name, ()):
            if stored.applied != (stored.append_time_ms <= horizon_ms):
                found.setdefault(stored.identity, []).append(stored)
        return found

    def followed(self) -> list[StoredCorrection]:
        """Return the corrections that later cuts may still show or leave out."""
        return [stored for followed in self._followed.values() for stored in followed]

    def applied_upto(self, name: SubscriptionKey, horizon_ms: int) -> list[StoredCorrection]:
        """Return the corrections that a refold puts in force: those appended up to a time."""
        followed = self._followed.get(name, ())
        return [stored for stored in followed if stored.append_time_ms <= horizon_ms]

    def enforce(
        self, name: SubscriptionKey, standing: Iterable[StoredCorrection], settled_ms: int
    ) -> None:
        """Note that the cells show exactly these; no cut up to `settled_ms` can come any more."""
        now = set(map(id, standing))
        self._unclear.discard(name)
        left = []
        for stored in self._followed.pop(name, ()):
            stored.applied = id(stored) in now
            if not stored.applied or stored.append_time_ms > settled_ms:
                left.append(stored)
        if left:
            self._followed[name] = left

    def let_stand(self, name: SubscriptionKey) -> None:
        """Stop following a subscription: its cells cannot be computed anew any more."""
        self._followed.pop(name, None)
        self._unclear.discard(name)

    def wrong_since(self, name: SubscriptionKey, next_cut_ms: int) -> int | None:
        """Return the first cut time in ms at which the cells would be wrong; None: none."""
        wrong = [
            min(stored.append_time_ms, next_cut_ms)
            for stored in self._followed.get(name, ())
            if stored.applied != (stored.append_time_ms <= next_cut_ms)
        ]
        return min(wrong, default=None)

    @property
    def pending(self) -> int:
        """How many have changed since the last flush."""
        return len(self._dirty)

    def take_changes(self) -> list[tuple[bytes, bytes]]:
        """Return changelog records of what changed since the last call."""
        changes = list(self._dirty.items())
        self._dirty.clear()
        return changes

    def load(self, key: bytes, value: bytes | None) -> None:
        """Take over one changelog record, in place of an earlier one of its key."""
        known = self._seen.pop(key, None)
        if known is not None:
            self._stored[known.identity].remove(known)
        before = None if known is None else _packed(known)
        if value is None:
            if before is not None:
                self.sum = self.sum.replaced(key, before, None)
            return
        self.sum = self.sum.replaced(key, before, value)
        if key[:1] != _KEY:
            self.outdated = True
            return
        self._store(key, self._made(*msgspec.msgpack.decode(value, type=_Packed)))


_KEY = b"c"
_Packed = tuple[Position, SubscriptionKey, bytes, Event | None]
_decode_event = msgspec.msgpack.Decoder(Event).decode


def _packed(stored: StoredCorrection) -> bytes:
    return msgspec.msgpack.encode((stored.position, stored.name, stored.identity, stored.event))


def _seen_key(arrival: CorrectionArrival) -> bytes:
    text = "\0".join((*arrival.name, arrival.correction.correction_id))
    return _KEY + hashlib.blake2b(text.encode(), digest_size=12).digest()
