"""Groups of a charge: admitted are those whose first events have the smallest positions.

The limit holds for each charge and period, of a recurring metric for all its history
(records-and-cuts §7). The live fold admits what comes as long as there is room, which in order of
position is right already. A smaller position that comes later, of a group that found no room, has
the charge refolded (`tables.routing.group_admission`).
"""

from __future__ import annotations

from tables.aggregation import Groups
from tables.cells.keys import PackedPosition

ANY_NUMBER = 1 << 62
"""As a limit: what is folded has been admitted before, or has no groups."""


class GroupLimit:
    """The groups of one charge and period once their cells are as many as the limit."""

    __slots__ = ("_limit_position", "firsts")

    def __init__(self, firsts: dict[Groups, PackedPosition]):
        self.firsts = firsts
        """A position no smaller than that of the group's first event."""
        self._limit_position: PackedPosition | None = None

    def admits(self, groups: Groups, first: PackedPosition, most: int) -> bool:
        """Return whether a group is in, or still finds room; then it is in."""
        if groups in self.firsts:
            return True
        if len(self.firsts) >= most:
            return False
        self.firsts[groups] = first
        self._limit_position = None
        return True

    def displaces(self, first: PackedPosition) -> bool:
        """Return whether a group with this first position may belong in before one that is in."""
        if self._limit_position is None:
            self._limit_position = max(self.firsts.values())
        return first < self._limit_position
