"""Ahead: forward what lies in a raw partition for others before its fold comes to it.

A cut anywhere waits until every raw partition is forwarded past it. So one that waits for Redis,
folds late or is being restored would hold back the cuts of all. Forwarding asks for no state: a
reader of its own goes on where everything is forwarded and reports the progress that others close
by. What was not known to be acknowledged is forwarded once more; the homes have it already and
pass over it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final, TypeAlias

import msgspec

from app.bounds.turns import drained
from app.definitions.judging import Judging
from app.kafka.clients import NOT_TAKEN, Consumer, started
from app.kafka.log_readers import READ_TIMEOUT_MS, newest_value, plain_consumer
from app.kafka.names import TP, TopicPartition
from app.kafka.record_batch import RawRecord, RecordBatch
from app.kafka.topics import CELLS_CHANGELOG, RAW_MESSAGE_BYTES
from app.log import facts
from app.runtime.context import WorkerContext
from app.runtime.partition.forwarder import Forwarder, Forwards
from app.runtime.partition.life import Life, State
from app.runtime.partition.owned import OwnedPartition
from app.runtime.partition.portion import Portion, decoding_of
from app.runtime.progress import Progress
from app.runtime.topics.changelogs import CHECKPOINT_KEY
from tables.changelogged.checkpoint import Checkpoint

log = logging.getLogger(__name__)

MAX_RECORDS: Final = 1_000
LOOKS_S: Final = 5.0
"""A fold that others have waited for at two looks in a row is late: most are not, at the second."""


class NotReadAhead(Exception):
    """Records may end the process that decodes them: the fold finds out which, with care."""


class RestoringPartition:
    """A partition that is being restored, as far as forwarding asks."""

    def __init__(self, number: int, shared: WorkerContext):
        self.number = number
        self.shared = shared
        self.life = Life(number, shared, State.RUNNING)
        self.stalled = asyncio.Event()
        """Never set: it does not fold yet."""
        self.forwards = Forwards()
        self.forwarded = (-1, -1)
        """How far is not known before it is asked for."""
        self.is_careful = True

    async def find_place(self) -> bool:
        """Go on behind the newest flush: all before it is forwarded, whoever was the owner."""
        settings = self.shared.settings
        # What was set aside by then must not be read here.
        await self.shared.followed.caught_up()
        tp = TopicPartition(settings.topic(CELLS_CHANGELOG), self.number)
        packed = await newest_value(settings, tp, CHECKPOINT_KEY)
        if packed is None:
            return False
        checkpoint = msgspec.msgpack.decode(packed, type=Checkpoint)
        if checkpoint.is_too_new:
            return False
        self.forwarded = (checkpoint.raw_next, checkpoint.append_time_ms)
        self.is_careful = checkpoint.attempt >= 0
        return True

    def wants_care(self, tp: TP, first: int) -> bool:
        """Return whether nobody handed it over, as far as is known."""
        return self.is_careful

    def note_forwarded(self, next_offset: int, append_time_ms: int) -> None:
        """Note that everything before is forwarded."""
        self.forwarded = (next_offset, append_time_ms)

    def reported(self, told: Progress) -> Progress:
        """Return what the owner before told, with how far it is forwarded now."""
        return told._replace(append_time_ms=self.forwarded[1])


Going: TypeAlias = OwnedPartition | RestoringPartition
"""A partition whose raw log is read ahead of its fold."""


class Ahead:
    """Forwards ahead of folds, for as long as others need it."""

    def __init__(self, forwarder: Forwarder):
        self._forwarder = forwarder

    async def go(self, going: Going) -> None:
        """Forward whenever the fold stands or others have waited for long, until cancelled."""
        while True:
            await self._needed(going)
            try:
                await self._read_on(going)
            except NOT_TAKEN as error:
                text, extra = (
                    "Nothing is forwarded ahead yet: %r",
                    facts("note", partition=going.number),
                )
                log.warning(text, error, extra=extra)
                await going.shared.brokers.pause(0)
            except Exception as error:
                # The fold comes to it, and says what is wrong.
                text = "Partition %s forwards nothing ahead from offset %s on: %r"
                extra = facts("note", partition=going.number)
                log.warning(text, going.number, going.forwarded[0], error, extra=extra)
                at = going.forwarded
                while going.forwarded == at:
                    await asyncio.sleep(LOOKS_S)

    async def _needed(self, going: Going) -> None:
        """Wait until the fold stands, or others wait for it and have done so for a while."""
        looks, loop = 0, asyncio.get_running_loop()
        while looks < 2 and not going.stalled.is_set():
            if not looks:
                await _first_of(going.stalled, going.shared.progress.waiting)
            # All partitions look at one time: the loop wakes once for them.
            at_s = (loop.time() // LOOKS_S + 1) * LOOKS_S
            with suppress(TimeoutError):
                async with asyncio.timeout_at(at_s):
                    await going.stalled.wait()
            looks = looks + 1 if _is_waited_for(going) else 0

    async def _read_on(self, going: Going) -> None:
        if going.forwarded[0] < 0 and not await going.find_place():
            raise NotReadAhead("no flush of it is known")
        log.info(
            "Partition %s is forwarded ahead of its fold from offset %s on",
            going.number,
            going.forwarded[0],
            extra=facts("note", partition=going.number),
        )
        async with _reader(going) as (consumer, tp):
            while going.stalled.is_set() or _is_waited_for(going):
                fetched = await consumer.getmany(
                    tp, timeout_ms=READ_TIMEOUT_MS, max_records=MAX_RECORDS
                )
                # The position passes transaction markers, which carry no record.
                next_offset = await consumer.position(tp)
                await self.forward(going, tp, fetched.get(tp, []), next_offset)
                if going.forwarded[0] > next_offset:
                    # The fold has come by.
                    consumer.seek(tp, going.forwarded[0])

    async def forward(
        self, going: Going, tp: TopicPartition, records: list[RawRecord], next_offset: int
    ) -> None:
        """Forward what is in records up to an offset, and tell how far that is."""
        batch = RecordBatch([records], tp, going.forwarded[0], next_offset, 0)
        shared, work = going.shared, decoding_of(going.number)
        if records and going.wants_care(tp, going.forwarded[0]):
            failed = await shared.first_failure([partial(_decode, going, batch)])
            if failed is not None:
                raise NotReadAhead(failed.reason)
        while going.forwarded[0] < next_offset and not going.life.is_given_up():
            portion = Portion(batch, *going.forwarded)
            judging = Judging.by(shared.definitions)
            await shared.turns.run(work, portion.decode(shared, going.number, judging))
            # What is at home is folded when the partition goes on.
            portion.runs(shared.homes, going.number)
            forwarding = portion.forward(self._forwarder, going.forwards, going.forwarded[0])
            await shared.turns.watched(work, forwarding)
            # Forwards of a batch that stands still come first.
            await going.forwards.settle(going.forwards.count)
            going.note_forwarded(portion.next_offset, portion.append_time_ms)
            _tell(going)
            if portion.waits_past_ms is not None:
                await going.life.definitions_past(portion.waits_past_ms)


def _is_waited_for(going: Going) -> bool:
    return going.shared.progress.is_waited_for(going.number, going.forwarded[1])


def _tell(going: Going) -> None:
    """Tell how far it is forwarded; how far it is folded its flushes tell."""
    told = going.shared.progress.of(going.number)
    if told is not None:
        going.shared.reports.tell(going.reported(told))


async def _first_of(*events: asyncio.Event) -> None:
    """Wait until one of these is set."""
    waits = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


@asynccontextmanager
async def _reader(going: Going) -> AsyncIterator[tuple[Consumer, TopicPartition]]:
    settings = going.shared.settings
    tp = TopicPartition(settings.topic(settings.raw_topic), going.number)
    reader = plain_consumer(settings, 2 * RAW_MESSAGE_BYTES, READ_TIMEOUT_MS)
    async with started(reader) as consumer:
        consumer.assign([tp])
        consumer.seek(tp, going.forwarded[0])
        yield consumer, tp


def _decode(going: Going, batch: RecordBatch) -> None:
    """Decode a batch to its end, for nothing but to see whether that ends the process."""
    judging, place, whole = Judging.by(going.shared.definitions), going.forwarded, False
    while not whole:
        portion = Portion(batch, *place)
        drained(portion.decode(going.shared, going.number, judging))
        if portion.waits_past_ms is not None:
            return
        place, whole = (portion.next_offset, portion.append_time_ms), portion.whole
