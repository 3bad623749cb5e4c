"""Several workers in one group: sharing, leaving, joining, zombies (faults F2, F3, F4)."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from app.kafka.broker_facts import group_once_coordinated
from app.kafka.topics import admin_client
from app.settings import Settings
from tests.world.live.api import Api
from tests.world.live.load import load, prove, world_on
from tests.world.live.worker import SESSION_S, WorkerProcess, worker_process
from tests.world.live.world import CUSTOMER, World
from tests.world.waiting import PATIENCE_S, eventually, until

pytestmark = [pytest.mark.servers, pytest.mark.slow]


async def test_workers_share_leave_and_join(live_settings: Settings, tmp_path: Path) -> None:
    async with (
        worker_process(live_settings, tmp_path, "first") as first,
        world_on(live_settings, first.url) as world,
    ):
        async with load(world), worker_process(live_settings, tmp_path, "second") as second:
            await answer_alike(world, first, second)
            async with worker_process(live_settings, tmp_path, "third") as third:
                await answer_alike(world, second, third)
                assert await third.stop() == 0, third.tail()
            await answer_alike(world, first, second)
            assert await first.stop() == 0, first.tail()
            world.api.url = second.url
            await answer_alike(world, second)
            await first.start()
        world.api.url = first.url
        await prove(world, tmp_path)


async def test_workers_of_another_application_are_refused_until_none_is_left(
    live_settings: Settings, tmp_path: Path
) -> None:
    renamed = live_settings.model_copy(update={"application_id": "renamed"})
    async with (
        worker_process(live_settings, tmp_path, "first") as first,
        world_on(live_settings, first.url) as world,
    ):
        heir = WorkerProcess(renamed, tmp_path, "heir")
        try:
            async with load(world):
                heir.launch()
                await until(lambda: not heir.is_running())
                assert f"Set METER_APPLICATION_ID={live_settings.application_id}" in heir.said()
                assert first.is_running(), first.tail()
                assert await first.stop() == 0, first.tail()
                await eventually(lambda: members_of(live_settings), [])
                await heir.start()
                world.api.url = heir.url
            await prove(world, tmp_path)
        finally:
            await heir.kill()


async def members_of(settings: Settings) -> list[str]:
    """The workers in the group of an application."""
    async with admin_client(settings) as admin:
        group = await group_once_coordinated(admin, settings.consumer_group)
    assert group is not None
    return group.members


async def test_a_zombie_is_fenced(live_settings: Settings, tmp_path: Path) -> None:
    """Both were given the same directory for their local state."""
    state = tmp_path / "state"
    async with (
        worker_process(live_settings, tmp_path, "zombie", state) as zombie,
        worker_process(live_settings, tmp_path, "heir", state) as heir,
        world_on(live_settings, heir.url) as world,
    ):
        async with load(world):
            await asyncio.sleep(2)
            zombie.signal(signal.SIGSTOP)
            await asyncio.sleep(2 * SESSION_S)
            await answer_alike(world, heir)
            zombie.signal(signal.SIGCONT)
            await asyncio.sleep(SESSION_S)
            if not zombie.is_running():
                await zombie.start()
            await answer_alike(world, zombie, heir)
        assert (state / "worker-2" / "index").is_dir()
        await prove(world, tmp_path)


async def answer_alike(
    world: World, *workers: WorkerProcess, timeout_s: float = PATIENCE_S
) -> None:
    """Until every one of the workers answers for every subscription, or says 503 meanwhile."""
    for worker in workers:
        async with Api(worker.url) as api:
            deadline_s = asyncio.get_running_loop().time() + timeout_s
            while True:
                answers = [await status(api, name) for name in world.names]
                assert set(answers) <= {200, 503}, answers
                if set(answers) == {200}:
                    break
                assert asyncio.get_running_loop().time() < deadline_s, (answers, worker.tail())
                await asyncio.sleep(0.2)


async def status(api: Api, name: str) -> int:
    """Of a query for current usage."""
    path = f"/customers/{CUSTOMER}/current_usage?external_subscription_id={name}"
    return (await api.call("GET", path))[0]
