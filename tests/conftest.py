"""What holds for every test: its servers, its marks, and nothing from outside."""

from __future__ import annotations

import ast
import asyncio
import gc
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from faust.tables.manager import TableManager

from app.bounds.collecting import THRESHOLDS
from tests.world.live.broker_classes import java_options
from tests.world.live.servers import (
    ENDS,
    kafka,
    live_settings,
    local_kafka,
    local_redis,
    make_served,
    make_settings,
    redis_url,
    settings,
    topic_prefix,
)
from tests.world.parsing import parse_undisturbed
from tests.world.profiles import register_profiles

__all__ = [
    "kafka",
    "live_settings",
    "local_kafka",
    "local_redis",
    "make_served",
    "make_settings",
    "redis_url",
    "settings",
    "topic_prefix",
]
"""Fixtures of the kit, for every suite."""

register_profiles()
ast.parse = parse_undisturbed

os.environ.setdefault("JDK_JAVA_OPTIONS", java_options())

FAULTS = Path(__file__).parent / "faults"
CLUSTER = FAULTS / "test_cluster.py"
HALFWAY = FAULTS / "test_m"
"""Files of faults before it by name take about as long as those after it."""
SHARING = {"clients", "secured"}
"""Suites whose files share a server of their own beside the session's: one process starts it."""
SERVERS = {"local_kafka", "local_redis"}
"""Fixtures: a test that has one of them, by whatever way, needs real servers."""
SERVED: set[str] = set()
"""Groups of which a test needs real servers."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without the collector: nothing is let go of before the end, each walk is in vain."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With three processes: faults one after another in two of them, all else by file in the third.

    A fault mostly waits, so two at a time leave one of two cores to the rest. The cluster's three
    brokers go to the third process. xdist gives the groups out in this order: faults, then other
    files that wait for servers. What only computes comes last, for it is short and fills gaps;
    files of slow tests before others, lest one of them goes on alone at the end.
    """
    slow = set()
    for item in items:
        if SERVERS & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)
        item.add_marker(pytest.mark.xdist_group(_group(item.path)))
        if item.get_closest_marker("servers"):
            SERVED.add(_group(item.path))
        if item.get_closest_marker("slow"):
            slow.add(_group(item.path))

    def turn(item: pytest.Item) -> tuple[bool, ...]:
        group = _group(item.path)
        return not _is_fault(item.path), group not in SERVED, group not in slow

    items.sort(key=turn)


def pytest_collection_finish() -> None:
    """Let the collector pass over eleven thousand tests and all they import.

    They stay to the end. A walk over them takes two seconds, and one comes every few hundred tests.
    What is new is walked as seldom as in a worker.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """End the session's servers where no test needs them any more: idle they cost, too."""
    if ENDS and _group(item.path) not in SERVED:
        while ENDS:
            ENDS.pop()()


@pytest.fixture(scope="session", autouse=True)
def _what_is_collected_stays_frozen() -> Iterator[None]:
    """A worker that gives a partition up walks all that lives: here that is the whole suite.

    `tests/simulation/test_memory.py` shows, in a process of its own, that it then lets go.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gc, "unfreeze", lambda: None)
        yield


@cache
def _is_fault(path: Path) -> bool:
    return FAULTS in path.parents


@cache
def _group(path: Path) -> str:
    """Return the name that all files share which go to one process."""
    suite = path.relative_to(FAULTS.parent).parts[0]
    if suite in SHARING:
        return suite
    if not _is_fault(path) or path == CLUSTER:
        return str(path)
    return "earlier faults" if path < HALFWAY else "later faults"


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
