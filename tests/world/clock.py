"""Times of the tests, and a clock that moves only when told to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from app.clock import SystemClock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS


def ms(text: str) -> int:
    """Return the milliseconds of a date or an instant of ISO 8601, UTC unless it has a zone."""
    at = datetime.fromisoformat(text)
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // timedelta(milliseconds=1)


START_MS = ms("2024-01-01T00:00:00Z")
"""A Monday, so that weekly calendar periods start with it."""


@dataclass
class AheadClock(SystemClock):
    """The machine's clock, ahead by so much; it can be set further."""

    ahead_ms: int = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.ahead_ms


class ManualClock:
    """A clock that moves only when told to, for tests in which years pass."""

    def __init__(self, now_ms: int = 0) -> None:
        self._now_ms = now_ms
        self._elapsed_ms = 0

    def now_ms(self) -> int:
        return self._now_ms

    def monotonic_s(self) -> float:
        return self._elapsed_ms / 1000

    def advance(self, by_ms: int) -> None:
        """Let `by_ms` milliseconds pass."""
        if by_ms < 0:
            raise ValueError("time does not pass backwards; jump() sets the wall clock back")
        self._now_ms += by_ms
        self._elapsed_ms += by_ms

    def advance_to(self, at_ms: int) -> None:
        """Let time pass until then."""
        self.advance(at_ms - self._now_ms)

    def jump(self, to_ms: int) -> None:
        """Set the wall clock, forwards or backwards, as an operator or NTP would."""
        self._now_ms = to_ms
