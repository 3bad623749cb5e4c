"""One victim for each file of attacks."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from app.local_servers.kafka import LocalKafka
from app.local_servers.redis import LocalRedis
from tests.attacks.victim import Victim, production, victim_on


@pytest.fixture(scope="module")
async def victim(
    request: pytest.FixtureRequest,
    local_kafka: LocalKafka,
    local_redis: LocalRedis,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Victim]:
    """A production worker of two partitions on the session's servers.

    With the `ENVIRONMENT` of the file, if it names any.
    """
    directory = tmp_path_factory.mktemp("victim")
    prefix = f"a{uuid.uuid4().hex[:10]}-"
    settings = production(
        local_kafka, local_redis, directory, topic_prefix=prefix, flush_interval_s=0.3
    )
    environment = getattr(request.module, "ENVIRONMENT", None)
    async with victim_on(settings, directory, environment) as victim:
        yield victim
