"""A worker in the test's process, its API, and settings in which little is waited for."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.main import Worker, running_worker
from app.settings import Settings
from tests.conftest import MakeSettings
from tests.world.live.api import Api, api_of
from tests.world.live.worker import SESSIONS

REVISE_EVERY_S = 5


@pytest.fixture
def live_settings(
    make_settings: MakeSettings, local_kafka: LocalKafka, local_redis: LocalRedis
) -> Settings:
    """Three partitions, quick and small flushes, late events published after seconds."""
    (port,) = free_ports(1)
    return make_settings(
        kafka_bootstrap_servers=local_kafka.bootstrap_servers,
        kafka_dir=local_kafka.directory,
        redis_url=local_redis.url,
        http_port=port,
        raw_partitions=3,
        flush_interval_s=0.3,
        flush_max_changes=5,
        revise_every_s=REVISE_EVERY_S,
    )


@pytest.fixture
async def worker(live_settings: Settings) -> AsyncIterator[Worker]:
    """A running worker."""
    async with running_worker(live_settings, **SESSIONS) as worker:
        yield worker


@pytest.fixture
async def api(worker: Worker) -> AsyncIterator[Api]:
    """Its API."""
    async with api_of(worker.url) as api:
        yield api
