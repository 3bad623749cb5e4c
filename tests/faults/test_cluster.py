"""Three brokers, of which some are away (faults F5, bounded-work §2.2): no process ends.

Longer absences, and all other ways: `python -m tests.faults.outages --of three`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.local_servers.kafka import LocalKafka
from app.settings import Settings
from tests.faults.cluster import cluster
from tests.faults.outages import TOO_FEW, of_three
from tests.world.live.load import load, prove, world_on
from tests.world.live.worker import worker_process
from tests.world.live.world import SCALE

pytestmark = [pytest.mark.servers, pytest.mark.slow]

AWAY_S = min(60.0, 9.0 * SCALE)
SAMPLE = ("active controller killed", TOO_FEW)


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


async def test_brokers_of_three_are_away(
    cluster_settings: Settings, brokers: dict[int, LocalKafka], tmp_path: Path
) -> None:
    only = SAMPLE if SCALE == 1 else ()
    async with (
        worker_process(cluster_settings, tmp_path) as worker,
        world_on(cluster_settings, worker.url) as world,
    ):
        async with load(world):
            await of_three(worker, cluster_settings, brokers, AWAY_S, print, only)
        await prove(world, tmp_path)
