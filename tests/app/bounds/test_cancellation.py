"""A cancellation that nobody asked for is a failure; it ends the worker, not one task of it."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from agents import ingest
from app.bounds.cancellation import CancelledUnderneath, asked_to_end
from app.bounds.turns import Turns
from app.clock import SystemClock
from app.kafka.faust_app import MeterApp
from app.kafka.record_batch import RecordBatch
from app.runtime.engine import Engine
from app.runtime.partition.forwarder import Forwarder
from app.runtime.partition.owned import OwnedPartition
from app.settings import Settings


async def wait_for_what_is_cancelled(*_: object) -> None:
    """As a call of a client does that is closed meanwhile."""
    answer = asyncio.get_running_loop().create_future()
    answer.cancel()
    await answer


async def test_who_was_cancelled() -> None:
    async def ends(work: Any) -> bool:
        try:
            await work
        except asyncio.CancelledError:
            return asked_to_end()
        raise AssertionError

    assert not await ends(wait_for_what_is_cancelled())
    told = asyncio.create_task(ends(asyncio.sleep(3_600)))
    await asyncio.sleep(0)
    told.cancel()
    assert await told


async def test_an_agent_that_is_cancelled_underneath_ends_the_worker() -> None:
    settings = Settings(profile="test", redis_url="redis://none", kafka_bootstrap_servers="none")
    engine = Engine(settings, SystemClock(), url="")
    try:
        agent = asyncio.create_task(engine._crashing(lambda: asyncio.sleep(3_600)))
        await asyncio.sleep(0)
        agent.cancel()
        await asyncio.wait([agent])
        assert agent.cancelled()
        assert engine.failure is None
        await engine._crashing(wait_for_what_is_cancelled)
        assert isinstance(engine.failure, CancelledUnderneath)
    finally:
        await engine.stop()


async def test_a_lane_that_is_cancelled_underneath_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crashed = asyncio.get_running_loop().create_future()

    class App:
        raw_topic = "raw"

        @property
        def batches(self) -> App:
            return self

        def take(self, batch: RecordBatch) -> bool:
            return True

        async def crash(self, error: BaseException) -> None:
            crashed.set_result(error)

    monkeypatch.setattr(ingest, "take_raw", wait_for_what_is_cancelled)
    told = {"wants_care": lambda *_: False, "stalled": asyncio.Event()}
    partition = cast(OwnedPartition, SimpleNamespace(**told))
    app, forwarder = cast(MeterApp, App()), cast(Forwarder, None)
    lanes = ingest._Lanes(app, lambda _: partition, forwarder, Turns())
    lanes.put(RecordBatch([], TP("raw", 0), 0, 1, 0))
    try:
        assert isinstance(await asyncio.wait_for(crashed, 5), asyncio.CancelledError)
    finally:
        lanes.close()
