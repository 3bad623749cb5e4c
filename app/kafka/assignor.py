"""Share the partitions among the workers: by load, with few moves, and alike for all topics.

Faust's own assignor gives each worker up to ceil(partitions / workers): with 4 partitions a third
worker gets none. aiokafka's assignors treat topics differently, or move more than they must. And
neither knows that one partition may have more events than all others.

A worker offers two ways to share, and the brokers take the first that all workers of the group
offer: so one of an earlier version, which knows only `EvenAssignor`, may be among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Final

import msgspec
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import (
    ConsumerProtocolMemberAssignment,
    ConsumerProtocolMemberMetadata,
)

from app.settings import Settings

VERSION: Final = 0
_UNEVEN: Final = (6, 5)
"""Partitions move between workers once one has 6/5 of the mean, or the mean is 6/5 of one's."""
_RESTING: Final = 20
"""A partition at rest has cells and may wake: it weighs a twentieth of the mean one."""


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


def share_by_load(
    partitions: Iterable[int], held: Mapping[str, Iterable[int]], loads: Mapping[int, int]
) -> dict[str, list[int]]:
    """Return the partitions of each member; `loads` has the events a minute of some of them.

    One of which nothing is known counts as the mean; if nothing is known of any, it is `share`.
    """
    free = set(partitions)
    known = {number: loads[number] for number in free & loads.keys()}
    if not any(known.values()):
        return share(free, held)
    mean = sum(known.values()) // len(known) + 1
    weights = {number: known.get(number, mean) * _RESTING + mean for number in free}
    had = {member: free.intersection(numbers) for member, numbers in held.items()}
    shares: dict[str, set[int]] = {}
    for member in sorted(had, key=lambda member: (-len(had[member]), member)):
        shares[member] = had[member] & free
        free -= shares[member]
    busy = {member: sum(map(weights.__getitem__, kept)) for member, kept in shares.items()}
    for number in sorted(free, key=lambda number: (-weights[number], number)):
        idlest = min(busy, key=lambda member: (busy[member], len(shares[member]), member))
        shares[idlest].add(number)
        busy[idlest] += weights[number]
    _even_out(shares, busy, weights)
    return {member: sorted(shares[member]) for member in held}


def _even_out(
    shares: Mapping[str, set[int]], busy: dict[str, int], weights: Mapping[int, int]
) -> None:
    """Move partitions from the busiest to the idlest member until no one is far from the mean.

    A member that can give nothing, as its one partition is hot, is left out: the rest is shared
    evenly. Each move makes the sum of squares less. Still they are counted: the group waits.
    """
    times, of = _UNEVEN
    members = set(busy)
    for _ in range(len(weights) + len(busy)):
        busiest = max(members, key=lambda member: (busy[member], member))
        idlest = min(members, key=lambda member: (busy[member], len(shares[member]), member))
        total, count = sum(busy[member] for member in members), len(members)
        if busy[busiest] * of * count <= total * times and total * of <= (
            busy[idlest] * times * count
        ):
            return
        gap = busy[busiest] - busy[idlest]
        movable = [number for number in shares[busiest] if weights[number] < gap]
        if not movable:
            members.remove(busiest)
            if not members:
                return
            continue
        moved = min(movable, key=lambda number: (abs(gap - 2 * weights[number]), number))
        shares[busiest].remove(moved)
        shares[idlest].add(moved)
        busy[busiest] -= weights[moved]
        busy[idlest] += weights[moved]


@dataclass
class GroupStanding:
    """What a worker knows when its group shares the partitions anew."""

    partitions: int
    """Number of partitions of each topic."""
    measured: Callable[[], Mapping[int, int]]
    """Events a minute of partitions that it has had for a while."""
    held: list[int] = field(default_factory=list)
    loads: Mapping[int, int] = field(default_factory=dict)
    """What all workers told when partitions were shared last."""
    telling: Mapping[int, int] | None = None
    """Loads that it tells until it has its share; None: it has, and measures anew.

    Who joins again meanwhile with another word has the group begin again, and with it the others,
    who have measured something else by then: no end of it was seen.
    """


class EvenAssignor(AbstractPartitionAssignor):  # type: ignore[misc]  # aiokafka has no types
    """Shares by number, as all workers did that know nothing of loads."""

    name = "meterstream-even"

    def __init__(self, standing: GroupStanding) -> None:
        self._standing = standing

    def metadata(self, topics: Iterable[str]) -> ConsumerProtocolMemberMetadata:
        """Return what this worker tells the one that shares the partitions out."""
        return ConsumerProtocolMemberMetadata(VERSION, sorted(topics), self._told())

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        """Share the partitions that all topics have."""
        topics = sorted({topic for member in members.values() for topic in member.subscription})
        # A member that joins while the broker is away may share before it has heard of the topics:
        # nobody would have anything, until it hears of them five minutes later.
        known = [cluster.partitions_for_topic(topic) for topic in topics]
        common = [set(numbers or range(self._standing.partitions)) for numbers in known]
        partitions: set[int] = reduce(set.intersection, common) if common else set()
        told = {name: member.user_data for name, member in members.items()}
        shares, word = self._share(partitions, told)
        return {
            name: ConsumerProtocolMemberAssignment(
                VERSION, [(topic, numbers) for topic in topics if numbers], word
            )
            for name, numbers in shares.items()
        }

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember what this worker got."""
        self._standing.held = sorted({tp.partition for tp in assignment.partitions()})
        self._standing.telling = None

    def _told(self) -> bytes:
        return msgspec.msgpack.encode(self._standing.held)

    def _share(
        self, partitions: set[int], told: Mapping[str, bytes]
    ) -> tuple[dict[str, list[int]], bytes]:
        """Return the partitions of each, and a word to all of them."""
        held = {name: msgspec.msgpack.decode(said, type=list[int]) for name, said in told.items()}
        return share(partitions, held), b""


class _Report(msgspec.Struct):
    """What a worker tells; later versions may add to it."""

    held: list[int]
    loads: dict[int, int]


class LoadAssignor(EvenAssignor):
    """Shares by load. What was told of loads goes back to all: a partition takes it along."""

    name = "meterstream-load"

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        """Remember what this worker got, and what is known of loads."""
        super().on_assignment(assignment)
        self._standing.loads = msgspec.msgpack.decode(assignment.user_data, type=dict[int, int])

    def _told(self) -> bytes:
        standing = self._standing
        if standing.telling is None:
            measured = standing.measured()
            ours = {number: measured[number] for number in measured.keys() & set(standing.held)}
            standing.telling = {**standing.loads, **ours}
        return msgspec.msgpack.encode(_Report(standing.held, dict(standing.telling)))

    def _share(
        self, partitions: set[int], told: Mapping[str, bytes]
    ) -> tuple[dict[str, list[int]], bytes]:
        said = [(name, msgspec.msgpack.decode(told[name], type=_Report)) for name in sorted(told)]
        loads: dict[int, int] = {}
        for _, one in said:
            loads |= one.loads
        for _, one in said:
            # Who has a partition knows it best.
            loads |= {number: one.loads[number] for number in one.held if number in one.loads}
        shares = share_by_load(partitions, {name: one.held for name, one in said}, loads)
        return shares, msgspec.msgpack.encode(loads)


def assignors(settings: Settings, measured: Callable[[], Mapping[int, int]]) -> list[EvenAssignor]:
    """Return the ways to share that a worker offers, the best first."""
    standing = GroupStanding(settings.raw_partitions, measured)
    return [LoadAssignor(standing), EvenAssignor(standing)]
