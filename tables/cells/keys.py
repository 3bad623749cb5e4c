"""Keys and packed positions of cells."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from app.definitions.periods import NEVER_MS
from app.wire.arrivals import Position
from tables.aggregation import Groups

PackedPosition = bytes
"""16 bytes that order as positions do."""

UNKNOWN_POSITION: PackedPosition = b"\xff" * 16
"""First position of a cell while it is not known; every other position is smaller."""


def pack_position(position: Position) -> PackedPosition:
    """Pack append time in ms (6 bytes), raw partition (2), raw offset (6), array index (2)."""
    append_time_ms, partition, offset, index = position
    number = ((append_time_ms << 16 | partition) << 48 | offset) << 16 | index
    return number.to_bytes(16, "big")


def append_time_of(position: PackedPosition) -> int:
    """Return the append time (ms) of a packed position."""
    return int.from_bytes(position[:6], "big")


OPEN_CUT_MS = NEVER_MS
"""Cut that includes everything folded so far, published or not."""


class SpanKey(NamedTuple):
    """Names a span for ever: its subscription, its charge, the start of its first period."""

    subscription_id: str
    charge_id: str
    start_ms: int


SpanSetKey = tuple[str | None, Groups, int | None]
"""Name of a set of members within its span: (filter_id, groups, period start ms or None)."""


class CellKey(NamedTuple):
    """Names a cell in the changelog."""

    subscription_id: str
    charge_id: str
    span_start_ms: int
    layer_ms: int
    """Start of the period; BEFORE for history older than the span."""
    filter_id: str | None
    groups: Groups


ONLY_CELL: tuple[str | None, Groups] = (None, ())
"""Name of a cell without a filter or a group; one object, for there are very many."""


class PackedCell(msgspec.Struct, array_like=True):
    """The value of a cell as `Cell.packed` wrote it."""

    fold_version: int
    cuts: list[tuple[int, list[object]]]
    generation: int
    first: PackedPosition = UNKNOWN_POSITION
    """Position of the group's first event; UNKNOWN_POSITION for a cell without a group."""
