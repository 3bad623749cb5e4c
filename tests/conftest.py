"""What holds for every test: its servers, its marks, and nothing from outside."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from faust.tables.manager import TableManager

from tests.world.live.broker_classes import java_options
from tests.world.live.servers import (
    kafka,
    live_settings,
    local_kafka,
    local_redis,
    make_settings,
    redis_url,
    settings,
    topic_prefix,
)
from tests.world.profiles import register_profiles

__all__ = [
    "kafka",
    "live_settings",
    "local_kafka",
    "local_redis",
    "make_settings",
    "redis_url",
    "settings",
    "topic_prefix",
]
"""Fixtures of the kit, for every suite."""

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
