"""A worker with one subscription, and the command line pointed at it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from click.testing import CliRunner, Result

from app.cli.main import cli
from app.local_servers.ports import free_ports
from app.main import Worker, running_worker
from tests.world import bodies
from tests.world.live.api import KEY, Api, api_of
from tests.world.live.servers import MakeSettings
from tests.world.live.worker import SESSIONS
from tests.world.waiting import until

DAY_S = 86_400

Meter = Callable[..., Awaitable[Result]]
"""Runs `meter` with these words against the worker, in a thread."""


@pytest.fixture
async def worker(make_served: MakeSettings) -> AsyncIterator[Worker]:
    """A worker that owns its partitions."""
    (port,) = free_ports(1)
    settings = make_served(
        http_port=port,
        raw_partitions=2,
        flush_interval_s=0.3,
        implicit_plan=True,
    )
    async with running_worker(settings, **SESSIONS) as worker:
        await until(lambda: not worker.gateway.not_ready(), every_s=0.1)
        yield worker


@pytest.fixture
async def api(worker: Worker) -> AsyncIterator[Api]:
    """Its API, with a metric, a plan, and a subscription since two months ago."""
    async with api_of(worker.url) as api:
        regions = [{"key": "region", "values": ["eu", "us"]}]
        await api.make_metric("storage", "sum_agg", field_name="gb", filters=regions)
        filters = [{"properties": {"amount": "0"}, "values": {"region": ["eu"]}}]
        await api.make_plan("plan", [bodies.charge("storage", filters=filters)])
        started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 61 * DAY_S))
        await api.subscribe("sub/1", "plan", "acme [big]", subscription_at=started)
        for number, region in enumerate(("eu", "us")):
            gb = f"{number + 1}.00000000000000000001"
            await api.send("sub/1", f"t{number}", "storage", gb=gb, region=region)
        yield api


@pytest.fixture
def meter(worker: Worker) -> Meter:
    """The command line, with this worker's address and key in the environment."""

    async def run(*words: str, **environment: str) -> Result:
        runner = CliRunner(env={"METER_HTTP_PORT": str(worker.settings.http_port)} | environment)
        return await asyncio.to_thread(runner.invoke, cli, [*words])

    assert worker.settings.api_keys[0].key.get_secret_value() == KEY
    return run
