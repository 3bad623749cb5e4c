"""A sweep: what was known of properties, looked up by one position after another."""

from __future__ import annotations

from app.wire.arrivals import Position
from tables.changelogged.members import MemberKey, Members
from tables.changelogged.operations import OperationRows, adds, event_time_of, position_of
from tables.unique_count import was_active


class Sweep:
    """Whether properties were active before operations, asked in order of position.

    Operations that came since the last cut are sorted in as the sweep passes them. So none looks
    at those that came after it, however many are dated before it.
    """

    def __init__(self, members: Members):
        self.members = members
        self._passed: dict[MemberKey, tuple[bytes, OperationRows]] = {}
        """By property: the position that was passed last, and the rows before it."""

    def is_missing(self, name: MemberKey) -> bool:
        """Return True if the store must be asked for a member before it can be told."""
        return name not in self.members.operations and self.members.is_missing(name)

    def was_active(
        self, name: MemberKey, timestamp_ms: int, position: Position, known: Position
    ) -> bool:
        """Return whether a property was active before an operation, as known at a position."""
        kept = self.members.operations
        if name not in kept:
            return was_active(self.members.get(name), timestamp_ms, position, known)
        place = event_time_of(timestamp_ms, position)
        until = position_of(event_time_of(timestamp_ms, known))
        found = [
            kept.newest(name, place, until),
            kept.newest_of(self._rows_until(name, until), place, until),
        ]
        newest = max((row for row in found if row is not None), default=None)
        return newest is not None and adds(newest)

    def _rows_until(self, name: MemberKey, until: bytes) -> OperationRows:
        since, passed = self._passed.get(name, (b"", OperationRows()))
        if since < until:
            for row in self.members.operations.coming(name, since, until):
                passed.add(row)
            self._passed[name] = until, passed
        return passed
