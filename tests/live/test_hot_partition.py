"""A worker measures what comes to its partitions; the next one is given its share by that."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.main import Worker, running_worker
from app.runtime import loads
from app.settings import Settings
from tests.world.live.api import Api
from tests.world.live.load import load, prove
from tests.world.live.worker import SESSIONS
from tests.world.live.world import World
from tests.world.waiting import until

pytestmark = pytest.mark.servers


async def test_a_partition_that_has_all_events_has_a_worker_to_itself(
    live_settings: Settings,
    worker: Worker,
    api: Api,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nobody wants to wait for a minute here.
    monkeypatch.setattr(loads, "KNOWN_AFTER_S", 5.0)
    world = World(live_settings, api, 1)
    await world.define()
    first, numbers = worker.engine, set(range(live_settings.raw_partitions))
    async with load(world):
        # One whose load is not known yet counts as any other.
        await until(
            lambda: (
                first.ownership.loads().keys() == numbers and any(first.ownership.loads().values())
            )
        )
        (hot,) = [number for number, load in first.ownership.loads().items() if load]
        other = live_settings.model_copy(update={"http_port": 0, "state_dir": tmp_path / "second"})
        async with running_worker(other, **SESSIONS) as worker_too:
            second = worker_too.engine

            await until(
                lambda: (
                    {frozenset(engine.owned) for engine in (first, second)}
                    == {frozenset({hot}), frozenset(numbers - {hot})}
                )
            )
    await prove(world, tmp_path)
