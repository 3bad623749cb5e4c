"""Members of unique counts in Redis: one exact hash per set, property text → packed operations.

Redis is a rebuildable copy of the member changelog. One transaction writes the sets of a partition
and what stands beside them: the flush they reflect (watermark), the epoch of the partition's owner,
and how many members each set has, and all of them. A lower epoch is refused. Another watermark or
count than expected means that members were lost, evicted or rolled back: they are rebuilt. So are
those of another Kafka cluster, whose watermarks may be the same. A member is kept with a check sum,
so a look-up notices one that was altered.
Source: state.md §5.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, TypeVar

from redis.exceptions import NoScriptError, RedisError

from app.bounds.cancellation import asked_to_end
from app.redis.client import closed, redis_client
from app.redis.errors import MembersLost, MembersSilent, StaleEpoch, is_away
from app.redis.scripts import CLAIM, COUNT, WRITE, call_script, refused
from app.redis.sealing import opened_member, sealed_member
from app.settings import Settings
from tables.changelogged.members import MemberKey, SetKey

log = logging.getLogger(__name__)

T = TypeVar("T")
Packed = dict[str, bytes]
"""Packed members of one set, by property text."""
SomeMembers = dict[SetKey, tuple[int, Packed]]
"""By set where it is read on, 0: it is read to its end, and members."""

MEMBERS_IN_A_CALL: Final = 2_000
MOST_MEMBERS: Final = 10_000
"""About how many members of sets are loaded together."""
KEYS_IN_A_CALL: Final = 1_000
SOCKET_TIMEOUT_S: Final = 10.0
RETRY_S: Final = 0.5
_MARK_BITS: Final = 52
_NO_FLUSH: Final = -1
"""What no partition ever stands at."""


@dataclass(frozen=True, slots=True)
class MembersState:
    """Where Redis stands with a partition: at which flush, and whose."""

    flush: int | None
    """None: at no flush, or its sets are being filled in."""
    epoch: int


class MemberStore:
    """Members of all partitions of this worker.

    While Redis does not answer, or takes no writes, every call waits: nothing is folded that could
    not be looked up.
    """

    def __init__(self, settings: Settings):
        if settings.redis_url is None:
            raise ValueError("METER_REDIS_URL is not set")
        self._prefix = settings.consumer_group
        self._redis: Any = redis_client(settings, SOCKET_TIMEOUT_S)
        self.cluster = ""
        """Id of the Kafka cluster that members are a copy of."""
        self._expected: dict[int, set[int | None]] = {}
        self._filling: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.available = True
        """Whether Redis answered the last call."""

    async def start(self) -> None:
        """Connect. Raises a RedisError if there is no Redis."""
        await self._redis.ping()

    async def stop(self) -> None:
        """Disconnect."""
        await closed(self._redis)

    async def load_many(self, number: int, names: Sequence[MemberKey]) -> list[bytes | None]:
        """Return packed members in one round trip, None for those never written.

        Raises:
            MembersLost: the partition stands at another flush than ours, or a set has other
                members than were written to it, or a member is not what was written.
        """
        texts: dict[SetKey, list[str]] = {}
        for key, text in names:
            texts.setdefault(key, []).append(text)
        # Members that are being filled in are not there yet, and no watermark tells.
        async with self._filling[number]:
            found = await self._insist(lambda: self._load(number, texts))
        return [opened_member(number, name, found[name]) for name in names]

    async def _load(
        self, number: int, texts: dict[SetKey, list[str]]
    ) -> dict[MemberKey, bytes | None]:
        found = await self._look(number, texts)
        return {
            (key, text): packed
            for (key, wanted), (_, members) in zip(texts.items(), found, strict=True)
            for text, packed in zip(wanted, members, strict=True)
        }

    async def _look(
        self, number: int, texts: Mapping[SetKey, Sequence[str]]
    ) -> list[tuple[int, Sequence[bytes | None]]]:
        """Return how many members each of the sets has, and those of the texts named with it.

        Raise MembersLost unless Redis says that the partition is at an expected flush, and each
        set has the members that were written to it.
        """
        allowed = self._expected.get(number, {None})
        names = [self._set(number, key) for key in texts]
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hmget(self._meta(number), ["cluster", "flush", "members"])
            pipeline.exists(self._counts(number))
            if names:
                pipeline.hmget(self._counts(number), names)
            for name, wanted in zip(names, texts.values(), strict=True):
                pipeline.hlen(name)
                if wanted:
                    pipeline.hmget(name, [text.encode() for text in wanted])
            (cluster, *meta), counted_at_all, *rest = await pipeline.execute()
        if not self._is_ours(cluster):
            raise MembersLost(f"members of partition {number} are of another Kafka cluster")
        flush, members = map(_integer, meta)
        # A write may have begun since, or been answered before this was.
        if flush not in allowed | self._expected.get(number, {None}):
            raise MembersLost(f"members of partition {number} stand at flush {flush}")
        if members and not counted_at_all:
            # With its count evicted, too, a set that is gone looks like one that never was.
            raise MembersLost(f"it is not known what sets partition {number} has")
        answers, found = iter(rest), list[tuple[int, Sequence[bytes | None]]]()
        counts = next(answers, ())
        for (key, wanted), counted in zip(texts.items(), counts, strict=True):
            length = next(answers)
            await self._check_length(number, key, int(counted or 0), length)
            found.append((length, next(answers) if wanted else ()))
        return found

    async def load_sets(self, number: int, keys: Sequence[SetKey]) -> list[Packed]:
        """Return all packed members of sets. A silent Redis is not waited for.

        Raises:
            MembersLost: as `load_many` does.
            MembersSilent: Redis does not answer.
        """
        cursors = dict.fromkeys(keys, 0)
        found: dict[SetKey, Packed] = {key: {} for key in keys}
        async with self._asking(number):
            while cursors:
                for key, (cursor, members) in (await self._load_some(number, cursors)).items():
                    found[key] |= members
                    if cursor:
                        cursors[key] = cursor
                    else:
                        del cursors[key]
        return [found[key] for key in keys]

    async def load_some(self, number: int, cursors: Mapping[SetKey, int]) -> SomeMembers:
        """Return packed members of the first sets, of a large one only a part.

        `cursors`: where each set is read from, 0 for its beginning; with its members comes where it
        is read on, 0 at its end. It raises what `load_sets` does.
        """
        async with self._asking(number):
            return await self._load_some(number, cursors)

    @asynccontextmanager
    async def _asking(self, number: int) -> AsyncIterator[None]:
        filling = self._filling[number]
        if filling.locked() or not self.available:
            raise MembersSilent(f"members of partition {number}")
        async with filling:
            try:
                yield
            except RedisError as error:
                if not is_away(error):
                    raise
                raise MembersSilent(f"members of partition {number}: {error}") from error

    async def _load_some(self, number: int, cursors: Mapping[SetKey, int]) -> SomeMembers:
        found = await self._scan(number, list(cursors.items())[:KEYS_IN_A_CALL])
        return {
            key: (cursor, {t: opened_member(number, (key, t), m) or b"" for t, m in kept.items()})
            for key, (cursor, kept) in found.items()
        }

    async def _scan(self, number: int, cursors: Sequence[tuple[SetKey, int]]) -> SomeMembers:
        found = await self._look(number, {key: () for key, _ in cursors})
        count, some = 0, list[tuple[SetKey, int]]()
        for one, (length, _) in zip(cursors, found, strict=True):
            if count >= MOST_MEMBERS:
                break
            count += min(length, MEMBERS_IN_A_CALL)
            some.append(one)
        async with self._redis.pipeline(transaction=False) as pipeline:
            for key, cursor in some:
                pipeline.hscan(self._set(number, key), cursor, count=MEMBERS_IN_A_CALL)
            answers = await pipeline.execute()
        return {
            key: (int(after), {text.decode(): kept for text, kept in members.items()})
            for (key, _), (after, members) in zip(some, answers, strict=True)
        }

    async def _check_length(self, number: int, key: SetKey, counted: int, length: int) -> None:
        """Raise MembersLost if a set has other members than were written to it."""
        if counted == length:
            return
        if not counted:
            # What was left of it when all else was evicted: no refill would find it.
            await self._redis.unlink(self._set(number, key))
        raise MembersLost(
            f"a set of partition {number} has {length} members, {counted} were written"
        )

    async def write(
        self,
        number: int,
        epoch: int,
        flush: int,
        members: Sequence[tuple[MemberKey, bytes | None]],
    ) -> None:
        """Write what a flush changed, its number with it: all or nothing, and again if need be.

        Raises:
            StaleEpoch: a newer owner has written.
            MembersLost: the flush before it is not there; nothing was written.
        """
        sealed = [sealed_member(*member) for member in members]
        before = self._expected.get(number, {None})
        # A look-up that overtakes the answer sees the new flush already, as a repetition does.
        self._expected[number] = before | {flush}
        try:
            await self._insist(lambda: self._write_all(number, epoch, flush, sealed))
        except (MembersLost, StaleEpoch):
            self._expected[number] = before
            raise
        self._expected[number] = {flush}

    async def _write_all(
        self,
        number: int,
        epoch: int,
        flush: int,
        members: Iterable[tuple[MemberKey, bytes | None]],
    ) -> None:
        """Write all changes in one transaction of several calls, none of them large."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            for chunk in _chunks(members, MEMBERS_IN_A_CALL):
                self._add_call(pipeline, number, epoch, None, chunk)
            self._add_call(pipeline, number, epoch, flush, [])
            await refused(number, pipeline.execute())

    def _add_call(
        self,
        pipeline: Any,
        number: int,
        epoch: int,
        flush: int | None,
        members: Sequence[tuple[MemberKey, bytes | None]],
    ) -> None:
        by_set: dict[SetKey, list[bytes]] = {}
        for (key, text), packed in members:
            by_set.setdefault(key, []).extend((text.encode(), packed or b""))
        keys = [self._meta(number), self._counts(number)]
        keys += [self._set(number, key) for key in by_set]
        accepted = ("" if mark is None else str(mark) for mark in self._expected[number])
        arguments: list[Any] = [
            self.cluster,
            epoch,
            "" if flush is None else flush,
            f",{','.join(accepted)},",
        ]
        for pairs in by_set.values():
            arguments += [len(pairs) // 2, *pairs]
        call_script(pipeline, WRITE, keys, arguments)

    async def state(self, number: int) -> MembersState:
        """Return where Redis stands with a partition. Nothing is counted."""
        return await self._insist(lambda: self._state(number))

    async def _state(self, number: int) -> MembersState:
        cluster, *found = await self._redis.hmget(self._meta(number), ["cluster", "flush", "epoch"])
        if not self._is_ours(cluster):
            return MembersState(None, 0)
        flush, epoch = map(_integer, found)
        return MembersState(None if flush is None or flush < 0 else flush, epoch or 0)

    async def stands_at(self, number: int, flush: int) -> bool | None:
        """Return True if Redis reflects exactly this flush of a partition; expect it from now on.

        Every set has the members counted for it then. Return None while Redis does not answer: the
        first look-up or write finds out.
        """
        self._expected[number] = {flush}
        try:
            return await self._ask(lambda: self._is_whole_at(number, flush))
        except MembersSilent:
            return None

    async def _is_whole_at(self, number: int, flush: int) -> bool:
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hmget(self._meta(number), ["cluster", "flush", "members"])
            pipeline.hkeys(self._counts(number))
            (cluster, *meta), sets = await pipeline.execute()
        stands, counted = map(_integer, meta)
        if stands != flush or not self._is_ours(cluster):
            return False
        members, wrong = 0, 0
        for keys in _chunks(sets, KEYS_IN_A_CALL):
            found = await call_script(self._redis, COUNT, [self._counts(number), *keys])
            members, wrong = members + found[0], wrong + found[1]
        return not wrong and members == (counted or 0)

    async def replace_all(
        self, number: int, epoch: int, flush: int, members: Iterable[tuple[MemberKey, bytes]]
    ) -> None:
        """Empty the partition's sets and fill them anew. Until the end they stand at no flush.

        Look-ups wait for the end.

        Raises:
            StaleEpoch: a newer owner has written.
            MembersLost: what was filled in is not there any more.
        """
        async with self._filling[number]:
            try:
                mark = await self.clear(number, epoch)
                self._expected[number] = {mark}
                for chunk in _chunks(members, MEMBERS_IN_A_CALL):
                    # Redis may come back as a snapshot has it that was taken a few chunks ago.
                    mark -= 1
                    await self.write(number, epoch, mark, chunk)
                await self.write(number, epoch, flush, [])
            except BaseException:
                # Half of them must not be taken for all.
                self._expected[number] = {_NO_FLUSH}
                raise

    async def clear(self, number: int, epoch: int) -> int:
        """Forget the partition's sets, also those whose count is lost. Raises `StaleEpoch`.

        Returns what they stand at instead of a flush, a number below 0. Only who fills them in may
        write from there on: a flush would declare them whole.
        """
        # No flush has it, and no clearing before: an empty Redis is not taken for this one.
        mark = _NO_FLUSH - 1 - secrets.randbits(_MARK_BITS)
        self._expected[number] = {_NO_FLUSH}
        await self._insist(lambda: self._clear(number, epoch, mark))
        return mark

    async def _clear(self, number: int, epoch: int, mark: int) -> None:
        kept = [self._meta(number), self._counts(number)]
        mine = [self.cluster, epoch, mark]
        named = await refused(number, call_script(self._redis, CLAIM, kept, mine))
        if named:
            found = self._redis.hscan_iter(kept[1], count=KEYS_IN_A_CALL)
            sets: AsyncIterator[bytes] = (key async for key, _ in found)
        else:
            # The counts were evicted: only a look at all that Redis has finds the sets.
            sets = self._redis.scan_iter(match=self._set(number, b"*"), count=KEYS_IN_A_CALL)
        keys: list[bytes] = []
        async for key in sets:
            keys.append(key)
            if len(keys) == KEYS_IN_A_CALL:
                await refused(number, call_script(self._redis, CLAIM, kept + keys, mine))
                keys.clear()
        if keys:
            await refused(number, call_script(self._redis, CLAIM, kept + keys, mine))

    async def _insist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Repeat until Redis answers; what is written here may be written twice."""
        while True:
            try:
                return await self._ask(call)
            except MembersSilent:
                if asked_to_end():
                    # The client took the cancellation for a failure of its own.
                    raise asyncio.CancelledError from None
                await asyncio.sleep(RETRY_S)

    async def _ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """Ask once. Raise `MembersSilent` while Redis does not serve."""
        try:
            try:
                answer = await call()
            except NoScriptError:
                # It was started anew, or is a node that took over; nothing of the call was done.
                for script in (WRITE, CLAIM, COUNT):
                    await self._redis.script_load(script)
                answer = await call()
        except RedisError as error:
            if not (isinstance(error, NoScriptError) or is_away(error)):
                raise
            if self.available:
                log.warning("Redis does not serve, its partitions wait: %s", error)
            self.available = False
            raise MembersSilent(str(error)) from error
        self.available = True
        return answer

    def _is_ours(self, cluster: bytes | None) -> bool:
        """Return whether members are of our cluster; None: an earlier program did not say."""
        return cluster is None or cluster.decode() == self.cluster

    def _meta(self, number: int) -> bytes:
        return f"{{{self._prefix}:{number}}}:meta".encode()

    def _counts(self, number: int) -> bytes:
        return f"{{{self._prefix}:{number}}}:counts".encode()

    def _set(self, number: int, key: SetKey) -> bytes:
        return f"{{{self._prefix}:{number}}}:set:".encode() + key


def _integer(value: bytes | None) -> int | None:
    return None if value is None else int(value)


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
