"""Packed periods: what is published of each, kept packed until it is asked for.

Most periods have a few cells, and stay for years. In a row of its own each would cost twice what it
holds. So the periods of a subscription stand together by the year.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tables.changelogged.packed_rows import Packed, paired

PeriodKey = tuple[str, int]
"""(subscription id, period start ms)"""

SMALL_BYTES = 2_048
"""A period of more bytes has a row of its own: the others are copied together."""
_YEAR_BITS = 35
"""Lower bits of a time in ms that tell moments of one year apart, of about 13 months."""


class PackedPeriods:
    """Changelog records by period: (rest of the key, value) of each, one after the other."""

    def __init__(self) -> None:
        self._years: dict[bytes, bytes] = {}
        """By subscription and year, the small periods by their start."""
        self._large: dict[PeriodKey, bytes] = {}
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
            piece = self._large.get(name) or self._year_of(name).get(name[1])
            rows = [] if piece is None else _decode_rows(piece)
        return paired(rows)

    def pack(self) -> None:
        """Put together what was added since the last time."""
        years: dict[bytes, dict[int, bytes]] = {}
        for name, rows in self._open.items():
            key = _year_key(name)
            year = years.get(key)
            if year is None:
                year = years[key] = self._year_of(name)
            piece = msgspec.msgpack.encode(rows)
            if len(piece) > SMALL_BYTES:
                self._large[name] = piece
                year.pop(name[1], None)
            else:
                year[name[1]] = piece
                self._large.pop(name, None)
        for key, year in years.items():
            if year:
                self._years[key] = msgspec.msgpack.encode(year)
            else:
                self._years.pop(key, None)
        self._open.clear()

    def _year_of(self, name: PeriodKey) -> dict[int, bytes]:
        packed = self._years.get(_year_key(name))
        return {} if packed is None else _decode_year(packed)


def _year_key(name: PeriodKey) -> bytes:
    return msgspec.msgpack.encode((name[0], name[1] >> _YEAR_BITS))


_decode_rows = msgspec.msgpack.Decoder(list[bytes]).decode
_decode_year = msgspec.msgpack.Decoder(dict[int, bytes]).decode
