"""Share the partitions among the workers: evenly, with few moves, and alike for all topics.

Faust's own assignor gives each worker up to ceil(partitions / workers): with 4 partitions a third
worker gets none. aiokafka's assignors treat topics differently, or move more than they must.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Final

import msgspec
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

VERSION: Final = 0


def share(partitions: Iterable[int], held: Mapping[str, Iterable[int]]) -> dict[str, list[int]]:
    """Return the partitions of each member; `held` has those that each member has now.

    No two members differ by more than one partition, and as few as possible move. Of two members
    that hold the same partition, the one with more keeps it.
    """
    free = set(partitions)
    had = {member: free.intersection(numbers) for member, numbers in held.items()}
    members = sorted(had, key=lambda member: (-len(had[member]), member))
    least, more = divmod(len(free), len(members))
    room = {member: least + (i < more) for i, member in enumerate(members)}
    shares: dict[str, list[int]] = {}
    for member in members:
        shares[member] = sorted(had[member] & free)[: room[member]]
        free.difference_update(shares[member])
    rest = sorted(free)
    for member in members:
        missing = room[member] - len(shares[member])
        shares[member] = sorted(shares[member] + rest[:missing])
        del rest[:missing]
    return shares


class EvenAssignor(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
    """Group protocol of the workers; one instance a consumer."""

    name = "meterstream-even"

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        """Number of partitions of each topic."""
        self._held: list[int] = []

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return the partitions of this worker, for the member that shares them out."""
        held = msgspec.msgpack.encode(self._held)
        return ConsumerProtocolMemberMetadata(VERSION, sorted(topics), held)

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Share the partitions that all topics have."""
        topics = sorted({topic for member in members.values() for topic in member.subscription})
        # A member that joins while the broker is away may share before it has heard of the topics:
        # nobody would have anything, until it hears of them five minutes later.
        known = [cluster.partitions_for_topic(topic) for topic in topics]
        common = [set(numbers or range(self._partitions)) for numbers in known]
        partitions: set[int] = reduce(set.intersection, common) if common else set()
        held = {
            name: msgspec.msgpack.decode(member.user_data, type=list[int])
            for name, member in members.items()
        }
        return {
            name: ConsumerProtocolMemberAssignment(
                VERSION, [(topic, numbers) for topic in topics if numbers], b""
            )
            for name, numbers in share(partitions, held).items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember what this worker got."""
        self._held = sorted({tp.partition for tp in assignment.partitions()})
