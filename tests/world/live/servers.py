"""The real servers of a test session, and settings that point at them."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
from _pytest.fixtures import SubRequest

from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.settings import Settings


class MakeSettings(Protocol):
    """Settings of the test profile with `overrides`; starts no server."""

    def __call__(self, **overrides: Any) -> Settings: ...


ENDS: list[Callable[[], object]] = []
"""Each ends one of the session's servers that run; a test that asks for it then starts another."""


@pytest.fixture(scope="session")
async def local_kafka(
    request: SubRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalKafka]:
    """The session's broker. A test that kills it starts it again before it ends."""
    properties = {
        "log.cleaner.backoff.ms": "500",
        "log.retention.check.interval.ms": "1000",
        "log.segment.delete.delay.ms": "1000",
    }
    async with LocalKafka(tmp_path_factory.mktemp("kafka"), properties=properties) as kafka:
        ENDS.append(partial(request._fixturedef.finish, request))
        yield kafka
        # Nobody reads its files any more. An orderly end writes those of each partition.
        kafka.kill()


@pytest.fixture(scope="session")
async def local_redis(
    request: SubRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[LocalRedis]:
    """The session's Redis. A test that kills it starts it again before it ends."""
    async with LocalRedis(tmp_path_factory.mktemp("redis")) as redis:
        ENDS.append(partial(request._fixturedef.finish, request))
        yield redis


@pytest.fixture
def kafka(local_kafka: LocalKafka) -> str:
    """Bootstrap servers of the session's broker, `host:port`."""
    return local_kafka.bootstrap_servers


@pytest.fixture
def redis_url(local_redis: LocalRedis) -> str:
    """URL of the session's Redis."""
    return local_redis.url


@pytest.fixture
def topic_prefix() -> str:
    """A prefix no other test has: its topics and groups are a test's own."""
    return f"t{uuid.uuid4().hex[:10]}-"


@pytest.fixture
def make_settings(topic_prefix: str, tmp_path: Path) -> MakeSettings:
    """A factory of `Settings`; local state goes to the test's own directory."""

    def make(**overrides: Any) -> Settings:
        defaults: dict[str, Any] = {
            "profile": "test",
            "topic_prefix": topic_prefix,
            "state_dir": tmp_path / "state",
        }
        return Settings(**(defaults | overrides))

    return make


@pytest.fixture
def make_served(
    make_settings: MakeSettings, local_kafka: LocalKafka, local_redis: LocalRedis
) -> MakeSettings:
    """A factory of `Settings` that point at the session's real Kafka and Redis."""
    return partial(
        make_settings,
        kafka_bootstrap_servers=local_kafka.bootstrap_servers,
        kafka_dir=local_kafka.directory,
        redis_url=local_redis.url,
    )


@pytest.fixture
def settings(make_served: MakeSettings) -> Settings:
    """Settings of a worker on them."""
    return make_served()


REVISE_EVERY_S = 2


@pytest.fixture
def live_settings(make_served: MakeSettings) -> Settings:
    """Three partitions, quick and small flushes, late events published after seconds."""
    (port,) = free_ports(1)
    return make_served(
        http_port=port,
        raw_partitions=3,
        flush_interval_s=0.3,
        flush_max_changes=5,
        revise_every_s=REVISE_EVERY_S,
    )
