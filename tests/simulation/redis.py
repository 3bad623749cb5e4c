"""Redis, simulated: what the members store's two scripts do, without Redis.

`MemberStore` keeps its own logic: which flush it expects, repeating, filling anew.
"""

from __future__ import annotations

import asyncio
import copy
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from app.redis.errors import MembersLost, StaleEpoch
from app.redis.members import MembersState, MemberStore, SomeMembers
from tables.changelogged.members import MemberKey, SetKey
from tests.simulation.process import PROCESS


@dataclass
class Keys:
    """Keys of one partition."""

    epoch: int = 0
    flush: int | None = None
    members: int = 0
    counts: dict[SetKey, int] = field(default_factory=dict)
    sets: dict[SetKey, dict[str, bytes]] = field(default_factory=dict)


class Redis:
    """All keys."""

    def __init__(self) -> None:
        self.partitions: dict[int, Keys] = {}
        self._snapshot: dict[int, Keys] = {}

    def of(self, number: int) -> Keys:
        """Keys of a partition."""
        return self.partitions.setdefault(number, Keys())

    def save(self) -> None:
        """Write a snapshot."""
        self._snapshot = copy.deepcopy(self.partitions)

    def roll_back(self) -> None:
        """Start again from the last snapshot."""
        self.partitions = copy.deepcopy(self._snapshot)

    def lose(self) -> None:
        """FLUSHALL."""
        self.partitions = {}

    def evict(self, which: int) -> None:
        """Memory is short: one set goes."""
        sets = [
            (keys, key) for _, keys in sorted(self.partitions.items()) for key in sorted(keys.sets)
        ]
        if sets:
            keys, key = sets[which % len(sets)]
            del keys.sets[key]

    def alter(self, which: int) -> None:
        """A bit of a member changes; nothing says so."""
        members = [
            (found, text)
            for _, keys in sorted(self.partitions.items())
            for _, found in sorted(keys.sets.items())
            for text in sorted(found)
        ]
        if members:
            found, text = members[which % len(members)]
            value = bytearray(found[text])
            value[which % len(value)] ^= 1
            found[text] = bytes(value)


class Members(MemberStore):
    """The real store on the simulated Redis."""

    def __init__(self, redis: Redis):
        self._server = redis
        self._expected: dict[int, set[int | None]] = {}
        self._filling: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.available = True

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect."""

    async def _load(
        self, number: int, texts: dict[SetKey, list[str]]
    ) -> dict[MemberKey, bytes | None]:
        await PROCESS.get().passes()
        keys = self._server.of(number)
        if keys.flush not in self._expected.get(number, {None}):
            raise MembersLost(f"members of partition {number} stand at flush {keys.flush}")
        if keys.members and not keys.counts:
            raise MembersLost(f"it is not known what sets partition {number} has")
        found: dict[MemberKey, bytes | None] = {}
        for key, wanted in texts.items():
            members = keys.sets.get(key, {})
            if keys.counts.get(key, 0) != len(members):
                raise MembersLost(f"a set of partition {number} has {len(members)} members")
            found.update(((key, text), members.get(text)) for text in wanted)
        return found

    async def _scan(self, number: int, cursors: Sequence[tuple[SetKey, int]]) -> SomeMembers:
        keys = self._server.of(number)
        await self._load(number, {key: [] for key, _ in cursors})
        found: SomeMembers = {}
        for key, cursor in cursors:
            members = sorted(keys.sets.get(key, {}).items())
            after = cursor + 2 if cursor + 2 < len(members) else 0
            found[key] = after, dict(members[cursor : cursor + 2])
        return found

    async def _write_all(
        self,
        number: int,
        epoch: int,
        flush: int,
        members: Iterable[tuple[MemberKey, bytes | None]],
    ) -> None:
        process = PROCESS.get()
        await process.passes()
        keys = self._server.of(number)
        if keys.epoch > epoch:
            raise StaleEpoch(f"partition {number} has a newer owner")
        if keys.flush not in self._expected[number]:
            raise MembersLost(f"members of partition {number} stand at another flush")
        if keys.members > 0 and not keys.counts:
            raise MembersLost(f"it is not known what sets partition {number} has")
        keys.epoch = epoch
        for (key, text), packed in members:
            _put(keys, key, text, packed)
        keys.flush = flush
        await process.passes()

    async def _state(self, number: int) -> MembersState:
        await PROCESS.get().passes()
        keys = self._server.of(number)
        return MembersState(
            None if keys.flush is None or keys.flush < 0 else keys.flush, keys.epoch
        )

    async def _is_whole_at(self, number: int, flush: int) -> bool:
        await PROCESS.get().passes()
        keys = self._server.of(number)
        lengths = {key: len(keys.sets.get(key, ())) for key in keys.counts}
        intact = lengths == keys.counts and sum(lengths.values()) == keys.members
        return intact and keys.flush == flush

    async def _clear(self, number: int, epoch: int, mark: int) -> None:
        await PROCESS.get().passes()
        keys = self._server.of(number)
        if keys.epoch > epoch:
            raise StaleEpoch(f"partition {number} has a newer owner")
        self._server.partitions[number] = Keys(epoch=epoch, flush=mark)


def _put(keys: Keys, key: SetKey, text: str, packed: bytes | None) -> None:
    members = keys.sets.setdefault(key, {})
    before = len(members)
    if packed:
        members[text] = packed
    else:
        members.pop(text, None)
    change = len(members) - before
    keys.members += change
    counted = keys.counts.get(key, 0) + change
    if counted:
        keys.counts[key] = counted
    else:
        keys.counts.pop(key, None)
    if not members:
        del keys.sets[key]
