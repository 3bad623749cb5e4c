"""The well-behaved organization beside an attack, a process of its own that measures what it gets.

It sends events, asks for usage and looks at the worker's health, all at an even pace. For each line
that comes through its socket it answers one line of JSON with what it saw since the line before,
after every event that it sent has become visible.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
import uvloop
from aiokafka import AIOKafkaProducer

from tests.attacks.billing import requests, subscription
from tests.world.cores import Stopwatch
from tests.world.live.producer import encoded, librdkafka, raw_event

SUBSCRIPTIONS = 20
METRIC, CUSTOMER = "visits", "neighbour"
EVENTS_EVERY_S = 0.05
EVENTS_AT_ONCE = 5
QUERY_EVERY_S = 0.05
VISIBLE_EVERY_S = 0.2
PROBE_EVERY_S = 0.02
LOAD_EVERY_S = 0.1
EVENTS_OF_ARRAY = 100
VISIBLE_WITHIN_S = 30.0


class Situation(msgspec.Struct, frozen=True):
    """Where it works and as whom."""

    worker: int
    """Process id."""
    url: str
    key: str
    organization_id: str
    servers: list[str]
    topic: str
    partitions: int
    load: int = 0
    """Events a second beside those that it sends one by one."""


class Seen(msgspec.Struct):
    """What it saw; times in seconds, without those for which no core was free."""

    queries: list[float] = []
    visible: list[float] = []
    """From sending an event to an answer that includes it."""
    probes: list[float] = []
    """How long /health/live took."""
    statuses: dict[str, int] = {}
    """Answers to everything that it asked, and failed requests by the name of the error."""
    sent: int = 0
    wrong: list[str] = []
    """Subscriptions whose usage is not what was sent, at the end."""


class Neighbour:
    """Counts what it sends, so that it knows what its usage has to be."""

    def __init__(self, situation: Situation, session: aiohttp.ClientSession):
        self._situation = situation
        self._session = session
        self._counts = [0] * SUBSCRIPTIONS
        self._sent = 0
        self._last: dict[int, int] = {}
        """The newest offset of each partition that it wrote to."""
        self._writing = asyncio.Lock()
        self.seen = Seen()

    async def define(self) -> None:
        """A metric, a plan and subscriptions."""
        for path, body in requests(METRIC, CUSTOMER, "steady-0"):
            await self._post(path, body)
        for number in range(1, SUBSCRIPTIONS):
            await self._post(*subscription(METRIC, CUSTOMER, f"steady-{number}"))

    async def _post(self, path: str, body: dict[str, Any]) -> None:
        async with self._session.post(f"/api/v1{path}", json=body) as answer:
            assert answer.status == 200, (path, answer.status, await answer.text())

    async def live(self, producer: AIOKafkaProducer) -> None:
        """Work until cancelled."""
        await asyncio.gather(
            self._steadily(EVENTS_EVERY_S, lambda: self._write(producer, EVENTS_AT_ONCE)),
            self._steadily(QUERY_EVERY_S, self._query),
            self._steadily(VISIBLE_EVERY_S, lambda: self._see(producer)),
            self._steadily(PROBE_EVERY_S, self._probe),
            self._steadily(LOAD_EVERY_S, lambda: self._write_much(producer)),
        )

    async def _steadily(self, every_s: float, act: Callable[[], Awaitable[object]]) -> None:
        while True:
            began_s = time.perf_counter()
            await act()
            await asyncio.sleep(max(0.0, every_s - (time.perf_counter() - began_s)))

    async def _write(self, producer: AIOKafkaProducer, count: int) -> tuple[int, int, int]:
        """Send events; (subscription, partition, offset) of the last."""
        async with self._writing:
            for _ in range(count):
                number = self._sent % SUBSCRIPTIONS
                self._sent += 1
                name, situation = f"steady-{number}", self._situation
                event = raw_event(name, f"steady-{self._sent}", METRIC, f"{time.time():.3f}")
                event["organization_id"] = situation.organization_id
                key = f"{situation.organization_id}-{name}".encode()
                written = await producer.send_and_wait(situation.topic, encoded(event), key=key)
                self._counts[number] += 1
                self._last[written.partition] = written.offset
                self.seen.sent += 1
            return number, written.partition, written.offset

    async def _write_much(self, producer: AIOKafkaProducer) -> None:
        """What is due of the load, as arrays of events of one subscription each."""
        due = round(self._situation.load * LOAD_EVERY_S)
        for start in range(0, due, EVENTS_OF_ARRAY):
            count = min(EVENTS_OF_ARRAY, due - start)
            async with self._writing:
                await self._write_array(producer, count)

    async def _write_array(self, producer: AIOKafkaProducer, count: int) -> None:
        number, first = self._sent % SUBSCRIPTIONS, self._sent
        self._sent += count
        name, organization_id = f"steady-{number}", self._situation.organization_id
        now = f"{time.time():.3f}"
        events = [
            {**raw_event(name, f"much-{n}", METRIC, now), "organization_id": organization_id}
            for n in range(first, first + count)
        ]
        key = f"{organization_id}-{name}".encode()
        await producer.send_and_wait(self._situation.topic, encoded(events), key=key)
        self._counts[number] += count
        self.seen.sent += count

    async def _query(self) -> None:
        stopwatch = Stopwatch(self._situation.worker)
        if await self._usage(len(self.seen.queries) % SUBSCRIPTIONS) is not None:
            self.seen.queries.append(stopwatch.taken_s())

    async def _see(self, producer: AIOKafkaProducer) -> None:
        async with self._writing:
            # Whoever tells lets nobody write meanwhile.
            pass
        began_s, stopwatch = time.perf_counter(), Stopwatch(self._situation.worker)
        number, partition, offset = await self._write(producer, 1)
        while time.perf_counter() - began_s < VISIBLE_WITHIN_S:
            if await self._usage(number, wait_for=f"{partition}:{offset}") is not None:
                break
        self.seen.visible.append(stopwatch.taken_s())

    async def _probe(self) -> None:
        stopwatch = Stopwatch(self._situation.worker)
        await self._ask("/health/live")
        self.seen.probes.append(stopwatch.taken_s())

    async def _usage(self, number: int, **parameters: str) -> str | None:
        """The units of a subscription; None: no answer."""
        path = f"/api/v1/customers/{CUSTOMER}/current_usage"
        parameters["external_subscription_id"] = f"steady-{number}"
        answer = await self._ask(path, **parameters)
        if answer is None:
            return None
        (charge,) = msgspec.json.decode(answer)["customer_usage"]["charges_usage"]
        units: str = charge["units"]
        return units

    async def _ask(self, path: str, **parameters: str) -> bytes | None:
        """The body of a 200; what else came is counted. A wait that was in vain is no error."""
        try:
            async with self._session.get(path, params=parameters) as answer:
                body = await answer.read()
                if not (answer.status == 503 and "wait_for" in parameters):
                    self._count(str(answer.status))
                return body if answer.ok else None
        except (aiohttp.ClientError, TimeoutError) as error:
            self._count(type(error).__name__)
            return None

    def _count(self, status: str) -> None:
        self.seen.statuses[status] = self.seen.statuses.get(status, 0) + 1

    async def tell(self) -> Seen:
        """What it saw since it told last, once its usage is what it sent; then begin anew."""
        async with self._writing:
            for number in range(SUBSCRIPTIONS):
                wanted, until_s = self._counts[number], time.perf_counter() + VISIBLE_WITHIN_S
                while (units := await self._usage(number)) is None or float(units) != wanted:
                    if time.perf_counter() > until_s:
                        self.seen.wrong.append(f"steady-{number}: {units}, sent {wanted}")
                        break
                    await asyncio.sleep(0.05)
            seen, self.seen = self.seen, Seen()
            return seen


def run(situation: Situation, told: socket.socket) -> None:
    """Be the neighbour, in a process of its own, until whoever started it ends it."""
    # A walk over all that was imported would pass for a latency of the worker.
    gc.freeze()
    uvloop.run(_main(situation, told))


async def _main(situation: Situation, told: socket.socket) -> None:
    producer = AIOKafkaProducer(
        bootstrap_servers=situation.servers, acks="all", partitioner=librdkafka
    )
    await producer.start()
    headers = {"Authorization": f"Bearer {situation.key}"}
    timeout = aiohttp.ClientTimeout(total=VISIBLE_WITHIN_S)
    lines, answers = await asyncio.open_connection(sock=told)
    try:
        async with aiohttp.ClientSession(
            situation.url, headers=headers, timeout=timeout
        ) as session:
            neighbour = Neighbour(situation, session)
            await neighbour.define()
            living = asyncio.create_task(neighbour.live(producer))
            answers.write(b"ready\n")
            while await lines.readline():
                answers.write(msgspec.json.encode(await neighbour.tell()) + b"\n")
                await answers.drain()
                if living.done():
                    living.result()
            living.cancel()
            with suppress(asyncio.CancelledError):
                await living
    finally:
        await producer.stop()
