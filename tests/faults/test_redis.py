"""Redis lost, emptied or stalled: filled in again, never a wrong count (fault-matrix F8)."""

from __future__ import annotations

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from app.settings import Settings
from app.stack.redis import LocalRedis
from tests.faults.load import load, prove, world_on
from tests.live.worker import WorkerProcess, worker_process
from tests.live.world import SCALE

pytestmark = [pytest.mark.servers, pytest.mark.slow]

STALL_S = 3.0 * SCALE
TERM_S = 25.0


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[LocalRedis]:
    """A Redis for this test alone."""
    async with LocalRedis(tmp_path / "redis") as redis:
        yield redis


@pytest.fixture
def redis_settings(live_settings: Settings, own_redis: LocalRedis) -> Settings:
    """Settings that use it."""
    return live_settings.model_copy(update={"redis_url": own_redis.url})


async def test_everything_that_happens_to_redis(
    redis_settings: Settings, own_redis: LocalRedis, tmp_path: Path
) -> None:
    async with (
        worker_process(redis_settings, tmp_path) as worker,
        world_on(redis_settings, worker.url) as world,
    ):
        async with load(world):
            await asyncio.sleep(1)
            await empty(own_redis)
            await asyncio.sleep(1)
            await restart(worker, own_redis, emptied=False)
            # Nothing is at hand now: every member has to be looked up.
            await empty(own_redis)
            await asyncio.sleep(1)
            await restart(worker, own_redis, emptied=True)
            await asyncio.sleep(1)
            own_redis.process.kill()
            await asyncio.sleep(2)
            shutil.rmtree(own_redis.directory / "appendonlydir", ignore_errors=True)
            (own_redis.directory / "appendonly.aof").unlink(missing_ok=True)
            await own_redis.start()
            await asyncio.sleep(1)
            own_redis.process.pause()
            await asyncio.sleep(STALL_S)
            own_redis.process.resume()
            await asyncio.sleep(1)
            assert worker.is_running(), worker.tail()
        world.api.url = worker.url
        await prove(world, tmp_path)


async def test_a_worker_ends_in_order_without_redis(
    redis_settings: Settings, own_redis: LocalRedis, tmp_path: Path
) -> None:
    async with (
        worker_process(redis_settings, tmp_path) as worker,
        world_on(redis_settings, worker.url) as world,
    ):
        async with load(world):
            await asyncio.sleep(1)
            own_redis.process.kill()
            await asyncio.sleep(2)
            worker.signal(signal.SIGTERM)
            assert await worker.wait(TERM_S) == 0, worker.tail()
            await own_redis.start()
            await worker.start()
        world.api.url = worker.url
        await prove(world, tmp_path)


async def restart(worker: WorkerProcess, redis: LocalRedis, *, emptied: bool) -> None:
    """Kill the worker, and Redis' data if asked, and start it again."""
    await worker.kill()
    if emptied:
        await empty(redis)
    await worker.start()


async def empty(redis: LocalRedis) -> None:
    """FLUSHALL."""
    client = Redis.from_url(redis.url)
    try:
        await client.flushall()
    finally:
        await client.aclose()
