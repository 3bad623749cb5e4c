"""The only module that reads the wall clock."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Where the program learns what time it is."""

    def now_ms(self) -> int:
        """Return milliseconds since the epoch, UTC."""
        ...

    def monotonic_s(self) -> float:
        """Return seconds from an arbitrary start, never going back: for intervals only."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()


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

    def jump(self, to_ms: int) -> None:
        """Set the wall clock, forwards or backwards, as an operator or NTP would."""
        self._now_ms = to_ms
