"""One worker for all clients; each has an organization of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from pydantic import SecretStr

from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.main import running_worker
from app.settings import ApiKey, Settings

CLIENTS = ("python", "surfaces", "unchanged", "javascript")


class Months(NamedTuple):
    """The running calendar month, UTC, and the one before it."""

    previous: datetime
    running: datetime

    @property
    def within_previous(self) -> datetime:
        """An instant in the middle of the previous month."""
        return self.previous + timedelta(days=10)


@pytest.fixture
def months() -> Months:
    """As of now."""
    running = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return Months((running - timedelta(days=1)).replace(day=1), running)


@pytest.fixture(scope="package")
async def worker_url(
    local_kafka: LocalKafka, local_redis: LocalRedis, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[str]:
    """A worker whose late events are published within a second or two."""
    (port,) = free_ports(1)
    settings = Settings(
        profile="test",
        topic_prefix="clients-",
        state_dir=tmp_path_factory.mktemp("clients"),
        kafka_bootstrap_servers=(local_kafka.bootstrap_servers,),
        kafka_dir=local_kafka.directory,
        redis_url=local_redis.url,
        http_port=port,
        raw_partitions=2,
        flush_interval_s=0.2,
        revise_every_s=1,
        daily_records=True,
        api_keys=tuple(
            ApiKey(organization_id=name, key=SecretStr(f"{name}-key")) for name in CLIENTS
        ),
    )
    async with running_worker(settings) as worker:
        yield worker.url
