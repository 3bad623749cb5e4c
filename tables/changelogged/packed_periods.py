"""Packed periods: what is published of each, kept packed until it is asked for.

Most periods have a few cells, and are told of for years. Those that may change soon are in memory,
together by subscription. The others lie on local disk, and so does what tells where: a subscription
takes the same memory after one year and after five.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from tables.changelogged.packed_rows import Packed, paired
from tables.spool import Place, Spool

PeriodKey = tuple[str, int]
"""(subscription id, period start ms)"""


class _Kept(msgspec.Struct, array_like=True, gc=False):
    """The periods of one subscription, by start; each in one piece."""

    recent: dict[int, bytes]
    newest_away_ms: int = -1
    """Start of the newest that was put away."""
    away: Place | None = None
    """Where the spool has the places of those that were put away. A recent one holds instead."""


class PackedPeriods:
    """Changelog records by period: (rest of the key, value) of each, one after the other."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._kept: dict[str, bytes] = {}
        self._open: dict[PeriodKey, list[bytes]] = {}
        """Put or loaded since they were packed the last time."""

    def add(self, name: PeriodKey, rest: bytes, value: bytes) -> None:
        """Keep one more record, while a changelog is loaded."""
        self._open.setdefault(name, []).extend((rest, value))

    def put(self, name: PeriodKey, rows: list[bytes]) -> None:
        """Keep the records of a period in place of those that were kept."""
        self._open[name] = rows

    def read(self, name: PeriodKey) -> Sequence[Packed]:
        """Return (rest of the key, value) of the records of a period; they stay."""
        rows = self._open.get(name)
        if rows is None:
            piece = self._piece_of(*name)
            rows = [] if piece is None else _decode_rows(piece)
        return paired(rows)

    def _piece_of(self, subscription_id: str, start_ms: int) -> bytes | None:
        kept = self._kept_of(subscription_id)
        piece = kept.recent.get(start_ms)
        # Whoever asks for a new period, as each cut does, reads no disk.
        if piece is None and start_ms <= kept.newest_away_ms:
            place = self._places(kept).get(start_ms)
            piece = None if place is None else self._spool.get(place)
        return piece

    def pack(self) -> set[str]:
        """Put together what was added since the last time; return of which subscriptions."""
        changed: dict[str, dict[int, bytes]] = {}
        for (subscription_id, start_ms), rows in self._open.items():
            changed.setdefault(subscription_id, {})[start_ms] = msgspec.msgpack.encode(rows)
        for subscription_id, pieces in changed.items():
            kept = self._kept_of(subscription_id)
            kept.recent.update(pieces)
            self._kept[subscription_id] = msgspec.msgpack.encode(kept)
        self._open.clear()
        return {*changed}

    def put_away(self, subscription_id: str, is_over: Callable[[Sequence[Packed]], bool]) -> int:
        """Put on local disk what is packed of periods that are over; return how many they are."""
        kept = self._kept_of(subscription_id)
        over = [start for start, piece in kept.recent.items() if is_over(_pairs_of(piece))]
        if over:
            places = self._places(kept)
            for start_ms in over:
                places[start_ms] = self._spool.put(kept.recent.pop(start_ms))
            kept.newest_away_ms = max(places)
            kept.away = self._spool.put(msgspec.msgpack.encode(places))
            self._kept[subscription_id] = msgspec.msgpack.encode(kept)
        return len(over)

    def _kept_of(self, subscription_id: str) -> _Kept:
        packed = self._kept.get(subscription_id)
        return _Kept({}) if packed is None else _decode_kept(packed)

    def _places(self, kept: _Kept) -> dict[int, Place]:
        return {} if kept.away is None else _decode_places(self._spool.get(kept.away))


def _pairs_of(piece: bytes) -> Sequence[Packed]:
    return paired(_decode_rows(piece))


_decode_rows = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_kept = msgspec.msgpack.Decoder(_Kept).decode
_decode_places = msgspec.msgpack.Decoder(dict[int, Place]).decode
