"""A load that goes on while faults happen, and the proof afterwards."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from aiohttp import ClientError
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from app.settings import Settings
from tests.world.live.api import Api, text_of
from tests.world.live.consumer import Ledger
from tests.world.live.offline import verify
from tests.world.live.producer import foreign_producer, librdkafka
from tests.world.live.worker import WorkerProcess
from tests.world.live.world import CUSTOMER, SCALE, Traffic, World
from tests.world.waiting import PATIENCE_S

SUBSCRIPTIONS = 12 * SCALE
EVENTS_PER_S = 80 * SCALE
SERVING_S = PATIENCE_S
"""Within so many seconds of the last fault every subscription is answered for again."""
PROOF_S = 2 * PATIENCE_S
PROVED_PER_S = 2_000
"""Events that a worker, on a busy machine, folds in a second: more of them may take longer."""
STEP_S = 0.1

Due = Callable[[Traffic], int]
"""How many events are to be sent in the step that begins now."""


class NotServing(AssertionError):
    """The group did not come back by itself in time."""


def steadily(events_per_s: int) -> Due:
    """What was not sent while the broker was away is not made up for."""
    return lambda _: int(events_per_s * STEP_S)


_STEADY = steadily(EVENTS_PER_S)


def spread(
    events: int, within_s: float, now_s: Callable[[], float], catching_up: float = 2.0
) -> Due:
    """So many events that the broker has, evenly over the time and, if need be, longer.

    What was not sent is made up for at `catching_up` times the pace.
    """
    began_s = now_s()
    most = int(catching_up * events / within_s * STEP_S) + 1

    def due(traffic: Traffic) -> int:
        share = min(1.0, (now_s() - began_s + STEP_S) / within_s)
        return max(0, min(int(events * share) - traffic.acknowledged, most))

    return due


@asynccontextmanager
async def load(
    world: World, seed: int = 0, due: Due = _STEADY, conflicts: float = 0.03
) -> AsyncIterator[Traffic]:
    """Events as they are due, one in five away from home, until the block ends.

    `conflicts`: share of the events that repeat an id with something else.
    """
    traffic = Traffic(world, seed, conflicts=conflicts)
    over = asyncio.Event()
    sending = asyncio.create_task(_send_until(traffic, due, over))
    try:
        yield traffic
    finally:
        over.set()
        await sending
        world.acknowledged += traffic.acknowledged


async def _send_until(traffic: Traffic, due: Due, over: asyncio.Event) -> None:
    settings = traffic.world.settings
    partitions = range(settings.raw_partitions)
    anywhere = itertools.cycle(partitions)
    async with _started(foreign_producer(settings)) as producer:
        while not over.is_set():
            due_s, count = time.monotonic() + STEP_S, due(traffic)
            # What a broker that is away for long does not take is in no log, and so not expected.
            with suppress(KafkaError):
                await traffic.send_batches(
                    count * 4 // 5, producer, lambda key: librdkafka(key, partitions, partitions)
                )
                await traffic.send_batches(
                    count - count * 4 // 5, producer, lambda _: next(anywhere)
                )
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), max(0.0, due_s - time.monotonic()))


@asynccontextmanager
async def _started(producer: AIOKafkaProducer) -> AsyncIterator[AIOKafkaProducer]:
    await producer.start()
    try:
        yield producer
    finally:
        with suppress(KafkaError):
            await producer.stop()


@asynccontextmanager
async def world_on(settings: Settings, url: str) -> AsyncIterator[World]:
    """A defined world that is asked at `url`."""
    async with Api(url) as api:
        world = World(settings, api, SUBSCRIPTIONS)
        await world.define()
        yield world


async def serving(
    world: World, addresses: Callable[[], Iterable[str]], within_s: float = SERVING_S
) -> float:
    """Wait until each address answers for every subscription; how many seconds it took.

    Raises:
        NotServing: it takes longer.
    """
    began_s = time.monotonic()
    while True:
        urls = list(addresses())
        found = await asyncio.gather(*(_unanswered(world, url) for url in urls))
        missing = [
            f"{url or 'a worker'}: {names}" for url, names in zip(urls, found, strict=True) if names
        ]
        took_s = time.monotonic() - began_s
        if not missing:
            return took_s
        if took_s > within_s:
            raise NotServing(f"not serving after {took_s:.0f} s: {'; '.join(missing)}")
        await asyncio.sleep(0.2)


async def _unanswered(world: World, url: str) -> list[str]:
    """Subscriptions whose usage is not to be had at an address, or the one reason for all."""
    if not url:
        return ["is not up"]
    async with Api(url) as api:
        try:
            usages = await asyncio.gather(
                *(api.usage_if_owned(CUSTOMER, name) for name in world.names)
            )
        except (ClientError, TimeoutError) as error:
            return [repr(error)]
    return [name for name, usage in zip(world.names, usages, strict=True) if usage is None]


async def prove(world: World, directory: Path) -> Ledger:
    """After all faults: usage and records equal the recount, and the offline fold byte for byte."""
    await serving(world, lambda: [world.api.url])
    try:
        recount = await world.recount_once()
        assert recount.events >= world.acknowledged, "what the broker said it has, it has"
        await world.is_counted(PROOF_S)
        await world.terminate()
        ledger = await world.equals_a_batch(directory, PROOF_S)
    except AssertionError as error:
        error.add_note(await world.api.held_back())
        raise
    assert ledger.repeats == 0
    return ledger


async def prove_by_fold(world: World, directory: Path) -> Ledger:
    """Where the recount does not know what came: the offline fold and `meter verify` do."""
    await serving(world, lambda: [world.api.url])
    await world.terminate()
    records, ledger = await world.folded_offline(directory), Ledger()
    assert records
    try:
        await world.has_records(records, ledger, PROOF_S)
    except AssertionError as error:
        error.add_note(await world.api.held_back())
        raise
    await verify(world.api.url)
    assert ledger.repeats == 0
    return ledger


async def prove_whole(
    world: World, directory: Path, events: int, say: Callable[[str], None]
) -> Ledger:
    """Like `prove` for so many events, and `meter verify` of everything; says what took how long.

    The offline fold goes on beside the closing and the verification.
    """
    timeout_s = PROOF_S + events / PROVED_PER_S
    timed = _Timed(say)
    await serving(world, lambda: [world.api.url])
    try:
        recount = await world.recount_once()
        timed.say(f"recounted: {recount.events} events of {recount.ids} ids are on the raw topic")
        await world.is_counted(timeout_s)
        timed.say("usage is the recount")
        await world.terminate()
        folding = asyncio.create_task(world.folded_offline(directory))
        try:
            ledger = await world.is_published([0, 1, 2], timeout_s)
            timed.say(f"all months are published as recounted: {len(ledger.bodies)} records")
            verified = await verify(world.api.url)
            timed.say(f"meter verify: {verified}")
            offline = await folding
            timed.say(f"folded offline: {len(offline)} records")
            await world.has_records(offline, ledger, timeout_s)
            timed.say("the records are those of the offline fold, byte for byte")
        finally:
            folding.cancel()
    except AssertionError as error:
        error.add_note(await world.api.held_back())
        raise
    assert ledger.repeats == 0
    return ledger


class _Timed:
    """Says each thing with the seconds since the one before."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._since_s = time.monotonic()

    def say(self, what: str) -> None:
        now_s = time.monotonic()
        self._say(f"{what} ({now_s - self._since_s:.0f} s)")
        self._since_s = now_s


async def folded(worker: WorkerProcess) -> float:
    """Events folded since the worker started."""
    if not worker.url:
        worker.look_for_url()
    lines = (await text_of(f"{worker.url}/metrics")).splitlines()
    return sum(float(li.split()[-1]) for li in lines if li.startswith("meter_events_folded_total{"))


@asynccontextmanager
async def supervised(worker: WorkerProcess) -> AsyncIterator[None]:
    """Start the worker again whenever it has ended, as an orchestrator would; at last it is up."""
    async with restarted(worker):
        yield
    if not worker.is_running():
        worker.launch()
    await worker.until_ready()


@asynccontextmanager
async def restarted(worker: WorkerProcess) -> AsyncIterator[None]:
    """Start the worker again whenever it has ended."""

    async def restart() -> None:
        while True:
            if not worker.is_running():
                worker.launch()
            await asyncio.sleep(0.5)

    watching = asyncio.create_task(restart())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching
