"""Slow, silent and broken connections to the broker (faults F7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.settings import HOST, Settings
from tests.faults.proxy import Proxy, proxy_to
from tests.world.live.load import load, prove, supervised, world_on
from tests.world.live.worker import WorkerProcess, worker_process
from tests.world.live.world import SCALE, World
from tests.world.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.slow]

LASTS_S = 2.0 * SCALE
DELAY_S = 0.05


@pytest.fixture
async def proxied(live_settings: Settings, tmp_path: Path) -> AsyncIterator[tuple[Settings, Proxy]]:
    """A broker that names the proxy as its address, so that every connection goes through it."""
    port, proxy_port = free_ports(2)
    advertised = {"advertised.listeners": f"PLAINTEXT://{HOST}:{proxy_port}"}
    async with (
        proxy_to(HOST, proxy_port, port) as proxy,
        LocalKafka(tmp_path / "kafka", port=port, properties=advertised) as kafka,
    ):
        update = {
            "kafka_bootstrap_servers": (f"{HOST}:{proxy_port}",),
            "kafka_dir": kafka.directory,
        }
        yield live_settings.model_copy(update=update), proxy
        kafka.kill()


async def _is_counted_in_the_end(worker: WorkerProcess, world: World) -> None:
    """Whoever learns late that a connection is dead ends late, and is started again."""
    async with asyncio.timeout(120):
        while True:
            await worker.until_ready(may_die=True)
            world.api.url = worker.url
            with suppress(aiohttp.ClientError):
                return await world.is_counted()
            await asyncio.sleep(0.5)


async def test_slow_silent_half_closed_and_cut(
    proxied: tuple[Settings, Proxy], tmp_path: Path
) -> None:
    settings, proxy = proxied
    async with (
        worker_process(settings, tmp_path) as worker,
        world_on(settings, worker.url) as world,
    ):
        async with supervised(worker):
            async with load(world) as traffic:
                proxy.delay_s = DELAY_S
                await asyncio.sleep(LASTS_S)
                proxy.delay_s = 0.0
                # Requests arrive and are carried out; nobody learns of it.
                proxy.answers.clear()
                await asyncio.sleep(LASTS_S)
                proxy.cut()
                proxy.answers.set()
                await asyncio.sleep(LASTS_S / 2)
                before = proxy.connections
                proxy.half_close()
                await asyncio.sleep(LASTS_S)
                await until(lambda: proxy.connections > before)
            await _is_counted_in_the_end(worker, world)
        assert traffic.sent > 0
        world.api.url = worker.url
        await prove(world, tmp_path)
