"""Loads: how many events come to each partition, as a mean over minutes.

By it the group shares the partitions. A mean, so that a burst moves none of them.
"""

from __future__ import annotations

from math import exp
from typing import Final, NamedTuple

MEAN_S: Final = 300.0
"""What is so old counts a third of what is new."""
KNOWN_AFTER_S: Final = 60.0
"""Before, a partition catches up, or nothing has come yet."""
_EVERY_S: Final = 5.0


class _Seen(NamedTuple):
    since_s: float
    at_s: float
    folded_events: int
    per_s: float
    """As if there had been nothing before `since_s`."""


class Loads:
    """Loads of the partitions that this worker has, or had."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def note(self, number: int, folded_events: int, now_s: float) -> None:
        """Take over how many events of a partition are folded since it was taken over."""
        seen = self._seen.get(number)
        if seen is not None and now_s - seen.at_s < _EVERY_S:
            return
        passed_s = now_s - seen.at_s if seen is not None else 0.0
        if seen is None or folded_events < seen.folded_events or passed_s > MEAN_S:
            # It has just come, or it was elsewhere.
            self._seen[number] = _Seen(now_s, now_s, folded_events, 0.0)
            return
        lately_per_s = (folded_events - seen.folded_events) / passed_s
        per_s = lately_per_s + (seen.per_s - lately_per_s) * exp(-passed_s / MEAN_S)
        self._seen[number] = _Seen(seen.since_s, now_s, folded_events, per_s)

    def per_minute(self) -> dict[int, int]:
        """Return the events a minute of each partition that is known; safe in any thread."""
        return {
            number: round(60 * seen.per_s / (1 - exp((seen.since_s - seen.at_s) / MEAN_S)))
            for number, seen in list(self._seen.items())
            if seen.at_s - seen.since_s >= KNOWN_AFTER_S
        }
