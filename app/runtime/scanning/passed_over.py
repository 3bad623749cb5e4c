"""What a scan passes over in one log, because the ledger had it."""

from __future__ import annotations

from bisect import bisect_right, insort
from typing import NamedTuple

from app.wire.arrivals import Arrival


class Stretch(NamedTuple):
    """Offsets from `first` up to and without `until`."""

    first: int
    until: int
    append_time_ms: int
    """The append time that the raw log had reached at the end."""
    marks: dict[int, tuple[int, int]]
    """By raw partition, offset and array index of the newest forward that was read of it."""


class PassedOver:
    """Stretches of one log, none of which overlap."""

    def __init__(self, first: int):
        self._first = first
        """Nothing before it is wanted."""
        self._stretches: list[Stretch] = []

    def add(self, first: int, until: int, append_time_ms: int) -> None:
        """Note that all between these offsets that is wanted was read."""
        if max(first, self._first) < until:
            insort(self._stretches, Stretch(max(first, self._first), until, append_time_ms, {}))

    def holding(self, offset: int) -> Stretch | None:
        """Return the stretch with an offset."""
        at = bisect_right(self._stretches, offset, key=_first) - 1
        if at >= 0 and offset < self._stretches[at].until:
            return self._stretches[at]
        return None

    def lies_beyond(self, offset: int) -> bool:
        """Return whether a stretch begins at an offset or behind it."""
        return bool(self._stretches) and self._stretches[-1].first >= offset

    def next_stop(self, offset: int, end: int) -> int:
        """Return up to where the log is to be read from an offset on."""
        at = bisect_right(self._stretches, offset, key=_first)
        begins = self._stretches[at].first if at < len(self._stretches) else end
        return max(offset, min(end, begins))

    def left(self, offset: int, end: int) -> int:
        """Return how many offsets are left to be read from one on, up to `end`."""
        passed = (
            max(0, min(end, stretch.until) - max(offset, stretch.first))
            for stretch in self._stretches
        )
        return max(0, end - offset) - sum(passed)


def note_forward(stretch: Stretch, arrival: Arrival) -> None:
    """Note a forward that was read of a stretch."""
    place = (arrival.raw_offset, arrival.array_index)
    known = stretch.marks.get(arrival.raw_partition, (-1, -1))
    stretch.marks[arrival.raw_partition] = max(known, place)


def _first(stretch: Stretch) -> int:
    return stretch.first
