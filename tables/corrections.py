"""Corrections: events cancelled or amended by transaction_id, at any age (records-and-cuts §9).

Of the corrections of one event the one with the highest position holds; it may come before its
event. A correction sent again under its correction_id changes nothing, whatever it says.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple

import msgspec

from app.wire.events import Correction, Event
from tables.aggregation import Position


class CorrectionArrival(NamedTuple):
    """A correction with where it came from."""

    correction: Correction
    organization_id: str
    append_time_ms: int
    raw_partition: int
    raw_offset: int
    array_index: int

    @property
    def position(self) -> Position:
        """What orders corrections."""
        return self[2:6]

    @property
    def name(self) -> tuple[str, str]:
        """(organization_id, external_subscription_id)"""
        return self.organization_id, self.correction.external_subscription_id


class Held(NamedTuple):
    """The correction that holds for one event; `event` None cancels it."""

    position: Position
    name: tuple[str, str]
    event: Event | None


class CorrectionTable:
    """Corrections of one partition."""

    def __init__(self) -> None:
        self._held: dict[bytes, Held] = {}
        """By event id."""
        self._seen: dict[bytes, Position] = {}
        """By hashed correction_id: its first position."""
        self._codes: dict[tuple[str, str], set[str]] = {}
        """Codes that amended events of an external subscription have."""
        self._names: set[tuple[str, str]] = set()
        self._dirty: dict[bytes, bytes] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def touches(self, name: tuple[str, str]) -> bool:
        """Whether any event of an external subscription is corrected."""
        return name in self._names

    def codes_of(self, name: tuple[str, str]) -> frozenset[str]:
        """Codes that amends gave to events of an external subscription."""
        return frozenset(self._codes.get(name, ()))

    def take(self, identity: bytes, arrival: CorrectionArrival) -> bool:
        """Take a correction in; whether it changes what holds for its event."""
        seen = _seen_key(arrival)
        first = self._seen.get(seen)
        if first is not None and first <= arrival.position:
            return False
        self._seen[seen] = arrival.position
        self._dirty[b"s" + seen] = msgspec.msgpack.encode(arrival.position)
        held = self._held.get(identity)
        if held is not None and held.position > arrival.position:
            return False
        self._hold(identity, Held(arrival.position, arrival.name, arrival.correction.event))
        self._dirty[b"h" + identity] = _ENCODER.encode(self._held[identity])
        return True

    def _hold(self, identity: bytes, held: Held) -> None:
        self._held[identity] = held
        self._names.add(held.name)
        if held.event is not None:
            self._codes.setdefault(held.name, set()).add(held.event.code)

    def find(self, identity: bytes) -> Held | None:
        """The correction that holds for an event id."""
        return self._held.get(identity)

    def all(self) -> list[Held]:
        """Every correction that holds."""
        return list(self._held.values())

    def take_changes(self) -> list[tuple[bytes, bytes]]:
        """Changelog records of what changed since the last call."""
        changes = list(self._dirty.items())
        self._dirty.clear()
        return changes

    def load(self, key: bytes, value: bytes) -> None:
        """Take over one changelog record."""
        if key[:1] == b"s":
            self._seen[key[1:]] = msgspec.msgpack.decode(value, type=Position)
        else:
            self._hold(key[1:], _DECODER.decode(value))


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Held)


def _seen_key(arrival: CorrectionArrival) -> bytes:
    text = "\0".join((*arrival.name, arrival.correction.correction_id))
    return hashlib.blake2b(text.encode(), digest_size=12).digest()
