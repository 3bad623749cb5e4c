"""Subscriptions that are active lately, as flushes tell: what the page shows first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from app.wire.arrivals import MeterKey, SubscriptionKey

_REMEMBERED: Final = 200
"""Meter keys that a worker remembers as changed lately."""


class Recent:
    """A ring of the meter keys that flushes changed last."""

    def __init__(self) -> None:
        self._ring: dict[bytes, int] = {}
        """Packed meter key to the partition, the latest last."""

    def note(self, partition: int, changed: Sequence[tuple[bytes, bytes]]) -> None:
        """Take over what a flush writes of event ranges."""
        ring = self._ring
        for key, _ in changed[-_REMEMBERED:]:
            ring.pop(key, None)
            ring[key] = partition
        while len(ring) > _REMEMBERED:
            del ring[next(iter(ring))]

    def names(self) -> dict[SubscriptionKey, int]:
        """Return the subscriptions with their partitions, the latest first."""
        found: dict[SubscriptionKey, int] = {}
        for key, partition in reversed(self._ring.items()):
            organization_id, subscription, _ = msgspec.msgpack.decode(key, type=MeterKey)
            found.setdefault((organization_id, subscription), partition)
        return found
