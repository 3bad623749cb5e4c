"""Somebody in a consumer group who reads topics of a worker, and is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer

from app.kafka.topics import EVENTS_REKEYED
from app.settings import Settings
from tests.world.waiting import PATIENCE_S


@asynccontextmanager
async def group_member(settings: Settings) -> AsyncIterator[None]:
    """Be in the group of an application, with partitions of its topics."""
    consumer = AIOKafkaConsumer(
        *map(settings.topic, (settings.raw_topic, EVENTS_REKEYED)),
        bootstrap_servers=settings.kafka_bootstrap_servers,
        group_id=settings.consumer_group,
    )
    await consumer.start()
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not consumer.assignment():
                await asyncio.sleep(0.1)
        yield
    finally:
        await consumer.stop()
