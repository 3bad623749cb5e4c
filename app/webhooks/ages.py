"""How long the oldest of what waits has done so, as a gauge tells it."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily

from app.clock import Clock


class Ages:
    """Since when each thing waits. The oldest is looked for when the gauge is read."""

    def __init__(self, name: str, text: str, registry: CollectorRegistry, clock: Clock):
        self._about = name, text
        self._clock = clock
        self._since_ms: dict[Hashable, int] = {}
        self._unseen = set[Hashable]()
        registry.register(self)

    def begin(self, thing: Hashable, since_ms: int | None = None) -> None:
        """Have a thing wait, from now on if it is not said since when; one that waits goes on."""
        self._since_ms.setdefault(thing, self._clock.now_ms() if since_ms is None else since_ms)

    def lose(self, thing: Hashable) -> None:
        """Have the gauge say nothing until a thing ends: how old it is nobody sees."""
        self._unseen.add(thing)

    def end(self, thing: Hashable) -> None:
        """Have a thing wait no longer, if it does."""
        self._since_ms.pop(thing, None)
        self._unseen.discard(thing)

    def clear(self) -> None:
        """Have nothing wait."""
        self._since_ms.clear()

    def collect(self) -> Iterator[Metric]:
        """Yield the gauge, without a sample where something is not seen."""
        gauge = GaugeMetricFamily(*self._about)
        if not self._unseen:
            now_ms = self._clock.now_ms()
            oldest_ms = min(self._since_ms.values(), default=now_ms)
            gauge.add_metric([], max(0, now_ms - oldest_ms) / 1_000)
        yield gauge
