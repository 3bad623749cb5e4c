"""Brokers away for long (faults F5, bounded-work §2.2): nothing ends, nothing is restored.

For 60 s and longer: `python -m tests.faults.outages --of one`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from app.local_servers.kafka import LocalKafka
from app.settings import Settings
from tests.faults.outages import frozen, killed, through, through_at
from tests.world.live.load import load, prove, world_on
from tests.world.live.worker import WorkerProcess, worker_process
from tests.world.live.world import World

pytestmark = [pytest.mark.servers, pytest.mark.slow]

AWAY_S = 8.0
"""Longer than the session of a worker of these tests, and than it takes to call Kafka lost."""
AT_MOST_S = 60.0
"""On a busy machine an outage lasts until it was noticed and refused a request."""


async def refused(world: World, worker: WorkerProcess) -> None:
    """Once the brokers are known to be away, a POST says when to come again."""
    while "Kafka lost: no answer" not in worker.log_file.read_text():
        await asyncio.sleep(0.1)
    event = {
        "transaction_id": f"away-{time.monotonic_ns()}",
        "external_subscription_id": world.names[0],
        "code": "nothing",
    }
    headers = {"Authorization": "Bearer local-key"}
    url = f"{world.api.url}/api/v1/events"
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, json={"event": event}, headers=headers) as response,
    ):
        assert response.status == 503, await response.text()
        assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("outage", [frozen, killed], ids=lambda outage: outage.__name__)
async def test_brokers_away_end_nothing(
    live_settings: Settings,
    local_kafka: LocalKafka,
    tmp_path: Path,
    outage: Callable[[Collection[LocalKafka], float], Coroutine[Any, Any, None]],
) -> None:
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):

        async def refusing() -> None:
            away = asyncio.create_task(outage([local_kafka], AT_MOST_S))
            await asyncio.gather(asyncio.sleep(AWAY_S), refused(world, worker))
            away.cancel()
            with suppress(asyncio.CancelledError):
                await away

        async with load(world):
            await asyncio.sleep(2)
            await through(outage.__name__, refusing, worker)
            await asyncio.sleep(2)
        text = worker.log_file.read_text()
        assert "Kafka lost: no answer from 1 of 1 brokers for 5 s" in text
        assert "Kafka back after" in text
        await prove(world, tmp_path)


# `make chaos` plays all places, and for longer.
@pytest.mark.parametrize("place", ["mid-commit", "between-cut-flushes"])
async def test_the_broker_goes_in_the_middle_of(
    live_settings: Settings, local_kafka: LocalKafka, tmp_path: Path, place: str
) -> None:
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        async with load(world):
            await through_at(place, worker, local_kafka, AWAY_S)
        world.api.url = worker.url
        await prove(world, tmp_path)
