"""Too many requests, too few files, too little memory, too many groups (faults F18, F19, F20)."""

from __future__ import annotations

import asyncio
import resource
import signal
from collections import Counter
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest

from app.bounds.limits import WAITING_IN_ALL
from app.main import Worker, running_worker
from app.settings import Settings
from tests.world.live.api import KEY, Api, text_of
from tests.world.live.consumer import read_ledger
from tests.world.live.load import folded, load, prove, supervised, world_on
from tests.world.live.offline import fold_offline
from tests.world.live.producer import encoded, event_key, foreign_producer, raw_event
from tests.world.live.worker import SESSIONS, WorkerProcess, worker_process
from tests.world.live.world import CUSTOMER, SCALE, World
from tests.world.waiting import PATIENCE_S, eventually, until

pytestmark = [pytest.mark.servers, pytest.mark.slow]

QUERIES = 1_000 * SCALE
FLOOD_S = 3.0 * SCALE
MAX_GROUPS = 20
GRACE_S = 15.0
"""How long a worker that was told to end has for it."""
BOMB, NEIGHBOUR = "sub-0", "sub-1"


async def test_a_flood_of_queries_does_not_keep_events_waiting(
    live_settings: Settings, tmp_path: Path
) -> None:
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        async with load(world) as traffic:
            await asyncio.sleep(1)
            before, there = await folded(worker), traffic.acknowledged
            answers = await flood(worker, world)
            there, grown = traffic.acknowledged - there, await folded(worker) - before
        assert answers.keys() <= {200, 429, 503}, answers
        assert answers[200] > WAITING_IN_ALL
        assert answers[429] > 0
        # Of what came: the flood takes processor time from the producers as well.
        assert grown > there / 2 > 0
        await prove(world, tmp_path)


async def flood(worker: WorkerProcess, world: World) -> Counter[int]:
    """Statuses of as many queries at a time as there are connections.

    It goes on until some were refused, and more were answered than may wait at once.
    """
    answers: Counter[int] = Counter()
    began_s = asyncio.get_running_loop().time()

    def goes_on() -> bool:
        lasts_s = asyncio.get_running_loop().time() - began_s
        is_one = answers[200] > WAITING_IN_ALL and answers[429] > 0
        return lasts_s < (FLOOD_S if is_one else PATIENCE_S)

    headers = {"Authorization": f"Bearer {KEY}"}
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(headers=headers, connector=connector) as session:

        async def query(number: int) -> None:
            name = world.names[number % len(world.names)]
            path = f"/api/v1/customers/{CUSTOMER}/current_usage?external_subscription_id={name}"
            while goes_on():
                async with session.get(worker.url + path) as answer:
                    await answer.read()
                    answers[answer.status] += 1
                    if answer.status == 429:
                        assert int(answer.headers["Retry-After"]) > 0

        await asyncio.gather(*map(query, range(QUERIES)))
    return answers


@pytest.mark.parametrize(
    ("limit", "most"),
    [
        pytest.param(resource.RLIMIT_NOFILE, 8, id="file descriptors"),
        pytest.param(resource.RLIMIT_FSIZE, 0, id="disk"),
        pytest.param(resource.RLIMIT_AS, 1 << 20, id="memory"),
    ],
)
async def test_a_worker_that_lacks_something_starts_again(
    live_settings: Settings, tmp_path: Path, limit: int, most: int
) -> None:
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        async with supervised(worker), load(world):
            await asyncio.sleep(1)
            resource.prlimit(worker.pid, limit, (most, most))
            await asyncio.sleep(2)
            await _ends_and_comes_back(worker)
        world.api.url = worker.url
        await prove(world, tmp_path)


async def _ends_and_comes_back(worker: WorkerProcess) -> None:
    """By itself, or when it is told to: what it lacks may be nothing that it needs just now.

    As whatever supervises it does, first asked and then killed: without memory it may not get far.
    """
    pid = worker.pid
    for asked in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            worker.signal(asked)
        with suppress(TimeoutError):
            await until(lambda: worker.pid != pid, GRACE_S)
        if worker.pid != pid:
            break
    await worker.until_ready()


async def test_a_cardinality_bomb_hurts_nobody_else(
    live_settings: Settings, tmp_path: Path
) -> None:
    settings = live_settings.model_copy(update={"max_groups": MAX_GROUPS})
    async with running_worker(settings, **SESSIONS) as worker, Api(worker.url) as api:
        world = World(settings, api, 2)
        await world.define()
        await _send_groups(settings, BOMB, 50 * MAX_GROUPS)
        await _send_groups(settings, NEIGHBOUR, MAX_GROUPS)

        async def groups_of(name: str) -> int:
            usage = await api.usage_if_owned(CUSTOMER, name)
            charges = [] if usage is None else usage["charges_usage"]
            (calls,) = (c for c in charges if c["billable_metric"]["code"] == "calls")
            return len([g for g in calls["grouped_usage"] if g["units"] != "0.0"])

        await eventually(lambda: groups_of(BOMB), MAX_GROUPS)
        await eventually(lambda: groups_of(NEIGHBOUR), MAX_GROUPS)
        # What a worker that was put out of its group folds again, it counts again.
        await eventually(lambda: _have_no_room(worker, 49 * MAX_GROUPS), True)
        await world.terminate()

        async def published() -> tuple[int, set[bytes]]:
            ledger = await read_ledger(settings)
            offline = await fold_offline(settings, tmp_path)
            return len(ledger.completions()), ledger.records ^ offline

        # Three months of two subscriptions.
        await eventually(published, (6, set[bytes]()))


async def _send_groups(settings: Settings, name: str, count: int) -> None:
    """One call in each of so many zones."""
    topic = settings.topic(settings.raw_topic)
    async with foreign_producer(settings) as producer:
        for number in range(count):
            event = raw_event(name, f"{name}-{number}", "calls", zone=f"zone-{number}")
            await producer.send(topic, encoded(event), key=event_key(name))


async def _have_no_room(worker: Worker, at_least: int) -> bool:
    """Return whether the worker has counted so many events that found no room."""
    text = await text_of(f"{worker.url}/metrics")
    counter = 'meter_events_not_counted_total{reason="too_many_groups"} '
    (counted,) = (line for line in text.splitlines() if line.startswith(counter))
    return float(counted.removeprefix(counter)) >= at_least
