"""When each external subscription of a partition has its next cut, earliest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heapify, heappop, heappush

from app.definitions.timeline import NEVER_MS
from app.wire.arrivals import SubscriptionKey
from tables.closing.close import next_cut
from tables.partition.partition import Partition


class Schedule:
    """A heap of cuts; entries that no longer hold are passed over when they come up."""

    def __init__(self, partition: Partition, names: Iterable[SubscriptionKey]):
        self._partition = partition
        self._cuts: dict[SubscriptionKey, int] = {}
        self._heap: list[tuple[int, SubscriptionKey]] = []
        for name in names:
            cut_ms = next_cut(partition, name)
            if cut_ms < NEVER_MS:
                self._cuts[name] = cut_ms
                self._heap.append((cut_ms, name))
        heapify(self._heap)

    def update(self, name: SubscriptionKey) -> int:
        """Look the subscription's next cut up again: definitions or late events may move it.

        Return it; NEVER_MS: there is none.
        """
        cut_ms = next_cut(self._partition, name)
        if cut_ms >= NEVER_MS:
            self._cuts.pop(name, None)
        elif self._cuts.get(name) != cut_ms:
            name = self._partition.event_ranges.same(name)
            self._cuts[name] = cut_ms
            heappush(self._heap, (cut_ms, name))
        return cut_ms

    def __contains__(self, name: SubscriptionKey) -> bool:
        """Return whether an external subscription has a cut to come."""
        return name in self._cuts

    def drop(self, name: SubscriptionKey) -> None:
        """Forget when its next cut is; the others' go on."""
        self._cuts.pop(name, None)

    def next_ms(self) -> int:
        """Return the earliest cut to come, or history record to put in force; NEVER_MS: neither.

        A history record waits for the logs as a cut does. Nobody need be due at the cut that shows
        it, or at one that a definition waits for.
        """
        standing = self._partition.standing
        others_ms = min(
            standing.next_history_ms(),
            standing.next_awaited_ms(),
            self._partition.cuts.next_of_history(),
            self._partition.changed.next_ms(),
        )
        while self._heap:
            cut_ms, name = self._heap[0]
            if self._cuts.get(name) == cut_ms:
                return min(cut_ms, others_ms)
            heappop(self._heap)
        return others_ms

    def due(self, cut_ms: int) -> Iterator[SubscriptionKey]:
        """Yield subscriptions whose next cut it is, in order; unschedule each as it is yielded."""
        while self._heap and self._heap[0][0] <= cut_ms:
            at_ms, name = heappop(self._heap)
            if self._cuts.get(name) == at_ms:
                del self._cuts[name]
                yield name
