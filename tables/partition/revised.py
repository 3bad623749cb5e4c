"""Revised: events as they were before and after corrections, until the cuts that show it are taken.

Their bytes lie in a spool; memory holds what says which cuts and periods they concern.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final, NamedTuple

import msgspec
from msgspec.structs import replace

from app.wire.arrivals import Arrival, SubscriptionKey
from app.wire.events import Event
from tables.spool import Place, Spool

Revised = tuple[SubscriptionKey, str, int]
"""External subscription, metric code and the last cut that may be the first to show it, ms."""


class Counted(NamedTuple):
    """An event as corrections have it."""

    arrival: Arrival
    since_ms: int
    """Append time of the correction that made it so; -1: none did."""
    place_only: bool = False
    """Whether it counted nowhere, and only its group had a place by it."""


class Kept(NamedTuple):
    """An event as corrections have it, until the cuts that it revises are taken."""

    since_ms: int
    timestamp_ms: int
    place_only: bool
    spool: Spool
    place: Place

    def arrival(self) -> Arrival:
        """Return the event, without its bytes."""
        return _decode_arrival(self.spool.get(self.place))


class Versions:
    """Events before and after corrections, in the order in which they were added."""

    __slots__ = ("_in_memory", "_rows", "_spool")

    def __init__(self, spool: Spool):
        self._spool = spool
        self._rows = bytearray()
        self._in_memory: list[bytes] = []
        """What the spool left in memory: places below 0 count them."""

    def add(self, counted: Counted) -> None:
        """Keep an event with all that decides in which cells it counts."""
        arrival, since_ms, place_only = counted
        event = replace(arrival.event, body=b"")
        place = self._spool.put(msgspec.msgpack.encode(replace(arrival, event=event)))
        if isinstance(place, bytes):
            self._in_memory.append(place)
            place = -len(self._in_memory)
        told = place.to_bytes(_PLACE_BYTES, "big", signed=True)
        self._rows += _ROW.pack(since_ms, arrival.timestamp_ms, place_only, told)

    def __iter__(self) -> Iterator[Kept]:
        for since_ms, timestamp_ms, place_only, told in _ROW.iter_unpack(bytes(self._rows)):
            at = int.from_bytes(told, "big", signed=True)
            place = at if at >= 0 else self._in_memory[-at - 1]
            yield Kept(since_ms, timestamp_ms, place_only, self._spool, place)


def turned(
    arrival: Arrival, before: Event | None, after: Event | None, at_ms: int
) -> Iterator[Counted]:
    """Yield an event before and after a correction that was appended at a time; None: cancelled.

    While it is cancelled, the group that it came with keeps its place.
    """
    for version in (before, after):
        if version is not None:
            yield Counted(replace(arrival, event=version), at_ms)
    if (before is None) != (after is None) and before is not arrival.event:
        yield Counted(arrival, at_ms, place_only=True)


_PLACE_BYTES: Final = 12
_ROW: Final = Struct("<qq?12s")
"""Append time of the correction, time of the event, whether it has a place only, where it lies."""
_decode_arrival = msgspec.msgpack.Decoder(Arrival).decode
