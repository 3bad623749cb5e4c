"""The real servers of a test session, and settings that point at them."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from faust.tables.manager import TableManager

from app.local_servers.kafka import LocalKafka
from app.local_servers.redis import LocalRedis
from app.settings import Settings
from tests.broker_classes import java_options
from tests.world.profiles import register_profiles


class MakeSettings(Protocol):
    """Settings of the test profile with `overrides`; starts no server."""

    def __call__(self, **overrides: Any) -> Settings: ...


register_profiles()

os.environ.setdefault("JDK_JAVA_OPTIONS", java_options())

FAULTS = Path(__file__).parent / "faults"
CLUSTER = FAULTS / "test_cluster.py"
SERVERS = {"local_kafka", "local_redis"}
"""Fixtures: a test that has one of them, by whatever way, needs real servers."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With two processes: faults one after another in one of them, all else by file in the other.

    Two faults at a time would want more than two cores. The longest of them goes to the other
    process all the same: without it both end at about the same time. It comes first, for xdist
    reads the groups as soon as tests are collected.
    """
    items.sort(key=lambda item: FAULTS not in item.path.parents)
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)
        one_by_one = FAULTS in item.path.parents and item.path != CLUSTER
        group = "faults" if one_by_one else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """What the developer's shell sets must not reach a test."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ:
            if name.startswith(("METER_", "LAGO_")):
                patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_tables() -> Iterator[None]:
    """At each start Faust waits a second for tables of its own to be registered: we have none."""

    async def at_once(_: TableManager, __: float) -> None:
        await asyncio.sleep(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TableManager, "sleep", at_once)
        yield


@pytest.fixture(scope="session")
async def local_kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalKafka]:
    """The session's broker. A test that kills it starts it again before it ends."""
    properties = {
        "log.cleaner.backoff.ms": "500",
        "log.retention.check.interval.ms": "1000",
        "log.segment.delete.delay.ms": "1000",
    }
    async with LocalKafka(tmp_path_factory.mktemp("kafka"), properties=properties) as kafka:
        yield kafka


@pytest.fixture(scope="session")
async def local_redis(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalRedis]:
    """The session's Redis. A test that kills it starts it again before it ends."""
    async with LocalRedis(tmp_path_factory.mktemp("redis")) as redis:
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
def settings(
    make_settings: MakeSettings, local_kafka: LocalKafka, local_redis: LocalRedis
) -> Settings:
    """Settings that point at the session's real Kafka and Redis."""
    return make_settings(
        kafka_bootstrap_servers=local_kafka.bootstrap_servers,
        kafka_dir=local_kafka.directory,
        redis_url=local_redis.url,
    )
