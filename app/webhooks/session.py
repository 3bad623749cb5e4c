"""A session: what the process does with the partitions that the group gave it, until it has others.

It ends when the group gives them anew; what is not committed then is read again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Final, TypeVar

from app.bounds.turns import STEP_ITEMS, Steps, Turns, Work
from app.clock import Clock
from app.definitions.state import Definitions
from app.kafka.clients import NOT_TAKEN
from app.kafka.group_reader import GroupReader
from app.kafka.log_readers import LogRecord, scan
from app.kafka.names import TopicPartition
from app.kafka.topics import METER_DEFINITIONS
from app.settings import Settings
from app.webhooks.definitions import FollowedDefinitions
from app.webhooks.hourly import HOUR_MS, Hour
from app.webhooks.message import Message
from app.webhooks.metrics import Metrics
from app.webhooks.outboxes import Outboxes
from app.webhooks.places import Places, Progress
from app.webhooks.sender import Sender
from app.webhooks.telling import instant_messages

log = logging.getLogger(__name__)

COMMIT_EVERY_S: Final = 1.0
LOOK_EVERY_S: Final = 0.5
"""How often it is looked for what came about with time."""

_TELLING: Final = Work("other", "webhooks")

_HOUR_IS_OVER_MS: Final = 10_000
"""Milliseconds after the end of an hour until brokers stamp nothing more with it."""

READING: Final = "reading"
"""What is unread: records that were fetched, or where nothing can be fetched whatever there is."""

_NEVER: Final = 1 << 62
"""An offset that no record has."""

T = TypeVar("T")

Reading = Callable[[LogRecord, TopicPartition, Definitions], Message | None]
"""Makes the message of a record, by the definitions before it; None: it is none."""


class Session:
    """One assignment of partitions."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        reader: GroupReader,
        readings: Mapping[str, Reading],
        sender: Sender,
        metrics: Metrics,
        partitions: frozenset[TopicPartition],
        *,
        events_errors: bool,
    ):
        """Take over partitions; `readings` make messages of the records of each topic."""
        self._settings = settings
        self._clock = clock
        self._reader = reader
        self._readings = readings
        self._sender = sender
        self._metrics = metrics
        self._turns = Turns()
        """All tasks of the session share them: one record or instant never fills a turn."""
        self._log = TopicPartition(settings.topic(METER_DEFINITIONS), 0)
        raw = settings.topic(settings.raw_topic) if events_errors else None
        self._raw = [TopicPartition(raw, n) for n in range(settings.raw_partitions) if raw]
        """Partitions whose events are told hour by hour; none where that is not asked for."""
        self._places = Places(reader, clock, self._log, partitions, tells_hours=events_errors)

    async def run(self) -> None:
        """Read, send and commit, until cancelled; leave nothing behind but what is committed."""
        followed = await self._followed()
        failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._outboxes = Outboxes(
            followed.definitions,
            partial(self._sender.attempt, followed.definitions),
            self._sender.give_up,
            self._metrics,
            partial(_fail, failed),
        )
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(_raised(failed))
                tasks.create_task(followed.follow())
                tasks.create_task(self._read(followed))
                tasks.create_task(self._commit_on())
                if self._places.owns_log:
                    tasks.create_task(self._tell_instants(followed))
                    tasks.create_task(self._tell_hours(followed))
        finally:
            self._outboxes.stop()
            await followed.stop()

    async def commit(self) -> None:
        """Commit what is done and was not committed yet."""
        await self._places.commit()

    async def _followed(self) -> FollowedDefinitions:
        """Return the definitions, to be told from where the group is."""
        places = self._places
        await places.find()
        self._metrics.assigned.set(places.count)
        return FollowedDefinitions(
            self._settings,
            places.of_log.position if places.owns_log else _NEVER,
            places.of_instants.position - 1,
            self._turns,
            self._tell_definitions,
        )

    async def _read(self, followed: FollowedDefinitions) -> None:
        unread = self._metrics.unread
        while True:
            fetched = await self._reader.fetch()
            if fetched or (followed.ready.is_set() and self._reader.is_heard):
                unread.end(READING)
            elif not self._reader.is_heard:
                unread.lose(READING)
            if not fetched:
                continue
            # However far it is behind, of what is not fetched yet nothing is older in a partition.
            unread.begin(READING, min(each[0].timestamp_ms for each in fetched.values()))
            # Who was named before something happened is told of it.
            await followed.applied_to(await self._end_of_log())
            for tp, records in fetched.items():
                await self._take(tp, records, followed.definitions)

    async def _end_of_log(self) -> int:
        while True:
            try:
                return await self._reader.end_of(self._log)
            except NOT_TAKEN:
                # What was fetched waits: with a new session it would be sent again.
                await asyncio.sleep(LOOK_EVERY_S)

    async def _take(
        self, tp: TopicPartition, records: list[LogRecord], definitions: Definitions
    ) -> None:
        progress, reading = self._places.of_partitions[tp], self._readings[tp.topic]
        told = _told((reading(record, tp, definitions), record.offset) for record in records)
        while (each := await self._next(told)) is not None:
            offset, message = each
            await self._put(progress, offset, [message])
        progress.position = records[-1].offset + 1

    async def _put(
        self, progress: Progress, place: int, messages: Iterable[Message | None]
    ) -> None:
        progress.begin(place)
        self._metrics.unread.begin(progress)
        try:
            left = iter(messages)
            while (message := await self._next(left)) is not None:
                await self._outboxes.put(
                    message, partial(progress.begin, place), partial(progress.end, place)
                )
        finally:
            self._metrics.unread.end(progress)
        progress.end(place)

    async def _next(self, items: Iterator[T | None]) -> T | None:
        """Make the next item, over steps that make none; None: there is no other."""
        return await self._turns.run(_TELLING, _first(items))

    async def _tell_definitions(self, offset: int, messages: Iterable[Message | None]) -> None:
        await self._put(self._places.of_log, offset, messages)

    async def _tell_instants(self, followed: FollowedDefinitions) -> None:
        await followed.caught_up()
        progress = self._places.of_instants
        while True:
            now_ms = self._clock.now_ms()
            while (at_ms := followed.agenda.next_ms(now_ms)) is not None:
                # All of one instant are one place: it is not done while any of them is left.
                # An earlier place may be done: what a record then brings of it is the record's.
                followed.told_until_ms = max(followed.told_until_ms, at_ms - 1)
                taken = followed.agenda.take(at_ms)
                made = instant_messages(followed.definitions, taken, now_ms)
                await self._put(progress, at_ms, made)
            followed.told_until_ms = max(followed.told_until_ms, now_ms)
            progress.position = max(progress.position, now_ms + 1)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _tell_hours(self, followed: FollowedDefinitions) -> None:
        """Tell what is wrong with the events of each hour, once it is over."""
        await followed.caught_up()
        progress = self._places.of_hours
        while self._raw:
            start_ms = progress.position * HOUR_MS
            end_ms = start_ms + HOUR_MS
            if self._clock.now_ms() < end_ms + _HOUR_IS_OVER_MS:
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            hour = Hour(followed.definitions, end_ms)
            starts = await self._reader.first_from(self._raw, start_ms)
            ends = await self._reader.first_from(self._raw, end_ms)
            for tp in self._raw:
                async with scan(self._settings, tp, starts[tp], ends[tp]) as batches:
                    async for records in batches:
                        await self._turns.run(_TELLING, hour.take(records))
            await self._put(progress, progress.position, hour.messages())

    async def _commit_on(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            try:
                await self.commit()
            except NOT_TAKEN as error:
                # The next attempt says the same; with others in the group now, they read it again.
                log.info("What is done cannot be committed yet: %s", type(error).__name__)


def _told(
    read: Iterable[tuple[Message | None, int]],
) -> Iterator[tuple[int, Message] | None]:
    """Yield offset and message of each record that is one; None: a step."""
    for count, (message, offset) in enumerate(read, 1):
        if message is not None:
            yield offset, message
        elif count % STEP_ITEMS == 0:
            yield None


def _first(items: Iterator[T | None]) -> Steps[T | None]:
    for item in items:
        if item is not None:
            return item
        yield
    return None


def _fail(failed: asyncio.Future[None], error: BaseException) -> None:
    if not failed.done():
        failed.set_exception(error)


async def _raised(failed: asyncio.Future[None]) -> None:
    await failed
