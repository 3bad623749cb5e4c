"""Keep the members store in step with the flushes of a partition, and ask it for members.

Redis is a cache of the member changelog: what it loses is filled in again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from app.kafka.asked import READ_WITHIN_S
from app.kafka.clients import NOT_TAKEN
from app.log import facts
from app.meter.errors import Unavailable
from app.redis.errors import MembersLost, MembersSilent
from app.redis.members import MemberStore, Packed, SomeMembers
from app.runtime.partition.commit import Commits, MemberChanges
from app.runtime.partition.life import Life, State
from app.runtime.topics.spooled_newest import SpooledNewest, newest_members
from app.settings import Settings
from tables.changelogged.checksum import ChangelogSum
from tables.changelogged.members import MemberKey, SetKey
from tables.partition.partition import Partition

log = logging.getLogger(__name__)

T = TypeVar("T")

_REFILLED = "Members are filled in from their changelog: %s"

STORE_PATIENCE_S = 2.0
"""How long a flush waits for the members store."""

UNSTORED_MEMBERS = 500_000
"""With so many members to be stored flushes wait for the store, however long it takes."""


class MembersTorn(RuntimeError):
    """Members were lost, and their changelog can not give them back: the state is torn."""


class MemberSync:
    """Members of one partition between its tables, its changelog and the store."""

    def __init__(self, state: Partition, life: Life, commits: Commits):
        self._state = state
        self._life = life
        self._context = life.context
        self._commits = commits
        self._storing = asyncio.Lock()
        """Held while the members store is written."""
        self._stored = state.checkpoint.flush
        """Number of the last flush that the members store reflects."""
        self._unstored = Unstored()
        self._storer: asyncio.Task[None] | None = None
        self._refilling: asyncio.Task[None] | None = None

    @property
    def unstored(self) -> int:
        """Members that are flushed and that the store has yet to be given."""
        return len(self._unstored)

    async def prefetch(self, missing: list[MemberKey]) -> None:
        """Give the tables members that the fold asks for, however long it takes."""
        with self._life.waiting(State.WAITING_FOR_MEMBERS):
            await self._look_up(missing)

    async def prefetch_soon(self, missing: list[MemberKey]) -> None:
        """Give the tables members that a query asks for; the fold does not wait for them.

        Raises:
            Unavailable: they are not here within `READ_WITHIN_S`, or never will be.
        """
        try:
            async with asyncio.timeout(READ_WITHIN_S):
                await self._look_up(missing)
        except TimeoutError as error:
            raise Unavailable("Redis does not give members now") from error
        if self._life.is_given_up():
            raise Unavailable(f"partition {self._state.number} was given up")

    async def _look_up(self, missing: list[MemberKey]) -> None:
        stored: int | None = None
        while stored != self._stored:
            # What was changed, stored and let go meanwhile is newer than an answer of before.
            stored = self._stored
            packed = await self._load(missing)
        for name, value in zip(missing, packed, strict=True):
            self._state.members.fill(name, value)

    async def _load(self, names: list[MemberKey]) -> list[bytes | None]:
        try:
            return await self._context.members.load_many(self._state.number, names)
        except MembersLost as lost:
            if self._life.is_given_up():
                # A newer owner fills them in, and nothing of what is folded here will be flushed.
                return [None] * len(names)
            # What is not flushed, or not stored yet, is at hand in the table and not asked for.
            await self._give_back(lost)
        return await self._load(names)

    async def stored(self, keys: Sequence[SetKey]) -> list[Packed] | None:
        """Return all packed members that the store has of sets; None while it does not answer.

        What it has lost it is given again first.
        """
        return await self._asked(lambda: self._context.members.load_sets(self._state.number, keys))

    async def stored_in_part(self, cursors: Mapping[SetKey, int]) -> SomeMembers | None:
        """Return what `MemberStore.load_some` does, as `stored` does."""
        return await self._asked(
            lambda: self._context.members.load_some(self._state.number, cursors)
        )

    async def _asked(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        while True:
            try:
                return await ask()
            except MembersSilent:
                return None
            except MembersLost as lost:
                await self._give_back(lost)

    async def _give_back(self, lost: MembersLost) -> None:
        """Wait until the store is filled in again; that goes on if a query waits no longer."""
        self._tell_lost(lost)
        if self._refilling is None or self._refilling.done():
            self._refilling = asyncio.create_task(self._refill_alone())
        refilling = self._refilling
        await asyncio.wait([refilling])
        if not refilling.cancelled():
            refilling.result()

    async def _refill_alone(self) -> None:
        async with self._storing:
            await self._refill()

    def _tell_lost(self, lost: MembersLost) -> None:
        log.warning(_REFILLED, lost, extra=facts("note", partition=self._state.number))

    async def _refill(self) -> None:
        commits, context = self._commits, self._context
        number, epoch = self._state.number, self._state.checkpoint.epoch
        context.rebuilds["members"] += 1
        while True:
            async with commits.committing:
                if not commits.is_doubtful():
                    flush = commits.flush
                    try:
                        await refill_members(
                            context.settings,
                            context.members,
                            number,
                            epoch,
                            flush,
                            commits.members_sum,
                        )
                    except NOT_TAKEN as error:
                        text, extra = (
                            "Members are filled in when Kafka is back: %r",
                            facts("note", partition=number),
                        )
                        log.warning(text, error, extra=extra)
                        await context.brokers.pause(0)
                        continue
                    self._stored = flush
                    return
            # What the changelog stands at is known again when the flush is sent or given up.
            await commits.sent.wait()

    def add(self, members: MemberChanges) -> None:
        """Take over what a flush has changed; `follow` gives it to the store."""
        self._unstored.add(members)

    async def follow(self) -> None:
        """Let the members store follow; while Redis does not answer, later flushes need not wait.

        What is not stored yet stays at hand in the table, and a restart fills it in from the
        changelog.
        """
        if self._storer is None:
            self._storer = asyncio.create_task(self._store())
        patience_s: float | None = STORE_PATIENCE_S if self._context.members.available else 0
        if len(self._unstored) > UNSTORED_MEMBERS:
            patience_s = None
        await asyncio.wait([self._storer], timeout=patience_s)
        if self._storer.done():
            storer, self._storer = self._storer, None
            storer.result()

    async def _store(self) -> None:
        number, epoch = self._state.number, self._state.checkpoint.epoch
        async with self._storing:
            while self._stored < self._commits.flush:
                flush, members = self._commits.flush, self._unstored.all()
                try:
                    await self._context.members.write(number, epoch, flush, members)
                    self._stored = flush
                except MembersLost as lost:
                    self._tell_lost(lost)
                    await self._refill()
                self._state.members.written(self._unstored.remove(members))

    async def halt(self) -> None:
        """Leave the members store alone from here on; the next flush would go on with it."""
        running = [each for each in (self._storer, self._refilling) if each is not None]
        self._storer = self._refilling = None
        for each in running:
            each.cancel()
        if running:
            await asyncio.wait(running)


class Unstored:
    """Members that flushes have changed and the members store does not have yet."""

    def __init__(self) -> None:
        self._members: dict[MemberKey, bytes | None] = {}

    def __len__(self) -> int:
        return len(self._members)

    def add(self, members: MemberChanges) -> None:
        """Take over what one more flush changed."""
        self._members.update(members)

    def all(self) -> list[tuple[MemberKey, bytes | None]]:
        """Return the members as they are to be."""
        return list(self._members.items())

    def remove(self, members: Iterable[tuple[MemberKey, bytes | None]]) -> list[MemberKey]:
        """Note that they are stored; return those that were not changed again meanwhile."""
        stored = [name for name, value in members if self._members.get(name, b"") is value]
        for name in stored:
            del self._members[name]
        return stored


async def refill_members(
    settings: Settings,
    store: MemberStore,
    number: int,
    epoch: int,
    flush: int,
    expected: ChangelogSum,
) -> None:
    """Fill the members store with what the changelog has, which stands at that flush.

    Raises:
        MembersTorn: the changelog has something else than was written; a restore rebuilds it.
        StaleEpoch: a newer owner writes it.
    """
    members = await newest_members(settings, number)
    if await members.sum() != expected:
        await store.clear(number, epoch)
        raise MembersTorn(f"the member changelog of partition {number} is torn")
    await fill(store, number, epoch, flush, members)


async def fill(
    store: MemberStore, number: int, epoch: int, flush: int, members: SpooledNewest
) -> None:
    """Fill the members store; again if Redis loses something meanwhile."""
    while True:
        try:
            await store.replace_all(number, epoch, flush, _named(members.items()))
        except MembersLost as lost:
            log.warning("Members are filled in once more: %s", lost)
        else:
            return


def _named(records: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[MemberKey, bytes]]:
    for key, value in records:
        yield msgspec.msgpack.decode(key, type=tuple[bytes, str]), value
