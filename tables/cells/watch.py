"""Watch: cells whose figures are asked for at grid cuts as well, not only when their period is due.

Of a watched cell each event counts from its grid cut on: the first multiple of close_grid_s at or
after its append time (records-and-cuts §4).
"""

from __future__ import annotations

from typing import NamedTuple

from tables.cells.days import Days
from tables.cells.grids import Grids, grid_cut
from tables.changelogged.checkpoint import Checkpoint


class Watch(NamedTuple):
    """Since when the cells of a span are watched, and at which cuts."""

    since_ms: int
    """Events appended until then count at once."""
    grids: Grids
    checkpoint: Checkpoint
    """Tells which cuts are taken."""
    days: Days | None = None
    """Days at whose cuts alone they are asked for; None: at every grid cut."""
    is_retaken: bool = False
    """Whether a state that is folded anew takes its cuts again: figures may have been lost."""

    def cut_of(self, append_time_ms: int) -> int:
        """Return the grid cut of an event, 0 when nobody watched yet."""
        return 0 if append_time_ms <= self.since_ms else grid_cut(append_time_ms, self.grids)

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
        if append_time_ms <= self.since_ms:
            return self.since_ms
        cut_ms = self.cut_of(append_time_ms)
        begins = (from_ms - 1 for from_ms, _ in self.grids if append_time_ms < from_ms <= cut_ms)
        return min(begins, default=cut_ms)

    def reached(self, appended_ms: int) -> tuple[object, ...] | None:
        """Return all that decides the cuts of events appended until then; None: they have none."""
        if self.days is not None:
            # An event that is dated ahead waits for a day to come.
            return self.grids
        if appended_ms <= self.since_ms:
            return None
        return self.since_ms, tuple(grid for grid in self.grids if grid[0] <= appended_ms)

    def is_taken(self, cut_ms: int) -> bool:
        """Return whether no cut can come any more that is not later."""
        checkpoint = self.checkpoint
        return cut_ms <= (checkpoint.cut_ms if self.is_retaken else checkpoint.grid_done_ms)
