"""A worker that is told to end while it still starts ends as well, and at once."""

from __future__ import annotations

import asyncio

import pytest

from app import main
from app.clock import SystemClock
from app.main import Worker
from app.settings import Settings
from tests.world.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.slow]

ENDS_WITHIN_S = 30.0


async def started_and_stopped(worker: Worker) -> None:
    try:
        await worker.start()
    finally:
        await worker.stop()


async def test_an_end_that_a_client_swallows_is_noticed(
    live_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So does `asyncio.wait_for` of Python 3.11 when what it waits for ends in that moment."""

    async def swallowing(settings: Settings) -> None:
        ending.cancel()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            return
        raise AssertionError("nothing was cancelled")

    monkeypatch.setattr(main, "require_long_transactions", swallowing)
    worker = Worker(live_settings, SystemClock())
    ending = asyncio.create_task(started_and_stopped(worker))
    async with asyncio.timeout(ENDS_WITHIN_S):
        await asyncio.wait([ending])
    assert ending.cancelled()
    assert not worker.app.started


async def test_one_that_is_ended_while_faust_starts_has_all_of_it_to_stop(
    live_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what has started by half, the stop would wait for what never began."""
    worker = Worker(live_settings, SystemClock())
    start, whole = worker.app.start, list[bool]()

    async def starting() -> None:
        await start()
        whole.append(True)

    monkeypatch.setattr(worker.app, "start", starting)
    ending = asyncio.create_task(started_and_stopped(worker))
    await until(lambda: worker.app.tables.started, every_s=0.001)
    assert not whole
    ending.cancel()
    async with asyncio.timeout(ENDS_WITHIN_S):
        await asyncio.wait([ending])
    assert ending.cancelled()
    assert whole
