"""The broker killed, silent or without room under load (faults F5, F6): no worker ends."""

from __future__ import annotations

import asyncio
import resource
from pathlib import Path

import pytest

from app.bounds.limits import TRANSACTION_TIMEOUT_MS
from app.errors import StackError
from app.local_servers.kafka import LocalKafka
from app.settings import Settings
from tests.world.live.load import EVENTS_PER_S, load, prove, world_on
from tests.world.live.worker import WorkerProcess, worker_process
from tests.world.live.world import SCALE
from tests.world.waiting import PATIENCE_S

pytestmark = [pytest.mark.servers, pytest.mark.slow]

KILLS = SCALE
AWAY_S = 3.0 * SCALE
SILENT_S = min(60.0, 7.0 * SCALE)


async def test_broker_killed_and_started_again(
    live_settings: Settings, local_kafka: LocalKafka, tmp_path: Path
) -> None:
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        pid = worker.pid
        async with load(world):
            for _ in range(KILLS):
                await asyncio.sleep(2)
                local_kafka.process.kill()
                await asyncio.sleep(AWAY_S)
                await local_kafka.start()
                await asyncio.sleep(2)
        assert worker.is_running(), worker.tail()
        assert worker.pid == pid
        await prove(world, tmp_path)


async def test_broker_silent_for_a_while(
    live_settings: Settings, local_kafka: LocalKafka, tmp_path: Path
) -> None:
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        pid = worker.pid
        async with load(world) as traffic:
            await asyncio.sleep(1)
            local_kafka.process.pause()
            try:
                await asyncio.sleep(0.5)
                sent = traffic.sent
                await asyncio.sleep(SILENT_S)
                # Back-pressure: what is not acknowledged holds the producers up.
                assert traffic.sent - sent < EVENTS_PER_S
            finally:
                local_kafka.process.resume()
            await asyncio.sleep(1)
        assert worker.is_running(), worker.tail()
        assert worker.pid == pid
        await prove(world, tmp_path)


async def test_broker_out_of_disk(
    live_settings: Settings, local_kafka: LocalKafka, tmp_path: Path
) -> None:
    """A write fails half done, as on a full disk, and the broker ends by it."""
    raw = live_settings.topic(live_settings.raw_topic)
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        pid = worker.pid
        async with load(world) as traffic:
            await asyncio.sleep(2)
            segments = [*local_kafka.directory.glob(f"data/{raw}-*/*.log")]
            room = max(segment.stat().st_size for segment in segments) + 2_000
            broker = local_kafka.process.pid
            assert broker is not None
            resource.prlimit(broker, resource.RLIMIT_FSIZE, (room, room))
            with pytest.raises(StackError, match=r"ended by itself \(code 1\)"):
                await asyncio.wait_for(local_kafka.process.wait_ended(), PATIENCE_S)
            sent = traffic.sent
            await asyncio.sleep(AWAY_S)
            assert traffic.sent - sent < EVENTS_PER_S
            await local_kafka.start()
            await asyncio.sleep(2)
        assert traffic.acknowledged > 0
        assert worker.is_running(), worker.tail()
        assert worker.pid == pid
        await prove(world, tmp_path)


async def test_a_broker_of_short_transactions_is_refused_at_the_start(
    live_settings: Settings, tmp_path: Path
) -> None:
    properties = {"transaction.max.timeout.ms": str(TRANSACTION_TIMEOUT_MS - 1)}
    async with LocalKafka(tmp_path / "kafka", properties=properties) as kafka:
        there = {"kafka_bootstrap_servers": (kafka.address,)}
        worker = WorkerProcess(live_settings.model_copy(update=there), tmp_path)
        worker.launch()
        assert await worker.wait() != 0
    worker.look_for_url()
    assert not worker.url, "it took partitions over"
    assert "Set transaction.max.timeout.ms to at least that" in worker.said()
