"""A session: what the process does with the partitions that the group gave it, until it has others.

What is committed is what is done: its offsets, and for the definitions log also the instant up to
which it was told what happens with time. The commit's note has that, and when the group began.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from app.clock import Clock
from app.kafka.clients import NOT_TAKEN
from app.kafka.group_reader import Committed, GroupReader
from app.kafka.log_readers import LogRecord, scan
from app.kafka.names import TopicPartition
from app.kafka.topics import METER_DEFINITIONS
from app.settings import Settings
from app.webhooks.definitions import FollowedDefinitions, in_turns
from app.webhooks.hourly import HOUR_MS, Hour
from app.webhooks.message import Message
from app.webhooks.metrics import Metrics
from app.webhooks.outboxes import Outboxes
from app.webhooks.progress import Progress
from app.webhooks.sender import Sender
from app.webhooks.telling import instant_message

log = logging.getLogger(__name__)

COMMIT_EVERY_S: Final = 1.0
LOOK_EVERY_S: Final = 0.5
"""How often it is looked for what came about with time."""

_HOUR_IS_OVER_MS: Final = 10_000
"""Milliseconds after the end of an hour until brokers stamp nothing more with it."""

_NEVER: Final = 1 << 62
"""An offset that no record has."""

Reading = Callable[[LogRecord, TopicPartition], Message | None]
"""Makes the message of a record; None: it is none."""


class _Note(NamedTuple):
    """What the commit of the definitions log says beside the offset."""

    began_ms: int
    """When the group began: what was before is told nobody."""
    told_until_ms: int
    hours: int
    """Number of the hour whose events are told next, if they are."""

    @staticmethod
    def of(committed: Committed | None, now_ms: int) -> _Note:
        parts = ("" if committed is None else committed.note).split(":")
        if len(parts) != len(_Note._fields) or not all(map(str.isdecimal, parts)):
            # The first start; or somebody has set the offset by hand.
            return _Note(now_ms, now_ms, now_ms // HOUR_MS)
        return _Note(*map(int, parts))

    def __str__(self) -> str:
        return ":".join(map(str, self))


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
        events_errors: bool = False,
    ):
        """Take over partitions; `readings` make messages of the records of each topic."""
        self._settings = settings
        self._clock = clock
        self._reader = reader
        self._readings = readings
        self._sender = sender
        self._metrics = metrics
        self._log = TopicPartition(settings.topic(METER_DEFINITIONS), 0)
        self._tells_definitions = self._log in partitions
        raw = settings.topic(settings.raw_topic) if events_errors else None
        self._raw = [TopicPartition(raw, n) for n in range(settings.raw_partitions) if raw]
        """Partitions whose events are told hour by hour; none where that is not asked for."""
        self._partitions = sorted(partitions - {self._log})
        self._of_partitions: dict[TopicPartition, Progress] = {}
        self._of_log = Progress(0)
        self._of_instants = Progress(0)
        self._of_hours = Progress(0)
        self._began_ms = 0
        self._is_placed = False
        """Whether it is known where everything begins: nothing is committed before."""
        self._committed: dict[TopicPartition, Committed] = {}

    async def run(self) -> None:
        """Read, send and commit, until cancelled; leave nothing behind but what is committed."""
        followed = await self._placed()
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
                if self._tells_definitions:
                    tasks.create_task(self._tell_instants(followed))
                    tasks.create_task(self._tell_hours(followed))
        finally:
            self._outboxes.stop()
            await followed.stop()

    async def _placed(self) -> FollowedDefinitions:
        """Find where to begin, and commit it: at a first start it is that, whatever ends it."""
        known = await self._reader.committed([self._log, *self._partitions])
        committed = known[self._log]
        note = _Note.of(committed, self._clock.now_ms())
        await self._seek(known, note.began_ms)
        if committed is not None:
            tell_from = committed.offset
        else:
            tell_from = await self._reader.end_of(self._log)
        self._of_log = Progress(tell_from)
        self._of_instants = Progress(note.told_until_ms + 1)
        # Where the hours were not told so far, this one is the first.
        hours = note.hours if self._raw else self._clock.now_ms() // HOUR_MS
        self._of_hours = Progress(hours)
        self._began_ms = note.began_ms
        self._is_placed = True
        await self.commit()
        self._metrics.assigned.set(len(self._partitions) + self._tells_definitions)
        return FollowedDefinitions(
            self._settings,
            tell_from if self._tells_definitions else _NEVER,
            note.told_until_ms,
            self._tell_definitions,
        )

    async def commit(self) -> None:
        """Commit what is done and was not committed yet."""
        if not self._is_placed:
            return
        told = {tp: Committed(progress.done_to) for tp, progress in self._of_partitions.items()}
        if self._tells_definitions:
            note = _Note(self._began_ms, self._of_instants.done_to - 1, self._of_hours.done_to)
            told[self._log] = Committed(self._of_log.done_to, str(note))
        changed = {tp: each for tp, each in told.items() if self._committed.get(tp) != each}
        if changed:
            await self._reader.commit(changed)
            self._committed |= changed

    async def _seek(self, known: Mapping[TopicPartition, Committed | None], began_ms: int) -> None:
        """Go on where the group is; what it never read, from when it began."""
        new = [tp for tp in self._partitions if known[tp] is None]
        starts = await self._reader.first_from(new, began_ms)
        for tp in self._partitions:
            committed = known[tp]
            offset = starts[tp] if committed is None else committed.offset
            self._reader.seek(tp, offset)
            self._of_partitions[tp] = Progress(offset)

    async def _read(self, followed: FollowedDefinitions) -> None:
        while True:
            fetched = await self._reader.fetch()
            if not fetched:
                continue
            # Who was named before something happened is told of it.
            await followed.applied_to(await self._end_of_log())
            for tp, records in fetched.items():
                await self._take(tp, records)

    async def _end_of_log(self) -> int:
        while True:
            try:
                return await self._reader.end_of(self._log)
            except NOT_TAKEN:
                # What was fetched waits: with a new session it would be sent again.
                await asyncio.sleep(LOOK_EVERY_S)

    async def _take(self, tp: TopicPartition, records: list[LogRecord]) -> None:
        progress, reading = self._of_partitions[tp], self._readings[tp.topic]
        for record in records:
            message = reading(record, tp)
            if message is None:
                progress.position = record.offset + 1
            else:
                await self._put(progress, record.offset, [message])

    async def _put(self, progress: Progress, place: int, messages: list[Message]) -> None:
        progress.begin(place)
        for message in messages:
            await self._outboxes.put(
                message, partial(progress.begin, place), partial(progress.end, place)
            )
        progress.end(place)

    async def _tell_definitions(self, offset: int, messages: list[Message]) -> None:
        await self._put(self._of_log, offset, messages)

    async def _tell_instants(self, followed: FollowedDefinitions) -> None:
        await followed.caught_up()
        progress = self._of_instants
        while True:
            now_ms = self._clock.now_ms()
            while (instant := followed.agenda.next(now_ms)) is not None:
                steps = instant_message(followed.definitions, instant, now_ms)
                await self._put(progress, instant.at_ms, await in_turns(steps))
            followed.told_until_ms = max(followed.told_until_ms, now_ms)
            progress.position = max(progress.position, now_ms + 1)
            await asyncio.sleep(LOOK_EVERY_S)

    async def _tell_hours(self, followed: FollowedDefinitions) -> None:
        """Tell what is wrong with the events of each hour, once it is over."""
        await followed.caught_up()
        progress = self._of_hours
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
                async for records in scan(self._settings, tp, starts[tp], ends[tp]):
                    await in_turns(hour.take(records))
            await self._put(progress, progress.position, list(hour.messages()))

    async def _commit_on(self) -> None:
        while True:
            await asyncio.sleep(COMMIT_EVERY_S)
            try:
                await self.commit()
            except NOT_TAKEN as error:
                # The next attempt says the same; with others in the group now, they read it again.
                log.info("What is done cannot be committed yet: %s", type(error).__name__)


def _fail(failed: asyncio.Future[None], error: BaseException) -> None:
    if not failed.done():
        failed.set_exception(error)


async def _raised(failed: asyncio.Future[None]) -> None:
    await failed
