"""Tail the output: keep the newest usage records and dead letters, for the page.

Only the tail of each topic is read, so that a close of a million cells costs the page nothing.
Where all partitions end is asked every second while somebody looks, and else now and then.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import msgspec

from app.kafka.clients import NOT_TAKEN, Consumer, started
from app.kafka.log_readers import log_record, plain_consumer
from app.kafka.names import ConsumerRecord, TopicPartition
from app.meter.overview import RecordView
from app.runtime.dead_letters import dead_letter_view
from app.runtime.status import Status
from app.settings import Settings

log = logging.getLogger(__name__)

EVERY_S = 1.0
UNSEEN_S = 10.0
"""How often it is read while nobody looks: the first look is at nothing older."""
READ_AFTER_A_LOOK = 10
"""Readings after each look, one a second: who keeps looking sees nothing older."""
TAIL = 20
"""Newest records read of a partition at a time."""


async def tail_output(settings: Settings, status: Status) -> None:
    """Keep `latest_records` and `dead_letters` of the status up to date until cancelled."""
    records = settings.topic(settings.usage_records_topic)
    refused = settings.topic(settings.dead_letter_topic)
    tps = [
        TopicPartition(topic, number)
        for topic in (records, refused)
        for number in range(settings.raw_partitions)
    ]
    seen = dict.fromkeys(tps, 0)
    while True:
        try:
            async with started(plain_consumer(settings)) as consumer:
                consumer.assign(tps)
                # Nothing is fetched of what has not grown.
                consumer.pause(*tps)
                while True:
                    with suppress(TimeoutError):
                        async with asyncio.timeout(UNSEEN_S):
                            await status.output_looked_at.wait()
                    looked_at = status.output_looked_at.is_set()
                    status.output_looked_at.clear()
                    for _ in range(READ_AFTER_A_LOOK if looked_at else 1):
                        found, cut = await _tail(consumer, seen)
                        note_left_out(status, found, [tp for tp in cut if tp.topic == refused])
                        show(status, records, found)
                        await asyncio.sleep(EVERY_S)
        except NOT_TAKEN:
            # The page shows what it has until the broker is back.
            await asyncio.sleep(EVERY_S)


def show(status: Status, records: str, found: list[ConsumerRecord]) -> None:
    for record in found:
        try:
            if record.topic == records:
                status.latest_records.append(record_view(record))
            else:
                status.keep_letter(dead_letter_view(log_record(record), record.partition))
        except Exception as error:
            # Whatever somebody has written there: only the page lacks it.
            log.warning("%s is not shown: %r", place_of(record), error)


def note_left_out(status: Status, found: list[ConsumerRecord], cut: list[TopicPartition]) -> None:
    """Note how new a letter may be that was passed over: as new as the oldest that was read."""
    for tp in cut:
        read = (each.timestamp for each in found if (each.topic, each.partition) == tp)
        status.note_letters_left_out(min(read, default=-1))


async def _tail(
    consumer: Consumer, seen: dict[TopicPartition, int]
) -> tuple[list[ConsumerRecord], list[TopicPartition]]:
    """Return what is new since the last call, oldest first, and of which partitions not all.

    At most `TAIL` of a partition are read.
    """
    ends = await consumer.end_offsets(list(seen))
    grown = [tp for tp, end in ends.items() if end > seen[tp]]
    found: list[ConsumerRecord] = []
    # Markers of transactions count as offsets, hence twice the tail.
    cut = [tp for tp in grown if ends[tp] - 2 * TAIL > seen[tp]]
    consumer.resume(*grown)
    for tp in grown:
        consumer.seek(tp, max(seen[tp], ends[tp] - 2 * TAIL, 0))
        while await consumer.position(tp) < ends[tp]:
            fetched = await consumer.getmany(tp, timeout_ms=200)
            found += fetched.get(tp, [])
        seen[tp] = ends[tp]
    consumer.pause(*grown)
    return sorted(found, key=lambda record: record.timestamp), cut


def place_of(record: ConsumerRecord) -> str:
    """Return topic, partition and offset."""
    return f"{record.topic}/{record.partition}/{record.offset}"


def record_view(record: ConsumerRecord) -> RecordView:
    """Return a usage record as the page shows it."""
    body: dict[str, Any] = msgspec.json.decode(record.value)
    metric = body.get("billable_metric") or {}
    return RecordView(
        organization_id=body["organization_id"],
        external_subscription_id=body["external_subscription_id"],
        type=body["type"],
        billable_metric_code=metric.get("code"),
        revision=body["revision"],
        units=body.get("units"),
        from_datetime=body["period"]["from"],
        closed_at=body["closed_at"],
        id=body["id"],
    )
