"""Forward events of others while a partition waits for Redis: it cannot fold, but they can.

A reader of its own goes on where the last batch ended, forwards, and reports the progress that
others close by. Once the partition folds again it forwards what it cannot know to be acknowledged
once more; the homes have it already and pass over it.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from app.definitions.judging import Judging
from app.kafka.clients import NOT_TAKEN, Consumer, started
from app.kafka.names import TopicPartition
from app.kafka.record_batch import RawRecord, RecordBatch
from app.kafka.topics import RAW_MESSAGE_BYTES
from app.log import facts
from app.runtime.partition.forwarder import Forwarder
from app.runtime.partition.owned import OwnedPartition
from app.runtime.partition.portion import Portion, decoding_of

READ_TIMEOUT_MS = 500
MAX_RECORDS = 1_000

log = logging.getLogger(__name__)


async def forward_while_stalled(owned: OwnedPartition, forwarder: Forwarder) -> None:
    """Forward whenever the partition stands still, until cancelled."""
    while True:
        await owned.stalled.wait()
        try:
            await _while_stalled(owned, forwarder)
        except NOT_TAKEN as error:
            text, extra = (
                "Nothing is forwarded ahead yet: %r",
                facts("note", partition=owned.number),
            )
            log.warning(text, error, extra=extra)
            await owned.shared.brokers.pause(0)


async def _while_stalled(owned: OwnedPartition, forwarder: Forwarder) -> None:
    async with _reader(owned) as (consumer, tp):
        while owned.stalled.is_set():
            fetched = await consumer.getmany(
                tp, timeout_ms=READ_TIMEOUT_MS, max_records=MAX_RECORDS
            )
            # The position passes transaction markers, which carry no record.
            next_offset = await consumer.position(tp)
            await _forward(owned, forwarder, tp, fetched.get(tp, []), next_offset)


@asynccontextmanager
async def _reader(owned: OwnedPartition) -> AsyncIterator[tuple[Consumer, TopicPartition]]:
    settings = owned.shared.settings
    tp = TopicPartition(settings.topic(settings.raw_topic), owned.number)
    reader = Consumer(
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=2 * RAW_MESSAGE_BYTES,
        **settings.kafka_options(),
    )
    async with started(reader) as consumer:
        consumer.assign([tp])
        consumer.seek(tp, owned.forwarded[0])
        yield consumer, tp


async def _forward(
    owned: OwnedPartition,
    forwarder: Forwarder,
    tp: TopicPartition,
    records: list[RawRecord],
    next_offset: int,
) -> None:
    batch = RecordBatch(records, tp, owned.forwarded[0], next_offset, 0)
    turns, work = owned.shared.turns, decoding_of(owned)
    while owned.forwarded[0] < next_offset and not owned.abandoned:
        portion = Portion(batch, *owned.forwarded)
        judging = Judging.by(owned.shared.definitions)
        await turns.run(work, portion.decode(owned.shared, owned.number, judging))
        # What is at home is folded when the partition goes on.
        portion.runs(owned.shared.homes, owned.number)
        await turns.watched(work, portion.forward(owned, forwarder))
        # Forwards of the batch that stands still come first.
        await owned.forwards.settle(owned.forwards.count)
        owned.note_forwarded(portion.next_offset, portion.append_time_ms)
        owned.shared.reports.tell(owned.cuts.progress(*owned.forwarded))
        if portion.waits_past_ms is not None:
            await owned.life.definitions_past(portion.waits_past_ms)
