"""Groups of a charge: admitted are those whose first events have the smallest positions.

The limit holds for each charge and period, of a recurring metric for all its history
(records-and-cuts §7). The live fold admits what comes as long as there is room, which in order of
position is right already. A smaller position that comes later, of a group that found no room, has
the charge refolded (`tables.census`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

from tables.aggregation import Groups, Position

if TYPE_CHECKING:
    from tables.cells import GroupCell, Layer

PackedPosition = bytes
"""16 bytes that order as positions do."""

UNKNOWN_POSITION: PackedPosition = b"\xff" * 16
"""Of a cell whose first event nobody noted: any other position is smaller."""


def pack_position(position: Position) -> PackedPosition:
    """append_time ms 6, raw partition 2, raw offset 6, array index 2."""
    append_time_ms, partition, offset, index = position
    number = ((append_time_ms << 16 | partition) << 48 | offset) << 16 | index
    return number.to_bytes(16, "big")


ANY_NUMBER = 1 << 62
"""As a limit: what is folded has been admitted before, or has no groups."""


class Admission:
    """The groups of one charge and period once their cells are as many as the limit."""

    __slots__ = ("_horizon", "firsts")

    def __init__(self, firsts: dict[Groups, PackedPosition]):
        self.firsts = firsts
        """A position no smaller than that of the group's first event."""
        self._horizon: PackedPosition | None = None

    def admits(self, groups: Groups, first: PackedPosition, most: int) -> bool:
        """Whether a group is in, or still finds room."""
        if groups in self.firsts:
            return True
        if len(self.firsts) >= most:
            return False
        self.firsts[groups] = first
        self._horizon = None
        return True

    def displaces(self, first: PackedPosition) -> bool:
        """Whether a group with this first position may belong in before one that is in."""
        if self._horizon is None:
            self._horizon = max(self.firsts.values())
        return first < self._horizon


def admission_of(layers: Iterable[Layer]) -> Admission:
    """The groups that have cells."""
    firsts: dict[Groups, PackedPosition] = {}
    for groups, cell in grouped_cells(layers):
        firsts[groups] = min(firsts.get(groups, UNKNOWN_POSITION), cell.first)
    return Admission(firsts)


def grouped_cells(layers: Iterable[Layer]) -> Iterator[tuple[Groups, GroupCell]]:
    """All cells of groups, with their groups."""
    for layer in layers:
        for (_, groups), cell in layer.cells.items():
            if groups:
                yield groups, cast("GroupCell", cell)
