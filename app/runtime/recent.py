"""Subscriptions that are active lately, as the fold tells: what the page shows first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from app.wire.arrivals import MeterKey, Run, SubscriptionKey

_REMEMBERED: Final = 200
"""Meter keys that a worker remembers as folded lately."""


class Recent:
    """A ring of the meter keys that came last."""

    def __init__(self) -> None:
        self._ring: dict[MeterKey, int] = {}
        """Meter key to the partition, the latest last."""

    def note(self, partition: int, runs: Sequence[Run]) -> None:
        """Take over the last of what was folded."""
        ring = self._ring
        for meter_key, _ in runs[-_REMEMBERED:]:
            ring.pop(meter_key, None)
            ring[meter_key] = partition
        while len(ring) > _REMEMBERED:
            del ring[next(iter(ring))]

    def names(self) -> dict[SubscriptionKey, int]:
        """Return the subscriptions with their partitions, the latest first."""
        found: dict[SubscriptionKey, int] = {}
        for meter_key, partition in reversed(self._ring.items()):
            found.setdefault(meter_key[:2], partition)
        return found
