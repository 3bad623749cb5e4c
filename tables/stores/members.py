"""Members of unique counts in Redis: one exact hash per set, property text → packed operations.

Redis is a rebuildable copy of the member changelog. Beside the sets of a partition stand, written
by the same transaction, the flush they reflect (watermark), the epoch of the partition's owner and
how many members each set, and all of them, have. A lower epoch is refused; another watermark or
count than expected means that members were lost, evicted or rolled back, and they are rebuilt. A
member is kept with a check sum, so that one that was altered is noticed when it is looked up.
Source: state.md §5.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import Any, Final, TypeVar

from redis.asyncio.sentinel import MasterNotFoundError
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ClusterError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import ConnectionError as RedisUnreachable
from redis.exceptions import TimeoutError as RedisTimeout

from app.cancelled import asked_to_end
from app.redis_client import closed, redis_client
from app.settings import Settings
from tables.changelog_sum import record_hash
from tables.members import MemberName, SetKey, member_key
from tables.stores.changelog import Fenced

log = logging.getLogger(__name__)

T = TypeVar("T")

MEMBERS_IN_A_CALL: Final = 2_000
KEYS_IN_A_CALL: Final = 1_000
SOCKET_TIMEOUT_S: Final = 10.0
RETRY_S: Final = 0.5
SEAL_BYTES: Final = 4
_MARK_BITS: Final = 52
_AWAY: Final = (
    RedisUnreachable,
    RedisTimeout,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    MasterDownError,
    MasterNotFoundError,
    ClusterDownError,
    ClusterError,
)
_NOT_WRITABLE: Final = ("-OOM ", "-READONLY ", "MISCONF ", "NOREPLICAS ")
"""As errors of scripts have them: no memory, a replica now, no disk, too few replicas."""
_NO_FLUSH: Final = -1
"""What no partition ever stands at."""

# KEYS: meta, counts, the sets that are gone, the sets that change.
# ARGV: epoch, flush (empty in all calls but the last), number of sets that are gone, the flushes at
# which the partition may stand (",12,13,", ",," for none); for each set that changes the number of
# its members, and for each of them property text and packed operations (empty: it is no member).
_WRITE = """
local meta, counts = KEYS[1], KEYS[2]
local known = tonumber(redis.call('HGET', meta, 'epoch') or '0')
if known > tonumber(ARGV[1]) then
  return redis.error_reply('STALEEPOCH ' .. known)
end
local stands = redis.call('HGET', meta, 'flush') or ''
if not string.find(ARGV[4], ',' .. stands .. ',', 1, true) then
  return redis.error_reply('MEMBERSLOST ' .. stands)
end
local members = tonumber(redis.call('HGET', meta, 'members') or '0')
if members > 0 and redis.call('EXISTS', counts) == 0 then
  return redis.error_reply('MEMBERSLOST counts')
end
redis.call('HSET', meta, 'epoch', ARGV[1])
local total = 0
local gone = tonumber(ARGV[3])
for i = 3, 2 + gone do
  total = total - tonumber(redis.call('HGET', counts, KEYS[i]) or '0')
  redis.call('UNLINK', KEYS[i])
  redis.call('HDEL', counts, KEYS[i])
end
local at = 5
for i = 3 + gone, #KEYS do
  local change = 0
  for _ = 1, tonumber(ARGV[at]) do
    if ARGV[at + 2] == '' then
      change = change - redis.call('HDEL', KEYS[i], ARGV[at + 1])
    else
      change = change + redis.call('HSET', KEYS[i], ARGV[at + 1], ARGV[at + 2])
    end
    at = at + 2
  end
  at = at + 1
  total = total + change
  if change ~= 0 and redis.call('HINCRBY', counts, KEYS[i], change) == 0 then
    redis.call('HDEL', counts, KEYS[i])
  end
end
redis.call('HINCRBY', meta, 'members', total)
if ARGV[2] ~= '' then
  redis.call('HSET', meta, 'flush', ARGV[2])
end
return 1
"""

# KEYS: meta, counts. ARGV: epoch, mark. Until all is written anew marks stand for the flush.
_CLAIM = """
local known = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
if known > tonumber(ARGV[1]) then
  return redis.error_reply('STALEEPOCH ' .. known)
