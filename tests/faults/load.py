"""A load that goes on while faults happen, and the proof afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiokafka.errors import KafkaError

from app.settings import Settings
from tests.live.api import Api
from tests.live.consumer import Ledger
from tests.live.foreign import foreign_producer
from tests.live.worker import WorkerProcess
from tests.live.world import SCALE, Traffic, World

SUBSCRIPTIONS = 12 * SCALE
EVENTS_PER_S = 200 * SCALE
_STEP_S = 0.1


@asynccontextmanager
async def load(world: World, seed: int = 0) -> AsyncIterator[Traffic]:
    """Events at a steady pace, one in five away from home, until the block ends."""
    traffic = Traffic(world, seed)
    over = asyncio.Event()
    sending = asyncio.create_task(_send_until(traffic, over))
    try:
        yield traffic
    finally:
        over.set()
        await sending


async def _send_until(traffic: Traffic, over: asyncio.Event) -> None:
    settings = traffic.world.settings
    at_home, away = foreign_producer(settings), foreign_producer(settings, "unkeyed")
    async with _started(at_home), _started(away):
        while not over.is_set():
            await traffic.send(int(EVENTS_PER_S * _STEP_S * 0.8), at_home)
            await traffic.send(int(EVENTS_PER_S * _STEP_S * 0.2), away)
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), _STEP_S)


@asynccontextmanager
async def _started(producer: object) -> AsyncIterator[None]:
    await producer.start()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        with suppress(KafkaError):
            await producer.stop()  # type: ignore[attr-defined]


@asynccontextmanager
async def world_on(settings: Settings, url: str) -> AsyncIterator[World]:
    """A defined world that is asked at `url`."""
    async with Api(url) as api:
        world = World(settings, api, SUBSCRIPTIONS)
        await world.define()
        yield world


async def prove(world: World, directory: Path) -> Ledger:
    """After all faults: usage and records equal the recount, and the offline fold byte for byte."""
    try:
        await world.is_counted()
        await world.terminate()
        ledger = await world.equals_a_batch(directory)
    except AssertionError as error:
        error.add_note(await world.api.held_back())
        raise
    assert ledger.repeats == 0
    return ledger


@asynccontextmanager
async def supervised(worker: WorkerProcess) -> AsyncIterator[None]:
    """Start the worker again whenever it has ended, as an orchestrator would."""

    async def supervise() -> None:
        while True:
            if not worker.is_running():
                worker.launch()
            await asyncio.sleep(0.5)

    watching = asyncio.create_task(supervise())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
        await worker.until_ready()
