"""What days added, on local disk: usage-daily is read on to its end whenever it is asked for.

Nothing of it is in memory or in a changelog. A worker without its disk reads the topic once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Final

import msgspec

from app.bounds.discards import Discarded, Discards
from app.bounds.turns import Turns, Work, batches
from app.bounds.work_done import WorkDone
from app.kafka.log_readers import LogRecord, RecordsDeleted, scan_many
from app.kafka.names import TopicPartition
from app.kafka.topics import USAGE_DAILY
from app.runtime.offsets import Offsets
from app.runtime.topics.published_topic import output_mark
from app.settings import Settings
from app.wire.daily_records import Addition, addition_of
from tables.changelogged.added_days import AddedDays
from tables.changelogged.checkpoint import OutputMark
from tables.changelogged.piece_store import PieceStore

log = logging.getLogger(__name__)

_KEPT_AT_ONCE: Final = 1_000
"""Records that local disk is given at a time."""
_READING: Final = Work("restore", "daily records")
"""Whoever asks waits for it; folds do not."""


class DailyAdditions:
    """Reads on what partitions that are here have added by days."""

    def __init__(
        self, settings: Settings, logs: Offsets, turns: Turns, work: WorkDone, discards: Discards
    ):
        self._settings = settings
        self._discards = discards
        self._logs = logs
        self._turns = turns
        self._work = work
        self._one = asyncio.Lock()
        self._read: dict[int, tuple[int, OutputMark | None]] = {}
        """Where partitions ended when they were read last, and their newest record."""

    @asynccontextmanager
    async def opened(
        self, numbers: Collection[int], most_s: float | None = None
    ) -> AsyncIterator[Mapping[int, AddedDays]]:
        """Open the days of partitions, with all that is committed; one caller reads on at a time.

        Raises:
            TimeoutError: reading on takes longer; it goes on from there when it is asked again.
            OSError: local disk does not take them, or has lost what it had, or the topic was cut
                meanwhile; ask again.
            KafkaError: the brokers do not let us read.
        """
        found: dict[int, AddedDays] = {}
        with ExitStack() as held:
            async with asyncio.timeout(most_s), self._one:
                for number in numbers:
                    found[number] = self._open(number)
                    held.callback(found[number].close)
                try:
                    await self._read_on(found)
                except RecordsDeleted as error:
                    raise OSError(f"the topic was cut meanwhile: {error}") from error
            yield found

    def _open(self, number: int) -> AddedDays:
        path = self._settings.directory_of("days") / f"{number}.db"
        identity = f"{self._settings.topic_prefix}/{number}"
        tell = partial(self._discards.tell, "days", number)
        return AddedDays(PieceStore(path, identity, OutputMark, tell))

    async def _read_on(self, found: Mapping[int, AddedDays]) -> None:
        topic = self._settings.topic(USAGE_DAILY)
        by_tp = {TopicPartition(topic, number): days for number, days in found.items()}
        ends = await self._logs.ends([*by_tp])
        grown = [
            tp
            for tp, days in by_tp.items()
            if self._read.get(tp.partition) != (ends[tp], days.newest)
        ]
        if not grown:
            return
        starts = await self._logs.starts(grown)
        ranges = {tp: (_from(by_tp[tp].newest, starts[tp], ends[tp]), ends[tp]) for tp in grown}
        others = await self._reading(by_tp, ranges)
        for tp in others:
            why = Discarded("another", f"{tp.topic} is another log")
            self._discards.tell("days", tp.partition, why)
            by_tp[tp].discard()
        if others:
            await self._reading(by_tp, {tp: (starts[tp], ends[tp]) for tp in others})
        self._read |= {tp.partition: (ends[tp], by_tp[tp].newest) for tp in grown}

    async def _reading(
        self,
        by_tp: Mapping[TopicPartition, AddedDays],
        ranges: Mapping[TopicPartition, tuple[int, int]],
    ) -> list[TopicPartition]:
        """Read records; return the partitions that do not have the newest one that was read."""
        unseen = {
            tp: mark
            for tp, (first, _) in ranges.items()
            if (mark := by_tp[tp].newest) is not None and mark[0] >= first
        }
        others = [tp for tp in unseen if ranges[tp][1] <= unseen[tp][0]]
        async with scan_many(self._settings, ranges) as read:
            async for tp, records in read:
                if tp in others:
                    continue
                mark = unseen.pop(tp, None)
                if mark is not None and mark != _mark_of(records.pop(0)):
                    others.append(tp)
                    continue
                self._work.add("query", "log_records", len(records))
                for some in batches(records, _KEPT_AT_ONCE):
                    steps = by_tp[tp].taking(_additions(tp, some), _mark_of(some[-1]))
                    await self._turns.run(_READING, steps)
        return [*others, *(tp for tp in unseen if tp not in others)]


def _from(newest: OutputMark | None, start: int, end: int) -> int:
    """Return where reading goes on: at the newest record, which tells whether it is that log."""
    return start if newest is None or not start <= newest[0] < end else newest[0]


def _mark_of(record: LogRecord) -> OutputMark:
    return output_mark(record.offset, record.value or b"")


def _additions(tp: TopicPartition, records: Sequence[LogRecord]) -> list[Addition]:
    found = []
    for record in records:
        try:
            found.append(addition_of(record.value or b""))
        except (msgspec.MsgspecError, ValueError):
            log.warning("%s %s/%s is no daily record", tp.topic, tp.partition, record.offset)
    return found
