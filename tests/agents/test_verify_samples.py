"""Verification in the background leaves the time to a live fold that is behind."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from agents import verify_samples
from app.bounds.turns import Turns
from app.runtime.scanning.scans import Scans
from app.runtime.status import Observed, Status
from tests.world.waiting import PATIENCE_S


def sample(lag: int) -> Observed:
    return Observed(lag=lag, rekeyed_lag=0, events_per_s=0.0, folded_events=0, at_s=0.0)


def of_two_partitions() -> Any:
    return SimpleNamespace(owned={0: None, 1: None}, status=Status(), scans=Scans(Turns()))


async def test_it_waits_while_a_partition_of_its_own_is_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(verify_samples, "WAIT_S", 0.01)
    engine = of_two_partitions()
    engine.status.observed = {0: sample(0), 1: sample(verify_samples.BEHIND_RECORDS + 1)}
    waiting = asyncio.create_task(verify_samples.until_folded(engine))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    engine.status.observed[1] = sample(verify_samples.BEHIND_RECORDS)
    await asyncio.wait_for(waiting, PATIENCE_S)


async def test_what_others_own_or_nobody_has_looked_at_yet_is_not_waited_for() -> None:
    engine = of_two_partitions()
    engine.status.observed = {0: sample(0), 2: sample(10**9)}
    await asyncio.wait_for(verify_samples.until_folded(engine), PATIENCE_S)


async def test_it_makes_way_for_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_samples, "WAIT_S", 0.01)
    engine = of_two_partitions()
    engine.status.observed = {0: sample(10**9)}
    async with engine.scans.place("verify a sample", "", endless=True):
        waiting = asyncio.create_task(verify_samples.until_folded(engine))
        await asyncio.sleep(0)

        async def asks() -> None:
            async with engine.scans.place("verify", "o", endless=True):
                pass

        asking = asyncio.create_task(asks())
        await asyncio.sleep(0)
        assert engine.scans.waiting == 1
        await asyncio.wait_for(verify_samples.until_folded(engine), PATIENCE_S)
        await asyncio.wait_for(waiting, PATIENCE_S)
    await asking
    assert engine.scans.waiting == 0
