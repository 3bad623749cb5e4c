"""Redis lost, emptied or stalled: filled in again, never a wrong count (faults F8)."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import signal
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import OutOfMemoryError

from app.local_servers.redis import LocalRedis
from app.settings import Settings
from tests.world.live.consumer import read_ledger
from tests.world.live.load import load, prove, world_on
from tests.world.live.paused import pause, resume
from tests.world.live.producer import encoded, event_key, foreign_producer, raw_event
from tests.world.live.worker import WorkerProcess, worker_process
from tests.world.live.world import CUSTOMER, SCALE, World
from tests.world.waiting import eventually

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
            pause(own_redis.process)
            await asyncio.sleep(STALL_S)
            resume(own_redis.process)
            await asyncio.sleep(1)
            assert worker.is_running(), worker.tail()
        world.api.url = worker.url
        await prove(world, tmp_path)


async def test_redis_goes_back_runs_full_and_evicts(
    redis_settings: Settings, own_redis: LocalRedis, tmp_path: Path
) -> None:
    """The worker runs on through all of it."""
    async with (
        worker_process(redis_settings, tmp_path) as worker,
        world_on(redis_settings, worker.url) as world,
        Redis.from_url(own_redis.url, decode_responses=True) as redis,
    ):
        async with load(world):
            await asyncio.sleep(1)
            own_redis.kill()
            shutil.copytree(own_redis.directory, tmp_path / "backup")
            await own_redis.start()
            await asyncio.sleep(2)
            own_redis.kill()
            shutil.rmtree(own_redis.directory)
            shutil.copytree(tmp_path / "backup", own_redis.directory)
            await own_redis.start()
            await eventually(lambda: told(worker, "are filled in from their changelog"), True)

            await redis.config_set("maxmemory", 1)
            with pytest.raises(OutOfMemoryError):
                await redis.set("anything", "at all")
            await asyncio.sleep(2)
            await redis.config_set("maxmemory", 0)
            await asyncio.sleep(1)

            await redis.config_set("maxmemory-policy", "allkeys-random")
            for _ in range(2):
                await has_evicted(redis)
            await eventually(lambda: has_evicted(redis), True)
            await redis.config_set("maxmemory", 0)
            await asyncio.sleep(1)
            assert worker.is_running(), worker.tail()
        await prove(world, tmp_path)


async def has_evicted(redis: Any) -> bool:
    """Give it less than it needs for a second; return whether any keys went by now."""
    used = (await redis.info("memory"))["used_memory"]
    await redis.config_set("maxmemory", used - 4_000)
    await asyncio.sleep(1)
    return bool((await redis.info("stats"))["evicted_keys"])


async def told(worker: WorkerProcess, text: str) -> bool:
    """Whether the worker has logged it."""
    return text in worker.said()


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


async def test_a_partition_that_waits_for_redis_holds_up_no_other(
    redis_settings: Settings, own_redis: LocalRedis, tmp_path: Path
) -> None:
    async with (
        worker_process(redis_settings, tmp_path) as worker,
        world_on(redis_settings, worker.url) as world,
        sender(world) as send,
    ):
        waiting, other = (next(n for n in world.names if home(n) == at) for at in (0, 1))
        await send(waiting, "users", 0, user="a")
        await world.is_counted()
        # After a restart nothing is at hand: the member has to be looked up.
        assert await worker.stop() == 0, worker.tail()
        await worker.start()
        world.api.url = worker.url
        await world.is_counted()
        pause(own_redis.process)
        try:
            await send(waiting, "users", 0, user="b")
            await asyncio.sleep(3)
            for number in range(40):
                # At home, and behind what waits.
                await send(other, "calls", number % 2)
            await eventually(lambda: counted(world, other, "calls"), 40)
            status, _ = await world.api.call_when_available("DELETE", f"/subscriptions/{other}")
            assert status == 200
            await eventually(lambda: completed(world, other), True, every_s=0.5)
            await eventually(lambda: counted(world, waiting, "users"), 1)
        finally:
            resume(own_redis.process)
        await eventually(lambda: counted(world, waiting, "users"), 2)
        world.names.remove(other)
        await world.terminate()
        ledger = await world.equals_a_batch(tmp_path)
        assert ledger.repeats == 0


async def test_partitions_are_taken_over_while_redis_is_away(
    redis_settings: Settings, own_redis: LocalRedis, tmp_path: Path
) -> None:
    async with (
        worker_process(redis_settings, tmp_path, "dies") as dies,
        worker_process(redis_settings, tmp_path, "stays", tmp_path / "stays") as stays,
        world_on(redis_settings, stays.url) as world,
        sender(world) as send,
    ):
        for name in world.names:
            await send(name, "users", 0, user="a")
        await world.is_counted()
        pause(own_redis.process)
        try:
            await dies.kill()
            for name in world.names:
                await send(name, "calls", 0)
            for at in range(3):
                name = next(name for name in world.names if home(name) == at)
                await eventually(partial(counted, world, name, "calls"), 1)
            for name in world.names:
                await send(name, "users", 0, user="b")
        finally:
            resume(own_redis.process)
        for name in world.names:
            await eventually(partial(counted, world, name, "users"), 2)
        await world.terminate()
        ledger = await world.equals_a_batch(tmp_path)
        assert ledger.repeats == 0


async def counted(world: World, name: str, code: str) -> int:
    """Units of a metric."""
    return int((await world.api.units(CUSTOMER, name)).get(code, 0))


async def completed(world: World, name: str) -> bool:
    """Whether the running month of a subscription is published."""
    ledger = await read_ledger(world.settings)
    return (name, world.months.named(2)) in ledger.completions()


def home(name: str) -> int:
    """Its partition, of three."""
    return zlib.crc32(event_key(name)) % 3


Send = Callable[..., Awaitable[None]]


@asynccontextmanager
async def sender(world: World) -> AsyncIterator[Send]:
    """Sends one event of now: (subscription, code, partition, **properties)."""
    producer, numbers = foreign_producer(world.settings), itertools.count()
    topic = world.settings.topic(world.settings.raw_topic)

    async def send(name: str, code: str, partition: int, **properties: str) -> None:
        at_s = world.months.now_ms // 1000
        event = raw_event(name, f"e{next(numbers)}", code, at_s, **properties)
        await producer.send_and_wait(topic, encoded(event), partition=partition)

    await producer.start()
    try:
        yield send
    finally:
        await producer.stop()


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
