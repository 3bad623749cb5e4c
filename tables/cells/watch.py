"""Watch: cells whose figures are asked for at grid cuts as well, not only when their period is due.

Of a watched cell each event counts from its grid cut on: the first multiple of close_grid_s at or
after its append time (records-and-cuts §4).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from app.definitions.periods import NEVER_MS
from tables.cells.days import Days
from tables.cells.grids import Grids, decided_until, grid_cut, same_cut_until
from tables.changelogged.checkpoint import Checkpoint

Stretches = tuple[tuple[int, int], ...]
"""(append time after which somebody watches, the last at which they do), in order."""

ALWAYS: Stretches = ((-1, NEVER_MS),)


def stretches_of(asking: Iterable[tuple[int, int]], grids: Grids) -> Stretches:
    """Return when anybody watches, who each ask since one time and until another, or NEVER_MS.

    Who asks no more watches until the next grid cut: nothing is told there, or later.
    """
    found: list[tuple[int, int]] = []
    for since_ms, gone_ms in sorted(asking):
        until_ms = NEVER_MS if gone_ms == NEVER_MS else grid_cut(gone_ms, grids)
        if found and since_ms <= found[-1][1]:
            since_ms, before_ms = found.pop()
            until_ms = max(until_ms, before_ms)
        found.append((since_ms, until_ms))
    return tuple(found)


class Watch(NamedTuple):
    """When the cells of a span are watched, and at which cuts."""

    stretches: Stretches
    """Events that are appended at other times count at once."""
    grids: Grids
    checkpoint: Checkpoint
    """Tells which cuts are taken."""
    days: Days | None = None
    """Days at whose cuts alone they are asked for; None: at every grid cut."""
    is_retaken: bool = False
    """Whether a state that is folded anew takes its cuts again: figures may have been lost."""

    def cut_of(self, append_time_ms: int) -> int:
        """Return the grid cut of an event, 0 when nobody watched."""
        _, until_ms = self._around(append_time_ms)
        return 0 if append_time_ms > until_ms else grid_cut(append_time_ms, self.grids)

    def _around(self, append_time_ms: int) -> tuple[int, int]:
        """Return the last stretch that begins before a time; (-1, -1): none does."""
        for stretch in reversed(self.stretches):
            if stretch[0] < append_time_ms:
                return stretch
        return -1, -1

    def day_cut_of(self, timestamp_ms: int, append_time_ms: int) -> int:
        """Return the cut of the day that shows an event first; 0 when that is taken."""
        if self.days is None:
            raise LookupError("no days are watched")
        cut_ms = self.days.cut_of(timestamp_ms, append_time_ms)
        return 0 if self.is_taken(cut_ms) else cut_ms

    def cut_until(self, due_at_ms: int, append_time_ms: int) -> int:
        """Return the cut of an event of a period that is due then; 0 when it counts at once."""
        cut_ms = min(self.cut_of(append_time_ms), due_at_ms)
        return 0 if self.is_taken(cut_ms) else cut_ms

    def same_until(self, append_time_ms: int) -> int:
        """Return the last append time of events that have the same grid cut as one of a time."""
        _, until_ms = self._around(append_time_ms)
        if append_time_ms > until_ms:
            begin_ms = (since_ms for since_ms, _ in self.stretches if append_time_ms <= since_ms)
            return next(begin_ms, NEVER_MS)
        return min(same_cut_until(append_time_ms, self.grids), until_ms)

    def reached(self, appended_ms: int) -> tuple[object, ...] | None:
        """Return all that decides the cuts of events appended until then; None: they have none."""
        if self.days is not None:
            # An event that is dated ahead waits for a day to come.
            return self.grids
        grids = tuple(grid for grid in self.grids if grid[0] <= appended_ms)
        # What is told by now counts at once, whoever asked for it.
        told_ms = decided_until(self.checkpoint.grid_done_ms, grids)
        begun = [
            (max(since_ms, told_ms), min(until_ms, appended_ms))
            for since_ms, until_ms in self.stretches
            if since_ms < appended_ms and until_ms > told_ms
        ]
        return (begun, grids) if begun else None

    def is_taken(self, cut_ms: int) -> bool:
        """Return whether no cut can come any more that is not later."""
        checkpoint = self.checkpoint
        return cut_ms <= (checkpoint.cut_ms if self.is_retaken else checkpoint.grid_done_ms)
