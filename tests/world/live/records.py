"""Everything that is on a topic."""

from __future__ import annotations

from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from app.settings import Settings


async def records_of(settings: Settings, topic: str) -> list[Any]:
    """All committed records of a topic."""
    tps = [TopicPartition(settings.topic(topic), n) for n in range(settings.raw_partitions)]
    consumer = AIOKafkaConsumer(
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        **settings.kafka_options(),
    )
    found: list[Any] = []
    async with consumer:
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for records in (await consumer.getmany(timeout_ms=200)).values():
                found += records
    return found
