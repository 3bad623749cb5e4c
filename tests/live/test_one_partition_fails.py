"""A partition that fails is restored and delivered again; the process and the others go on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from app.main import Worker
from app.settings import Settings
from tests.world.live.load import load, prove, world_on
from tests.world.waiting import PATIENCE_S

pytestmark = pytest.mark.servers


async def test_each_partition_fails_under_load(
    live_settings: Settings, worker: Worker, tmp_path: Path
) -> None:
    engine, pid = worker.engine, os.getpid()
    async with world_on(live_settings, worker.url) as world:
        async with load(world):
            await asyncio.sleep(1)
            for number in range(live_settings.raw_partitions):
                others = {n: each for n, each in engine.owned.items() if n != number}
                before = engine.brokers.restores
                failed = engine.owned[number]
                engine.ownership.fail(failed, RuntimeError("as from any defect"))
                async with asyncio.timeout(PATIENCE_S):
                    while engine.owned.get(number) in (None, failed):
                        await asyncio.sleep(0.05)
                assert engine.brokers.restores == before + 1
                assert all(engine.owned[n] is each for n, each in others.items())
                await asyncio.sleep(0.5)
        assert (os.getpid(), engine.failure) == (pid, None)
        await prove(world, tmp_path)
