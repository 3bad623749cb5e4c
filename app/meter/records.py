"""Published records as an answer lists them: which are asked for, and where each lies."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from app.billing_periods.timezones import local_midnight_ms

Bound = int | date
"""An instant in ms, or a local date, which stands for its first instant in a period's timezone."""


@dataclass(frozen=True, kw_only=True)
class RecordQuery:
    """Which records are listed; None: whatever they say."""

    external_customer_id: str | None = None
    external_subscription_id: str | None = None
    metric_code: str | None = None
    type: str | None = None
    since: Bound | None = None
    """Only of periods that end after it."""
    until: Bound | None = None
    """Only of periods that begin before it."""
    revisions: bool = False
    """True: everything on the topic; False: the newest of each cell."""

    def wants_period(self, from_ms: int, to_ms: int, timezone: str) -> bool:
        """Return True for a period that meets the range; `to_ms` is its last instant."""
        if self.since is not None and to_ms < _at_ms(self.since, timezone):
            return False
        return self.until is None or from_ms < _at_ms(self.until, timezone)


def _at_ms(bound: Bound, timezone: str) -> int:
    return bound if isinstance(bound, int) else local_midnight_ms(bound, timezone)


class RecordPlace(NamedTuple):
    """A record of a listing, in its order: subscription, newest period, cell, revision."""

    external_subscription_id: str
    before_ms: int
    """Start of its period, negative: newer ones come first."""
    cell_id: str
    revision: int
    partition: int
    """Number of the partition of usage-records."""
    id: str
    cut_ms: int
    offset: int = -1
    """Where the log has it; -1: to be found by its cut."""
