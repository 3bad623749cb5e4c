"""`meter worker --workers 2`: two workers of one parent, on one port."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path

import aiohttp
import psutil
import pytest

from app.settings import Settings
from tests.world import bodies
from tests.world.live.api import Api
from tests.world.live.worker import ROOT, environment_of
from tests.world.live.world import Months
from tests.world.waiting import PATIENCE_S, eventually, until

pytestmark = pytest.mark.servers

NAMES = [f"sub-{number}" for number in range(6)]
UP = 'meter_worker_up{{worker="{}"}} {}'


@asynccontextmanager
async def parent_of_two(settings: Settings, log_file: Path) -> AsyncIterator[Process]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("METER_")},
        **environment_of(settings),
        "METER_HTTP_PORT": str(settings.http_port),
        "METER_STATE_DIR": str(settings.state_dir),
        "METER_GROUP_INSTANCE_ID": "pair",
    }
    with log_file.open("wb") as log:
        parent = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "app", "worker", "--workers", "2"),
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield parent
    finally:
        if parent.returncode is None:
            parent.kill()


def children_of(parent: Process) -> list[psutil.Process]:
    """The workers, in the order in which they were started."""
    found = psutil.Process(parent.pid).children()
    workers = [each for each in found if "spawn_main" in " ".join(each.cmdline())]
    return sorted(workers, key=lambda each: each.create_time())


class Shared:
    """The port of both, asked by a new connection each time, so that either answers."""

    def __init__(self, url: str):
        self.url = url

    async def get(self, path: str) -> tuple[int, str]:
        """Status and text; (0, "") if whoever was asked has just ended."""
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self.url}{path}") as answer,
            ):
                return answer.status, await answer.text()
        except aiohttp.ClientError:
            return 0, ""

    async def is_ready(self) -> bool:
        return (await self.get("/health/ready"))[0] == 200

    async def up(self) -> tuple[bool, bool]:
        """Whether the metrics tell of both workers that they answer."""
        lines = (await self.get("/metrics"))[1].splitlines()
        return UP.format(1, 1) in lines, UP.format(2, 1) in lines

    async def units(self) -> list[Decimal | None]:
        """Units of each subscription, asked one by one."""
        found = []
        for name in NAMES:
            try:
                async with Api(self.url) as api:
                    found.append((await api.units("acme", name)).get("calls"))
            except aiohttp.ClientError:
                found.append(None)
        return found

    async def send(self, batch: str) -> None:
        async with Api(self.url) as api:
            for name in NAMES:
                await api.send(name, f"{batch}-{name}", "calls")


async def define(url: str) -> None:
    async with Api(url) as api:
        await api.make_metric("calls", "count_agg")
        await api.make_plan("plan", [bodies.charge("calls")])
        for name in NAMES:
            await api.subscribe(name, "plan", "acme", subscription_at=Months().named(2))


async def test_two_workers_of_one_parent_answer_as_one(
    live_settings: Settings, tmp_path: Path
) -> None:
    shared = Shared(f"http://127.0.0.1:{live_settings.http_port}")
    log_file = tmp_path / "parent.log"
    async with parent_of_two(live_settings, log_file) as parent:
        await eventually(shared.is_ready, True)
        await define(shared.url)
        await shared.send("first")
        await eventually(shared.units, [Decimal(1)] * len(NAMES))
        await eventually(shared.up, (True, True))
        _, told = await shared.get("/metrics")
        for number in (1, 2):
            assert f'meter_kafka_up{{worker="{number}"}} 1.0' in told
        assert told.count("# TYPE meter_kafka_up ") == 1

        # What is not flushed yet is folded again after a kill, and shown only then.
        await asyncio.sleep(2 * live_settings.flush_interval_s)
        children_of(parent)[1].kill()
        await until(lambda: "ended with -9 and is started again" in log_file.read_text())
        seen: list[Decimal | None] = [None]
        while None in seen:
            seen = await shared.units()
            assert set(seen) <= {None, Decimal(1)}
        await eventually(shared.up, (True, True))
        await eventually(shared.is_ready, True)
        assert len(children_of(parent)) == 2
        await shared.send("second")
        await eventually(shared.units, [Decimal(2)] * len(NAMES))

        children = children_of(parent)
        parent.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            assert await parent.wait() == 0, log_file.read_text()
        assert not any(each.is_running() for each in children)
