"""The kit itself: with no attack at all every budget is kept, and a held loop is noticed."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.attacks.victim import ATTACKER, Victim, longest_stall_s

pytestmark = pytest.mark.servers


async def test_with_no_attack_every_budget_is_kept(victim: Victim) -> None:
    async with victim.attacked() as attacked:
        await asyncio.sleep(2)
    assert attacked.seen.sent > 50
    assert len(attacked.seen.queries) > 10
    assert victim.attacker is not victim.reader
    status, answer = await victim.reader.call("GET", "/organizations")
    assert (status, answer["organization"]["lago_id"]) == (200, ATTACKER)


async def test_a_worker_that_stands_still_is_noticed(victim: Victim) -> None:
    async def freeze() -> None:
        async with victim.attacked():
            victim.worker.signal(signal.SIGSTOP)
            await asyncio.sleep(1)
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
