"""The worker measures itself: how late its loop runs, and who held it."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import asynccontextmanager
from types import FrameType

import pytest
from prometheus_client import CollectorRegistry

from app.bounds.turns import Turns, Work
from app.runtime.stall import DUE_EVERY_S, DUES_AT_REST, Stall


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

    began_s = time.perf_counter()
    async with measured(turns) as registry:
        before = over(registry, "0.25")
        await turns.run(Work("refold"), slow())
        await asyncio.sleep(0.05)
        # A busy machine adds to what is seen, and takes nothing away.
        assert over(registry, "0.25") > before
        assert held(registry, "refold") >= 0.3
        whole_s = time.perf_counter() - began_s
        assert held(registry, "other") <= whole_s - held(registry, "refold")


class Loop:
    """A loop that stands still."""

    def __init__(self) -> None:
        self.now_s = self.due_s = 100.0
        self._handle = asyncio.get_running_loop().call_later(0, str)

    def time(self) -> float:
        return self.now_s

    def call_at(self, due_s: float, *_: object) -> asyncio.TimerHandle:
        self.due_s = due_s
        return self._handle


@pytest.fixture
async def observed() -> tuple[CollectorRegistry, Callable[[float], None]]:
    """What is measured, and how to observe once more, so late."""
    registry, loop = CollectorRegistry(), Loop()
    stall = Stall(Turns(), registry)

    def observe(late_s: float) -> None:
        stall._due_s, stall._dues = loop.now_s - late_s, 1
        stall._observe(loop)  # type: ignore[arg-type]

    observe(0.0)
    return registry, observe


async def test_each_observation_is_in_its_bucket(
    observed: tuple[CollectorRegistry, Callable[[float], None]],
) -> None:
    registry, observe = observed
    for late_s in (-0.001, 0.009, 0.011, 0.024, 29.0, 40.0):
        observe(late_s)
    name = "meter_loop_stall_seconds"
    bounds = ("0.01", "0.025", "0.05", "30.0", "+Inf")
    counts = [registry.get_sample_value(f"{name}_bucket", {"le": bound}) for bound in bounds]
    assert counts == [3, 5, 5, 6, 7]
    assert registry.get_sample_value(f"{name}_count") == 7
    assert registry.get_sample_value(f"{name}_sum") == pytest.approx(69.044)


async def test_an_observation_on_time_calls_nothing_but_the_loop(
    observed: tuple[CollectorRegistry, Callable[[float], None]],
) -> None:
    """It comes 25 times a second while there is nothing to do."""
    calls: list[str] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        calls.extend([frame.f_code.co_name] if event == "call" else [])

    sys.setprofile(note)
    observed[1](0.001)
    sys.setprofile(None)
    assert calls == ["observe", "_observe", "time", "call_at"]


async def test_at_rest_it_wakes_seldom_and_a_step_is_measured_from_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns, registry, loop = Turns(), CollectorRegistry(), Loop()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
    stall, rest_s = Stall(turns, registry), DUES_AT_REST * DUE_EVERY_S

    def observed() -> tuple[float, float]:
        """Until when it sleeps after this observation, and how many there were in all."""
        stall._observe(loop)  # type: ignore[arg-type]
        count = registry.get_sample_value("meter_loop_stall_seconds_count")
        return round(loop.due_s - loop.now_s, 3), count or 0

    stall._due_s = loop.now_s
    assert observed() == (DUE_EVERY_S, 1)
    loop.now_s += DUE_EVERY_S
    assert observed() == (rest_s, 2)
    loop.now_s += rest_s
    assert observed() == (rest_s, 2 + DUES_AT_REST)
    loop.now_s += 0.001
    with turns.holding(Work("refold")):
        assert loop.due_s == loop.now_s + DUE_EVERY_S
        loop.now_s += 0.08
    assert observed() == (DUE_EVERY_S, 3 + DUES_AT_REST)
    assert over(registry, "0.05") == 1
    with turns.holding(Work("refold")):
        loop.now_s += DUE_EVERY_S
    assert observed() == (DUE_EVERY_S, 4 + DUES_AT_REST)
    loop.now_s += DUE_EVERY_S
    assert observed() == (rest_s, 5 + DUES_AT_REST)


async def test_whoever_is_not_named_counts_as_other() -> None:
    async with measured(Turns()) as registry:
        time.sleep(0.3)  # noqa: ASYNC251
        await asyncio.sleep(0.05)
        assert held(registry, "other") >= 0.3 - DUES_AT_REST * DUE_EVERY_S


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
stall._ARMED_EVERY_S = 0.5
asyncio.run(main())
"""


def test_the_stack_is_written_while_the_loop_stands() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", STANDS], capture_output=True, text=True, check=True, timeout=60
    )
    assert "in the_culprit" in ran.stderr