end
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'flush', ARGV[2])
redis.call('HDEL', KEYS[1], 'members')
redis.call('UNLINK', KEYS[2])
return 1
"""

# KEYS: counts, sets. Answers how many members the sets have, and how many of them have others
# than were counted for them.
_COUNT = """
local counted = redis.call('HMGET', KEYS[1], unpack(KEYS, 2))
local members, wrong = 0, 0
for i = 2, #KEYS do
  local length = redis.call('HLEN', KEYS[i])
  members = members + length
  if length ~= tonumber(counted[i - 1] or '0') then
    wrong = wrong + 1
  end
end
return {members, wrong}
"""


class StaleEpoch(Fenced):
    """A newer owner of the partition writes these members."""


class MembersLost(Exception):
    """Redis does not hold what was written to it."""


class MembersSilent(Exception):
    """Redis does not answer just now, or is being filled in."""


@dataclass(frozen=True, slots=True)
class MembersState:
    """What Redis holds of a partition. `intact`: every set has the members counted for it."""

    flush: int | None
    epoch: int
    sets: int
    members: int
    intact: bool


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

    async def load_many(self, number: int, names: Sequence[MemberName]) -> list[bytes | None]:
        """Packed members in one round trip, None for those never written.

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
        return [_opened(number, name, found[name]) for name in names]

    async def _load(
        self, number: int, texts: dict[SetKey, list[str]]
    ) -> dict[MemberName, bytes | None]:
        allowed = self._expected.get(number, {None})
        async with self._redis.pipeline(transaction=True) as pipeline:
            self._ask_standing(number, pipeline)
            if texts:
                pipeline.hmget(self._counts(number), [self._set(number, key) for key in texts])
            for key, wanted in texts.items():
                pipeline.hlen(self._set(number, key))
                pipeline.hmget(self._set(number, key), [text.encode() for text in wanted])
            meta, counted_at_all, *answers = await pipeline.execute()
        self._check_standing(number, meta, counted_at_all, allowed)
        counts, answers = (answers[0], answers[1:]) if texts else ([], [])
        found: dict[MemberName, bytes | None] = {}
        for i, (key, wanted) in enumerate(texts.items()):
            counted, length, packed = int(counts[i] or 0), answers[2 * i], answers[2 * i + 1]
            if counted != length:
                raise MembersLost(
                    f"a set of partition {number} has {length} members, {counted} were written"
                )
            found.update(((key, text), value) for text, value in zip(wanted, packed, strict=True))
        return found

    def _ask_standing(self, number: int, pipeline: Any) -> None:
        pipeline.hmget(self._meta(number), ["flush", "members"])
        pipeline.exists(self._counts(number))

    def _check_standing(
        self,
        number: int,
        meta: Sequence[bytes | None],
        counted_at_all: int,
        allowed: set[int | None],
    ) -> None:
        """Whether the answers to what was asked say that the partition stands where it should."""
        flush, members = map(_integer, meta)
        # A write may have begun since, or been answered before this was.
        if flush not in allowed | self._expected.get(number, {None}):
            raise MembersLost(f"members of partition {number} stand at flush {flush}")
        if members and not counted_at_all:
            # With its count evicted, too, a set that is gone looks like one that never was.
            raise MembersLost(f"it is not known what sets partition {number} has")

    async def load_sets(self, number: int, keys: Sequence[SetKey]) -> list[dict[str, bytes]]:
        """All packed members of sets, by property text. Does not wait for a silent Redis.

        Raises:
            MembersLost: as `load_many` does.
            MembersSilent: Redis does not answer.
        """
        if not keys:
            return []
        filling = self._filling[number]
        if filling.locked() or not self.available:
            raise MembersSilent(f"members of partition {number}")
        async with filling:
            try:
                lengths = await self._lengths(number, keys)
                found = await self._load_whole(number, keys, lengths)
            except RedisError as error:
                if not _is_away(error):
                    raise
                raise MembersSilent(f"members of partition {number}: {error}") from error
        return [
            {text: _opened(number, (key, text), kept) or b"" for text, kept in members.items()}
            for key, members in zip(keys, found, strict=True)
        ]

    async def _lengths(self, number: int, keys: Sequence[SetKey]) -> list[int]:
        """How many members sets have, which is what was written to them."""
        allowed = self._expected.get(number, {None})
        names = [self._set(number, key) for key in keys]
        async with self._redis.pipeline(transaction=True) as pipeline:
            self._ask_standing(number, pipeline)
            pipeline.hmget(self._counts(number), names)
            for name in names:
                pipeline.hlen(name)
            meta, counted_at_all, counts, *found = await pipeline.execute()
            lengths: list[int] = found
        self._check_standing(number, meta, counted_at_all, allowed)
        for counted, length in zip(counts, lengths, strict=True):
            if int(counted or 0) != length:
                raise MembersLost(
                    f"a set of partition {number} has {length} members, "
                    f"{int(counted or 0)} were written"
                )
        return lengths

    async def _load_whole(
        self, number: int, keys: Sequence[SetKey], lengths: Sequence[int]
    ) -> list[dict[str, bytes]]:
        """Small sets together, large ones in parts."""
        found: list[dict[str, bytes]] = [{} for _ in keys]
        together: list[int] = []
        size = 0
        for i, length in enumerate(lengths):
            if length > MEMBERS_IN_A_CALL:
                name = self._set(number, keys[i])
                async for text, kept in self._redis.hscan_iter(name, count=MEMBERS_IN_A_CALL):
                    found[i][text.decode()] = kept
                continue
            together.append(i)
            size += length
            if size > MEMBERS_IN_A_CALL:
                await self._load_together(number, keys, together, found)
                together, size = [], 0
        await self._load_together(number, keys, together, found)
        return found

    async def _load_together(
        self,
        number: int,
        keys: Sequence[SetKey],
        which: Sequence[int],
        found: list[dict[str, bytes]],
    ) -> None:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for i in which:
                pipeline.hgetall(self._set(number, keys[i]))
            for i, members in zip(which, await pipeline.execute(), strict=True):
                found[i] = {text.decode(): kept for text, kept in members.items()}

    async def write(
        self,
        number: int,
        epoch: int,
        flush: int,
        gone: Sequence[SetKey],
        members: Sequence[tuple[MemberName, bytes | None]],
    ) -> None:
        """Write what a flush changed, its number with it: all or nothing, and again if need be.

        Raises:
            StaleEpoch: a newer owner has written.
            MembersLost: the flush before it is not there; nothing was written.
        """
        sealed = [_sealed(*member) for member in members]
        before = self._expected.get(number, {None})
        # A look-up that overtakes the answer sees the new flush already, as a repetition does.
        self._expected[number] = before | {flush}
        try:
            await self._insist(lambda: self._write_all(number, epoch, flush, gone, sealed))
        except (MembersLost, StaleEpoch):
            self._expected[number] = before
            raise
        self._expected[number] = {flush}

    async def _write_all(
        self,
        number: int,
        epoch: int,
        flush: int,
        gone: Sequence[SetKey],
        members: Iterable[tuple[MemberName, bytes | None]],
    ) -> None:
        """One transaction of several calls: no call is large."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            for keys in _chunks(gone, KEYS_IN_A_CALL):
                self._add_call(pipeline, number, epoch, None, keys, [])
            for chunk in _chunks(members, MEMBERS_IN_A_CALL):
                self._add_call(pipeline, number, epoch, None, [], chunk)
            self._add_call(pipeline, number, epoch, flush, [], [])
            await _refused(number, pipeline.execute())

    def _add_call(
        self,
        pipeline: Any,
        number: int,
        epoch: int,
        flush: int | None,
        gone: Sequence[SetKey],
        members: Sequence[tuple[MemberName, bytes | None]],
    ) -> None:
        by_set: dict[SetKey, list[bytes]] = {}
        for (key, text), packed in members:
            by_set.setdefault(key, []).extend((text.encode(), packed or b""))
        keys = [self._meta(number), self._counts(number)]
        keys += [self._set(number, key) for key in (*gone, *by_set)]
        accepted = ("" if mark is None else str(mark) for mark in self._expected[number])
        arguments: list[Any] = [
            epoch,
            "" if flush is None else flush,
            len(gone),
            f",{','.join(accepted)},",
        ]
        for pairs in by_set.values():
            arguments += [len(pairs) // 2, *pairs]
        _call(pipeline, _WRITE, keys, arguments)

    async def state(self, number: int) -> MembersState:
        """What is there, counted afresh."""
        return await self._insist(lambda: self._state(number))

    async def _state(self, number: int) -> MembersState:
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.hgetall(self._meta(number))
            pipeline.hkeys(self._counts(number))
            meta, sets = await pipeline.execute()
        members, wrong = 0, 0
        for keys in _chunks(sets, KEYS_IN_A_CALL):
            found = await _call(self._redis, _COUNT, [self._counts(number), *keys])
            members, wrong = members + found[0], wrong + found[1]
        flush = _integer(meta.get(b"flush"))
        return MembersState(
            # None also of sets that are being filled in.
            flush=None if flush is None or flush < 0 else flush,
            epoch=_integer(meta.get(b"epoch")) or 0,
            sets=len(sets),
            members=members,
            intact=not wrong and members == (_integer(meta.get(b"members")) or 0),
        )

    async def stands_at(self, number: int, flush: int) -> bool | None:
        """Whether a partition reflects exactly this flush, which is expected from now on.

        None while Redis does not answer: the first look-up or write finds out.
        """
        self._expected[number] = {flush}
        try:
            state = await self._ask(lambda: self._state(number))
        except MembersSilent:
            return None
        return state.intact and state.flush == flush

    async def replace_all(
        self, number: int, epoch: int, flush: int, members: Iterable[tuple[MemberName, bytes]]
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
                    await self.write(number, epoch, mark, [], chunk)
                await self.write(number, epoch, flush, [], [])
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
        await _refused(number, _call(self._redis, _CLAIM, kept, [epoch, mark]))
        keys: list[bytes] = []
        async for key in self._redis.scan_iter(match=self._set(number, b"*"), count=KEYS_IN_A_CALL):
            keys.append(key)
            if len(keys) == KEYS_IN_A_CALL:
                await self._redis.unlink(*keys)
                keys.clear()
        if keys:
            await self._redis.unlink(*keys)

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
        """Once. Raises `MembersSilent` while Redis does not serve."""
        try:
            try:
                answer = await call()
            except NoScriptError:
                # It was started anew, or is a node that took over; nothing of the call was done.
                for script in (_WRITE, _CLAIM, _COUNT):
                    await self._redis.script_load(script)
                answer = await call()
        except RedisError as error:
            if not (isinstance(error, NoScriptError) or _is_away(error)):
                raise
            if self.available:
                log.warning("Redis does not serve, its partitions wait: %s", error)
            self.available = False
            raise MembersSilent(str(error)) from error
        self.available = True
        return answer

    def _meta(self, number: int) -> bytes:
        return f"{{{self._prefix}:{number}}}:meta".encode()

    def _counts(self, number: int) -> bytes:
        return f"{{{self._prefix}:{number}}}:counts".encode()

    def _set(self, number: int, key: SetKey) -> bytes:
        return f"{{{self._prefix}:{number}}}:set:".encode() + key


def _call(client: Any, script: str, keys: Sequence[bytes], arguments: Sequence[Any] = ()) -> Any:
    """Call a script by its hash; of a pipeline, as a part of it."""
    return client.execute_command("EVALSHA", _hash_of(script), len(keys), *keys, *arguments)


@cache
def _hash_of(script: str) -> str:
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _sealed(name: MemberName, packed: bytes | None) -> tuple[MemberName, bytes | None]:
    """A member as Redis keeps it: with a check sum of its name and its bytes."""
    return name, packed and seal(name, packed) + packed


def _opened(number: int, name: MemberName, kept: bytes | None) -> bytes | None:
    if kept is None:
        return None
    packed = kept[SEAL_BYTES:]
    if kept[:SEAL_BYTES] != seal(name, packed):
        raise MembersLost(f"a member of partition {number} is not what was written")
    return packed


def seal(name: MemberName, packed: bytes) -> bytes:
    """The check sum that stands before a member in Redis."""
    return record_hash(member_key(name), packed).to_bytes(8, "big")[:SEAL_BYTES]


def _is_away(error: RedisError) -> bool:
    """Whether Redis will do what was asked later, when somebody, or time, has helped it."""
    return isinstance(error, _AWAY) or any(code in str(error) for code in _NOT_WRITABLE)


async def _refused(number: int, call: Awaitable[Any]) -> None:
    """Await a call of the scripts and name what they refuse."""
    try:
        await call
    except ResponseError as error:
        if "STALEEPOCH" in str(error):
            raise StaleEpoch(f"partition {number} has a newer owner") from error
        if "MEMBERSLOST" in str(error):
            raise MembersLost(f"members of partition {number} stand at another flush") from error
        raise


def _integer(value: bytes | None) -> int | None:
    return None if value is None else int(value)


def _chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk
