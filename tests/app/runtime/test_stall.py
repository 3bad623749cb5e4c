"""The worker measures itself: how late its loop runs, and who held it."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Generator
from contextlib import asynccontextmanager

import pytest
from prometheus_client import CollectorRegistry

from app.bounds.turns import Turns, Work
from app.runtime.stall import DUE_EVERY_S, Stall


@asynccontextmanager
async def measured(turns: Turns) -> AsyncIterator[CollectorRegistry]:
    registry = CollectorRegistry()
    stall = Stall(turns, registry)
    stall.start()
    try:
        await asyncio.sleep(0.05)
        yield registry
        await asyncio.sleep(0.05)
    finally:
        await stall.stop()


def over(registry: CollectorRegistry, bound: str) -> float:
    """How often the loop ran later than a bound."""
    name = "meter_loop_stall_seconds"
    count = registry.get_sample_value(f"{name}_count") or 0
    return count - (registry.get_sample_value(f"{name}_bucket", {"le": bound}) or 0)


def held(registry: CollectorRegistry, by: str) -> float:
    found = registry.get_sample_value("meter_loop_held_seconds_total", {"by": by})
    assert found is not None
    return found


async def test_a_stall_is_observed_and_its_holder_named() -> None:
    turns = Turns()

    def slow() -> Generator[None, None, None]:
        time.sleep(0.3)
        yield

    async with measured(turns) as registry:
        before = over(registry, "0.25")
        await turns.run(Work("refold"), slow())
        await asyncio.sleep(0.05)
        # A busy machine adds to what is seen, and takes nothing away.
        assert over(registry, "0.25") > before
        assert held(registry, "refold") >= 0.3
        assert held(registry, "other") < held(registry, "refold")


async def test_whoever_is_not_named_counts_as_other() -> None:
    async with measured(Turns()) as registry:
        time.sleep(0.3)  # noqa: ASYNC251
        await asyncio.sleep(0.05)
        assert held(registry, "other") >= 0.3 - DUE_EVERY_S


async def test_a_request_is_measured_between_its_waits() -> None:
    turns = Turns()

    async def request() -> str:
        await asyncio.sleep(0.1)
        time.sleep(0.2)  # noqa: ASYNC251
        try:
            await asyncio.wait_for(asyncio.Event().wait(), 0.01)
        except TimeoutError:
            return "answered"
        return "never"

    async with measured(turns) as registry:
        assert await turns.watched(Work("request"), request()) == "answered"
        assert held(registry, "request") >= 0.2


async def test_a_watched_request_is_cancelled_like_any_other() -> None:
    ended = asyncio.Event()

    async def request() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def watching() -> None:
        await Turns().watched(Work("request"), request())

    task = asyncio.create_task(watching())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_a_collection_counts_as_gc_and_not_for_whom_it_interrupts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = Turns()
    monkeypatch.setattr("app.bounds.turns.HELD_S", 0.0)

    def collects() -> Generator[None, None, None]:
        keep = [[number] for number in range(300_000)]
        began_s = time.perf_counter()
        gc.collect()
        collected.append(time.perf_counter() - began_s)
        yield
        del keep

    collected: list[float] = []
    async with measured(turns) as registry:
        began_s = time.perf_counter()
        await turns.run(Work("scan"), collects())
        whole_s = time.perf_counter() - began_s
        assert held(registry, "gc") >= 0.9 * collected[0]
        assert held(registry, "scan") <= whole_s - 0.9 * collected[0]


STANDS = """
import asyncio, time
from prometheus_client import CollectorRegistry
from app.runtime import stall
from app.bounds.turns import Turns

async def main():
    measuring = stall.Stall(Turns(), CollectorRegistry())
    measuring.start()
    await asyncio.sleep(0.1)
    the_culprit()
    await measuring.stop()

def the_culprit():
    time.sleep(1.5)

stall.STANDS_S = 0.2
asyncio.run(main())
"""


def test_the_stack_is_written_while_the_loop_stands() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", STANDS], capture_output=True, text=True, check=True, timeout=60
    )
    assert "in the_culprit" in ran.stderr
