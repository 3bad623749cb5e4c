"""How long the oldest of what waits has done so, as a gauge tells it."""

from __future__ import annotations

from collections.abc import Hashable

from prometheus_client import Gauge

from app.clock import Clock


class Ages:
    """Since when each thing waits. The oldest is looked for when the gauge is read."""

    def __init__(self, gauge: Gauge, clock: Clock):
        self._clock = clock
        self._since_ms: dict[Hashable, int] = {}
        gauge.set_function(self._oldest_s)

    def begin(self, thing: Hashable, since_ms: int | None = None) -> None:
        """Have a thing wait, from now on if it is not said since when; one that waits goes on."""
        self._since_ms.setdefault(thing, self._clock.now_ms() if since_ms is None else since_ms)

    def end(self, thing: Hashable) -> None:
        """Have a thing wait no longer, if it does."""
        self._since_ms.pop(thing, None)

    def clear(self) -> None:
        """Have nothing wait."""
        self._since_ms.clear()

    def _oldest_s(self) -> float:
        now_ms = self._clock.now_ms()
        return max(0, now_ms - min(self._since_ms.values(), default=now_ms)) / 1_000
