"""SIGKILL of the worker, wherever it happens (faults F1, F14)."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from app.failpoints import NAMES
from app.settings import Settings
from tests.world.live.load import load, prove, world_on
from tests.world.live.producer import event_key, foreign_producer
from tests.world.live.worker import WorkerProcess, worker_process
from tests.world.live.world import SCALE

pytestmark = [pytest.mark.servers, pytest.mark.slow]

KILLS = 2 * SCALE


async def test_random_kills(live_settings: Settings, tmp_path: Path) -> None:
    times = random.Random(7)
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        async with load(world) as traffic:
            for _ in range(KILLS):
                await asyncio.sleep(times.uniform(0.3, 2.5))
                await worker.kill()
                await worker.start()
        assert traffic.sent > 0
        world.api.url = worker.url
        await prove(world, tmp_path)


async def test_failpoints(live_settings: Settings, tmp_path: Path) -> None:
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        async with load(world):
            for name in NAMES:
                await worker.kill()
                await worker.start(failpoint=f"{name}:3")
                await _send_what_is_refused(live_settings)
                await _dies(worker, name)
        await worker.start()
        world.api.url = worker.url
        await prove(world, tmp_path)


async def _dies(worker: WorkerProcess, name: str) -> None:
    code = await worker.wait()
    assert code == -9, (name, code, worker.tail())


async def _send_what_is_refused(settings: Settings) -> None:
    async with foreign_producer(settings) as producer:
        for number in range(10):
            key = event_key(f"sub-{number}")
            await producer.send_and_wait(settings.topic(settings.raw_topic), b"{broken", key=key)
