"""Exposition: the metrics of a registry as Prometheus text, by steps and once a second for all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample

from app.bounds.turns import STEP_ITEMS, Steps, batches

EVERY_S: Final = 1.0
"""Seconds for which a text is shown to all who ask."""
_HEAD_LINES: Final = 2


def exposed(registry: CollectorRegistry) -> Steps[bytes]:
    """Return the text that `generate_latest` does, some samples at a step.

    Metrics of one name that follow each other are one family.
    """
    parts, name = list[bytes](), ""
    for metric in registry.collect():
        for samples in batches(metric.samples, STEP_ITEMS) if metric.samples else ((),):
            part = generate_latest(_Some(metric, samples))
            parts.append(part.split(b"\n", _HEAD_LINES)[-1] if metric.name == name else part)
            name = metric.name
            yield
    return b"".join(parts)


class _Some(Collector):
    """Some samples of a metric."""

    def __init__(self, metric: Metric, samples: Iterable[Sample]):
        self._metric = Metric(metric.name, metric.documentation, metric.type)
        self._metric.samples.extend(samples)

    def collect(self) -> Iterable[Metric]:
        """Return the metric with these samples."""
        return (self._metric,)


class Exposition:
    """Shares a text with all who ask within a second: whoever asks needs no key."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._made: bytes | None = None
        """The text of a moment ago; None: it is time for another."""

    async def text(self, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """Return the text of a moment ago, or make one; one is made at a time."""
        async with self._turn:
            made = self._made
            if made is None:
                made = self._made = await make()
                asyncio.get_running_loop().call_later(EVERY_S, self._forget)
            return made

    def _forget(self) -> None:
        self._made = None
