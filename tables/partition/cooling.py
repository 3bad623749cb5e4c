"""Cooling: cells that no event has touched for a while are packed again, some at a time.

Which ones hangs on no clock: on the append times of their events, and on how far the log is folded.
"""

from __future__ import annotations

from app.bounds.turns import Steps
from app.wire.arrivals import SubscriptionKey
from tables.partition.partition import Partition

IDLE_MS = 600_000
"""Cells are packed when no event has touched them for so long."""
PORTIONS = 12
"""Portions of a round, in which each external subscription at hand is looked at once."""
WARM_BYTES = 3_000
"""What the route and the cells of a meter key take at hand, measured with one cell."""


class Cooling:
    """Goes round the external subscriptions of one partition that are at hand."""

    def __init__(self, partition: Partition):
        self._partition = partition
        self._round: list[tuple[str, ...]] = []
        """Names and meter keys that are left to be looked at; a name may come several times."""
        self._portion = 0
        self._idle_ms = IDLE_MS

    @property
    def has_work(self) -> bool:
        """Whether anything is at hand."""
        routes = self._partition.routes
        return bool(self._round or routes.by_key or any(routes.timelines.names()))

    def cooling(self, most_bytes: int) -> Steps[None]:
        """Pack what is idle of the next portion of a round, by small steps.

        `most_bytes`: while more is at hand, each round takes half the time for idle.
        """
        if not self._round:
            self._begin(most_bytes)
        for _ in range(self._portion):
            if not self._round:
                return
            organization_id, external_id, *_ = self._round.pop()
            name = (organization_id, external_id)
            if self._is_idle(name):
                self._partition.work.add("cool", "names", 1)
                yield from self._partition.packing.packing(name)
            yield

    def _begin(self, most_bytes: int) -> None:
        routes = self._partition.routes
        over = len(routes.by_key) * WARM_BYTES > most_bytes
        self._idle_ms = max(1, self._idle_ms // 2) if over else IDLE_MS
        self._round = [*routes.by_key, *routes.timelines.names()]
        self._portion = -(-len(self._round) // PORTIONS)

    def _is_idle(self, name: SubscriptionKey) -> bool:
        partition = self._partition
        if partition.stale.includes(name):
            return False
        entries = partition.event_ranges.codes_of(name).values()
        touched_ms = max((entry.appended_ms for entry in entries), default=-1)
        return touched_ms + self._idle_ms <= partition.checkpoint.append_time_ms
