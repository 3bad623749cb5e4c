"""A partition that fails is restored and delivered again; the process and the others go on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from app.main import Worker
from app.runtime.partition import ahead
from app.runtime.restoring.restore import restore
from app.settings import Settings
from tests.world.live.load import load, prove, world_on
from tests.world.waiting import PATIENCE_S, until

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


async def test_what_lies_there_for_others_is_forwarded_while_it_is_restored(
    live_settings: Settings, worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And beside the folds of all others, as if a cut waited for each of them all the time."""
    engine, may_restore = worker.engine, asyncio.Event()

    async def slow(*told: Any) -> Any:
        await may_restore.wait()
        return await restore(*told)

    monkeypatch.setattr(ahead, "LOOKS_S", 0.1)
    monkeypatch.setattr(ahead, "_is_waited_for", lambda _: True)
    monkeypatch.setattr("app.runtime.restoring.restorer.restore", slow)
    async with world_on(live_settings, worker.url) as world:
        async with load(world):
            await until(lambda: engine.progress.append_time_ms(0) > 0)
            engine.ownership.fail(engine.owned[0], RuntimeError("as from any defect"))
            told_ms = engine.progress.append_time_ms(0)
            await until(lambda: engine.progress.append_time_ms(0) > told_ms + 1_000)
            assert 0 not in engine.owned
            may_restore.set()
            await until(lambda: 0 in engine.owned)
        await prove(world, tmp_path)
