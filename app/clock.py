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
