"""Placing: which partitions a worker is given, and where each of them goes on.

The group gives them, the owner of the state says from where on, and the transport checks both.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final, Protocol

from faust.types import TP

from app.kafka.record_batch import OffsetsLost

LOG_START: Final = -1
"""Next offset of a partition without stored state: read it from the log's first record."""


class DeliveryBroken(Exception):
    """A promise of the transport does not hold; going on would fold too much or too little."""


class PartitionOwner(Protocol):
    """Keeps the state of the partitions. The two calls never overlap."""

    async def assign(self, partitions: frozenset[int]) -> None:
        """Begin to take over `partitions`, all that this worker has now; drop the state of others.

        They are held: the owner calls `deliver_from` for each once it has it, with the next offset
        to fold (or LOG_START) of the raw and the rekeyed topic. So none waits for another.

        May be called again for the same partitions, and be cancelled by a rebalance; `release`
        follows then. An exception crashes the app.
        """
        ...

    async def release(self, partitions: frozenset[int]) -> None:
        """Make what is folded durable and acknowledge it: the partitions may go elsewhere.

        No batch is delivered meanwhile. Called before a rebalance and before a stop, but not
        after a crash, and also for partitions whose `assign` was cancelled and for those that are
        coming. An exception crashes the app.
        """
        ...

    def loads(self) -> Mapping[int, int]:
        """Return the events a minute of partitions, as far as known. Asked in another thread."""


def require_all(tps: Collection[TP], stored: Collection[TP]) -> None:
    """Raise DeliveryBroken unless offsets are known of just these partitions of topics."""
    if set(stored) != set(tps):
        raise DeliveryBroken(f"Offsets are of {sorted(stored)}, wanted are {sorted(tps)}")


def common_partitions(assigned: set[TP], topics: frozenset[str]) -> frozenset[int]:
    """Return the assigned partitions, which must be the same for each topic."""
    by_topic = {topic: {tp.partition for tp in assigned if tp.topic == topic} for topic in topics}
    partitions = frozenset(tp.partition for tp in assigned)
    if any(found != partitions for found in by_topic.values()):
        raise DeliveryBroken(f"The topics are not assigned alike: {by_topic}")
    return partitions


def checked(tp: TP, stored: int, start: int, end: int) -> int:
    """Return the offset to go on at; raise OffsetsLost if the log does not have it."""
    if stored == LOG_START:
        return start
    if stored < start:
        raise OffsetsLost(
            f"{tp.topic} partition {tp.partition} begins at offset {start}, but the records from "
            f"{stored} on are not folded yet: retention overtook the reader."
        )
    if stored > end:
        raise OffsetsLost(
            f"{tp.topic} partition {tp.partition} ends at offset {end}, but is folded up to "
            f"{stored}: records were lost, or the topic was created anew."
        )
    return stored
