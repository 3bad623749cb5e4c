"""A node of a cluster of three killed, whatever it leads (fault-matrix F5)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from app.settings import Settings
from app.stack.kafka import LocalKafka
from app.topics import admin_client
from tests.faults.cluster import cluster
from tests.faults.load import EVENTS_PER_S, folded, load, prove, supervised, world_on
from tests.live.worker import WorkerProcess, worker_process
from tests.live.world import SCALE

pytestmark = [pytest.mark.servers, pytest.mark.slow]

GOES_ON_S = 30.0
"""Within so many seconds after a node is gone, events are folded again."""
ROUNDS = SCALE


@pytest.fixture
async def brokers(tmp_path: Path) -> AsyncIterator[dict[int, LocalKafka]]:
    """Three, for this test alone."""
    async with cluster(tmp_path / "kafka") as running:
        yield running


@pytest.fixture
def cluster_settings(live_settings: Settings, brokers: dict[int, LocalKafka]) -> Settings:
    """Every topic has three copies."""
    addresses = tuple(broker.address for broker in brokers.values())
    return live_settings.model_copy(
        update={"kafka_bootstrap_servers": addresses, "replication_factor": len(brokers)}
    )


async def test_each_node_is_killed_and_one_stays_away(
    cluster_settings: Settings, brokers: dict[int, LocalKafka], tmp_path: Path
) -> None:
    raw = cluster_settings.topic(cluster_settings.raw_topic)
    async with (
        worker_process(cluster_settings, tmp_path) as worker,
        world_on(cluster_settings, worker.url) as world,
    ):
        led: set[int] = set()
        turns = [*brokers.items()] * ROUNDS
        async with supervised(worker), load(world):
            await asyncio.sleep(1)
            for turn, (node, broker) in enumerate(turns, 1):
                led |= await _partitions_led_by(node, cluster_settings, raw)
                broker.kill()
                await _goes_on(worker)
                if turn < len(turns):
                    await broker.start()
                    await _all_in_sync(cluster_settings)
        assert led == set(range(cluster_settings.raw_partitions)), "each leader was killed"
        assert sum(broker.process.is_running() for broker in brokers.values()) == len(brokers) - 1
        world.api.url = worker.url
        await prove(world, tmp_path)


async def _goes_on(worker: WorkerProcess) -> None:
    """Until a second's worth of events is folded while the node is away."""
    before: float | None = None
    until_s = time.monotonic() + GOES_ON_S
    while time.monotonic() < until_s:
        try:
            total = await folded(worker)
        except (aiohttp.ClientError, OSError):
            # It may have ended, and be starting again: then it counts from 0.
            before = 0.0
        else:
            before = total if before is None else min(before, total)
            if total > before + EVENTS_PER_S:
                return
        await asyncio.sleep(0.2)
    raise AssertionError(f"nothing is folded:\n{await worker.stuck_at()}")


async def _partitions_led_by(node: int, settings: Settings, topic: str) -> set[int]:
    async with admin_client(settings) as admin:
        (described,) = await admin.describe_topics([topic])
    return {each["partition"] for each in described["partitions"] if each["leader"] == node}


async def _all_in_sync(settings: Settings) -> None:
    """Until every copy of everything is whole: one more node may go."""
    async with asyncio.timeout(GOES_ON_S):
        while True:
            async with admin_client(settings) as admin:
                topics = await admin.describe_topics()
            copies = [len(each["isr"]) for topic in topics for each in topic["partitions"]]
            if min(copies) == len(settings.kafka_bootstrap_servers):
                return
            await asyncio.sleep(0.2)
