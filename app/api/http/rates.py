"""How much a key may ask for in a second: a token bucket that two seconds fill."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from app.api.http.errors import too_many_requests
from app.bounds.limits import RATE_BURST_S


class RateLeft:
    """What of a rate is left now."""

    def __init__(self, rate_per_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate_per_s = rate_per_s
        self._clock = clock
        # A rate under one in two seconds must let one pass all the same.
        self._most = max(1.0, rate_per_s * RATE_BURST_S)
        self._left = self._most
        self._at_s = clock()

    def take(self, count: int) -> None:
        """Take so many, or 429. What is larger than the bucket needs a full one, and leaves a debt.

        So a batch passes at any rate, and those after it wait as long as it takes.
        """
        now_s = self._clock()
        self._left = min(self._most, self._left + (now_s - self._at_s) * self.rate_per_s)
        self._at_s = now_s
        missing = min(count, self._most) - self._left
        if missing > 0:
            raise too_many_requests(math.ceil(missing / self.rate_per_s))
        self._left -= count
