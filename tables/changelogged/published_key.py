"""The key of a record in the published changelog: its period, and what it is of that."""

from __future__ import annotations

from typing import Final

import msgspec

from app.definitions.periods import NEVER_MS
from tables.changelogged.packed_rows import integer_end, text_end
from tables.changelogged.piece_store import PeriodKey
from tables.changelogged.published_period import cut_of_row, has_rows


def begin_key(name: PeriodKey) -> bytes:
    """Return what the keys of a period begin with."""
    return _ARRAY_OF_TWO + _encode(name)


def period_end(key: bytes) -> int:
    """Return where the period ends in a key."""
    # (period, cell), the period an array of two itself
    return integer_end(key, text_end(key, 2))


def period_in(key: bytes, end: int) -> PeriodKey:
    """Return the period of a key; `end`: where it ends."""
    name: PeriodKey = _decode_period(key[1:end])
    return name


def cut_in(key: bytes, value: bytes) -> int:
    """Return the cut that a changelog record is of, in ms.

    NEVER_MS: it came at any time after its cut, to keep rows.
    """
    return NEVER_MS if has_rows(value) else cut_of_row(key[period_end(key) :], value)


_encode = msgspec.msgpack.encode
_decode_period = msgspec.msgpack.Decoder(PeriodKey).decode
_ARRAY_OF_TWO: Final = b"\x92"
