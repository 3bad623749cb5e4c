"""Late cuts: where events of a recurring metric count that come after their period is due.

Every period since shows them (records-and-cuts §4). They count at the first cut of any that is not
yet due, or is revised; or with what comes until one is open no more, which shows nothing later.
Events of one layer share that cut until it is taken.
"""

from __future__ import annotations

from typing import NamedTuple

from app.definitions.periods import NEVER_MS, ceil_to
from app.definitions.timeline import Timeline


class LateCut(NamedTuple):
    """A cut, and when the events of a layer were appended that count from it on."""

    since_ms: int
    until_ms: int
    cut_ms: int

    @classmethod
    def of(
        cls, timeline: Timeline, at_ms: int, start_ms: int, before_ms: int, cut_ms: int
    ) -> LateCut:
        """Return the cut of events appended at a time.

        Periods show them that start since `start_ms` and before `before_ms`. `cut_ms`: the next
        revision of their own, which is their cut at the latest.
        """
        until_ms = NEVER_MS
        for period in timeline.showing(at_ms, start_ms, cut_ms):
            if period.start_ms >= before_ms:
                break
            if period.start_ms > at_ms:
                # It shows what is appended once it has begun.
                until_ms = period.start_ms - 1
                break
            if at_ms <= period.due_at_ms:
                cut_ms = min(cut_ms, period.due_at_ms)
            elif at_ms <= period.carries_until_ms:
                cut_ms = min(cut_ms, period.carries_until_ms)
                cut_ms = min(cut_ms, ceil_to(at_ms, period.revise_every_ms))
        return cls(at_ms, min(until_ms, cut_ms), cut_ms)


NO_LATE_CUT = LateCut(0, -1, 0)
"""Nobody asked."""


def revised_after_correction(timeline: Timeline, at_ms: int, cut_ms: int) -> int:
    """Return the next revision of any period that was due by a time; a cut if none is earlier."""
    if timeline.revised_ms(at_ms) < cut_ms:
        for period in timeline.until(at_ms):
            if period.due_at_ms < at_ms:
                cut_ms = min(cut_ms, ceil_to(at_ms, period.revise_every_ms))
    return cut_ms
