"""Cooling: cells that no event has touched for a while are packed again, some at a time.

Which ones hangs on no clock: on the append times of their events, and on how far the log is folded.
Looked at is only who may have been idle for so long, and each that is not once for its touches.
"""

from __future__ import annotations

from app.bounds.turns import STEP_ITEMS, Steps
from app.wire.arrivals import SubscriptionKey
from tables.changelogged.presence import NOTED_TO_MS
from tables.partition.at_hand import NOT_KNOWN
from tables.partition.partition import Partition

IDLE_MS = 600_000
"""Cells are packed when no event has touched them for so long."""
GRAIN_MS = NOTED_TO_MS
"""Touches within it are not told apart."""
WARM_BYTES = 3_000
"""What the route and the cells of a meter key take at hand, measured with one cell."""


class Cooling:
    """Packs the external subscriptions of one partition that are idle."""

    def __init__(self, partition: Partition):
        self._partition = partition

    @property
    def has_work(self) -> bool:
        """Whether anything is at hand."""
        return bool(self._partition.at_hand)

    def cooling(self, most_bytes: int) -> Steps[None]:
        """Pack what is idle, by small steps.

        `most_bytes`: while more is at hand, what was touched longest ago counts as idle.
        """
        partition, at_hand = self._partition, self._partition.at_hand
        now = partition.checkpoint.append_time_ms // GRAIN_MS
        looked = 0
        for grain in at_hand.grains():
            if grain >= now:
                return
            while self._is_due(grain) or self._is_over(most_bytes):
                name = at_hand.take(grain)
                if name is None:
                    break
                partition.work.add("cool", "names", 1)
                touched = self._touched(name)
                try:
                    if touched <= grain or self._is_due(touched):
                        # What something keeps is looked at again as if it were touched now.
                        touched = now
                        yield from self._packing(name)
                finally:
                    if partition.routes.is_at_hand(name):
                        at_hand.note_touched(name, touched)
                looked += 1
                if looked % STEP_ITEMS == 0:
                    yield
            else:
                return

    def _packing(self, name: SubscriptionKey) -> Steps[None]:
        if not self._partition.stale.includes(name):
            yield from self._partition.packing.packing(name)
            yield

    def _is_due(self, grain: int) -> bool:
        """Return whether all that was touched in a grain is idle unless it was touched since."""
        idle_since_ms = self._partition.checkpoint.append_time_ms - IDLE_MS
        return grain == NOT_KNOWN or (grain + 1) * GRAIN_MS <= idle_since_ms

    def _is_over(self, most_bytes: int) -> bool:
        return len(self._partition.routes.by_key) * WARM_BYTES > most_bytes

    def _touched(self, name: SubscriptionKey) -> int:
        """Return the grain of the last event of an external subscription, as far as is known."""
        entries = self._partition.event_ranges.codes_of(name).values()
        return max((entry.appended_ms for entry in entries), default=NOT_KNOWN) // GRAIN_MS
