"""The kit itself: with no attack at all every budget is kept, and a held loop is noticed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.attacks.victim import ATTACKER, SLACK, STALL_S, Victim, folded, longest_stall_s
from tests.world.cores import Stopwatch
from tests.world.waiting import PATIENCE_S

pytestmark = pytest.mark.servers


async def test_with_no_attack_every_budget_is_kept(victim: Victim) -> None:
    async with victim.attacked() as attacked:
        before = folded(await victim.metrics())
        await asyncio.sleep(2)
        async with asyncio.timeout(PATIENCE_S):
            while folded(await victim.metrics()) < before + 100:
                await asyncio.sleep(0.1)
    assert attacked.seen.sent > 50
    assert len(attacked.seen.queries) > 10
    assert victim.attacker is not victim.reader
    status, answer = await victim.reader.call("GET", "/organizations")
    assert (status, answer["organization"]["lago_id"]) == (200, ATTACKER)


async def test_a_worker_that_stands_still_is_noticed(victim: Victim) -> None:
    async def freeze() -> None:
        async with victim.attacked():
            victim.worker.signal(signal.SIGSTOP)
            await victim.worker.stopped()
            await asyncio.sleep(1.0 + STALL_S * SLACK)
            victim.worker.signal(signal.SIGCONT)

    with pytest.raises(AssertionError):
        await freeze()


def test_a_worker_that_does_not_measure_its_loop_passes_nothing() -> None:
    name = "meter_loop_stall_seconds_bucket,le="
    before = {f"{name}0.05": 3.0, f"{name}0.1": 3.0, f"{name}+Inf": 3.0}
    after = {f"{name}0.05": 4.0, f"{name}0.1": 5.0, f"{name}+Inf": 5.0}
    assert longest_stall_s(before, after) == 0.1
    with pytest.raises(AssertionError, match="does not measure"):
        longest_stall_s({}, {"meter_lag_seconds": 0.0})


@pytest.fixture
def _crowded() -> Iterator[None]:
    """This process shares one core with others that never rest."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    busy = [sys.executable, "-c", "print(flush=True)\nwhile True: pass"]
    others = [subprocess.Popen(busy, stdout=subprocess.PIPE) for _ in range(3)]
    try:
        # One that has yet to start takes nothing of the core.
        for other in others:
            assert other.stdout is not None
            other.stdout.readline()
        yield
    finally:
        os.sched_setaffinity(0, cores)
        for other in others:
            with other:
                other.kill()


@pytest.mark.skipif(not os.path.exists("/proc/self/schedstat"), reason="nobody tells who waited")
@pytest.mark.usefixtures("_crowded")
def test_what_others_take_of_the_machine_counts_nowhere() -> None:
    began_s, worked_s, stopwatch = time.perf_counter(), time.thread_time(), Stopwatch()
    while time.thread_time() - worked_s < 0.2:
        pass
    # What somebody waits for without wanting a core counts.
    time.sleep(0.2)
    assert 0.39 < stopwatch.taken_s() < 0.8
    assert time.perf_counter() - began_s > 0.8
