"""Topics changed under the program: it refuses loudly (fault-matrix F16, F17)."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, RecordsToDelete

from app.settings import Settings
from app.topics import admin_client
from tests.faults.load import load, world_on
from tests.live.api import eventually, text_of
from tests.live.foreign import foreign_producer
from tests.live.worker import worker_process
from tests.live.world import Traffic

pytestmark = [pytest.mark.servers, pytest.mark.slow]


async def test_more_partitions_are_refused_with_a_way_to_migrate(
    live_settings: Settings, tmp_path: Path
) -> None:
    raw, count = live_settings.topic(live_settings.raw_topic), live_settings.raw_partitions
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        async with load(world):
            await asyncio.sleep(1)
        await worker.stop()
        async with admin_client(live_settings) as admin:
            await admin.create_partitions({raw: NewPartitions(count + 1)})
        worker.launch()
        assert await worker.wait() != 0
        assert f"Topic {raw} has {count + 1} partitions" in worker.tail()
        assert "To migrate: stop the producers" in worker.tail()


async def test_unread_events_that_retention_took_stop_the_worker(
    live_settings: Settings, tmp_path: Path
) -> None:
    raw = live_settings.topic(live_settings.raw_topic)
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        traffic = Traffic(world)
        async with foreign_producer(live_settings) as producer:
            await traffic.send(300, producer)
            await world.is_counted()
            assert await worker.stop() == 0, worker.tail()
            await traffic.send(300, producer)
        async with admin_client(live_settings) as admin:
            # -1: everything that is there.
            await admin.delete_records({TopicPartition(raw, 0): RecordsToDelete(-1)})
        # It tells what is wrong for as long as a scrape needs, then ends.
        await worker.start()
        await eventually(lambda: _says(f"{worker.url}/metrics", "meter_offsets_lost 1.0"), True)
        assert await _says(f"{worker.url}/health/ready", "the worker stops")
        assert await worker.wait() != 0
        assert f"{raw} partition 0 begins at offset" in worker.tail()
        assert "are not folded yet" in worker.tail()


async def _says(url: str, text: str) -> bool:
    return text in await text_of(url)
