"""Care: which records an owner tries before it folds them, as nobody handed its partition over."""

from __future__ import annotations

from collections.abc import Callable

from app.bounds.limits import CAREFUL_RECORDS
from app.kafka.names import TP


class Care:
    """What may have ended the owner before lies before the ends of the logs that are seen now."""

    def __init__(self, attempt: int, seen_ends: Callable[[TP], tuple[int, int] | None]):
        """Take the attempt that the checkpoint counts, and `Delivery.fetched_ends`."""
        self.attempt = attempt
        """At the take-over: how many, this one included, since a flush moved an offset."""
        self._left = CAREFUL_RECORDS if attempt > 0 else 0
        self._seen_ends = seen_ends
        self._until: dict[TP, int] = {}
        """Where a log ended when it was first asked for after the take-over."""

    def wants(self, tp: TP, first: int) -> bool:
        """Return whether records of a log are to be tried, from this offset on."""
        if self._left <= 0:
            return False
        until = self._until.get(tp)
        if until is None:
            ends = self._seen_ends(tp)
            if ends is None:
                return True
            until = self._until[tp] = max(ends)
        return first < until

    def note_tried(self, records: int) -> None:
        """Note that so many records were tried."""
        self._left -= records

    def end(self) -> None:
        """Try nothing more: nothing was folded before."""
        self._left = 0
