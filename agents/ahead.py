"""Forward ahead: what a partition that waits for Redis cannot fold yet, others get all the same.

A reader of its own goes on where the last batch ended, forwards, and reports the progress that
others close by. Once the partition folds again it forwards what it cannot know to be acknowledged
once more; the homes have it already and pass over it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiokafka import TopicPartition

from agents.forward import Forwarder
from agents.ingest import ClockAhead, latest_stamp_ms
from app.clients import Consumer, started
from app.owned import OwnedPartition, Progress
from app.topics import RAW_MESSAGE_BYTES
from app.transport import RawRecord
from app.wire.arrivals import arrivals_of
from app.wire.records import is_tick
from app.wire.refusals import Refusal

READ_TIMEOUT_MS = 500
MAX_RECORDS = 1_000

Report = Callable[[Progress], Awaitable[object]]


async def forward_ahead(owned: OwnedPartition, forwarder: Forwarder, report: Report) -> None:
    """Forward whenever the partition stands still, until cancelled."""
    while True:
        await owned.stalled.wait()
        async with _reader(owned) as (consumer, tp):
            while owned.stalled.is_set():
                fetched = await consumer.getmany(
                    tp, timeout_ms=READ_TIMEOUT_MS, max_records=MAX_RECORDS
                )
                # The position passes transaction markers, which carry no record.
                await _forward(
                    owned, forwarder, fetched.get(tp, ()), await consumer.position(tp), report
                )


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
    records: list[RawRecord],
    next_offset: int,
    report: Report,
) -> None:
    raw_next, append_time_ms = owned.forwarded
    if next_offset <= raw_next:
        return
    shared, number = owned.shared, owned.number
    default = shared.definitions.settings_at().default_organization_id
    sent: list[Awaitable[object]] = []
    latest_ms = latest_stamp_ms(shared)
    for raw in records:
        append_time_ms = max(append_time_ms, raw.timestamp)
        if append_time_ms > latest_ms:
            raise ClockAhead(number, raw.offset, append_time_ms)
        if is_tick(raw.key, raw.value, raw.headers):
            continue
        for arrived in arrivals_of(
            raw.value, raw.headers, append_time_ms, number, raw.offset, default
        ):
            if isinstance(arrived, Refusal):
                continue
            home = shared.homes.of(*arrived.name)
            if home != number:
                sent.append(await forwarder.forward(home, arrived, raw.headers))
    # Those of the batch that stands still come before.
    for forward in [*owned.forwards, *sent]:
        await forward
    owned.forwarded = (next_offset, append_time_ms)
    await report(owned.progress(*owned.forwarded))
