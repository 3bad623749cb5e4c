"""A production worker under attack, and what must hold meanwhile for everybody else.

    async with victim.attacked() as attacked:
        ...  # send whatever it is
    # Here it was asserted: same process, nothing restored, the loop never held over 250 ms,
    # memory bounded, the neighbour's latencies within their budgets, its usage exact.

`victim.attacker` is an API client with a write key of the organization that attacks;
`victim.produce` appends raw records. What a case sends it checks itself afterwards.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import psutil
from aiokafka import AIOKafkaProducer
from prometheus_client.parser import text_string_to_metric_families

from app.api.exposition import EVERY_S
from app.local_servers.kafka import LocalKafka
from app.local_servers.redis import LocalRedis
from app.settings import Settings
from tests.attacks import neighbour
from tests.attacks.billing import requests
from tests.attacks.neighbour import Seen, Situation
from tests.world.cores import Stopwatch
from tests.world.live.api import Api, Json, text_of
from tests.world.live.producer import encoded, foreign_producer, raw_event
from tests.world.live.worker import FORKS, STALLS_WITH_A_CORE, WorkerProcess

ATTACKER, NEIGHBOUR = (
    "aaaaaaaa-0000-4000-8000-00000000000a",
    "bbbbbbbb-0000-4000-8000-00000000000b",
)
"""Organization ids."""

KEYS = {
    ("write", ATTACKER): "attackers-own-write-key-0123456789abcdef",
    ("read", ATTACKER): "attackers-own-read-key--0123456789abcdef",
    ("write", NEIGHBOUR): "neighbours-own-write-key-0123456789abcde",
}

MEBIBYTE = 1024 * 1024
SLACK = float(os.environ.get("ATTACK_SLACK", "1"))
"""By how much a slow machine may exceed the budgets of time. What others take of it counts nowhere:
times are those for which worker and neighbour had a core."""

REPORT = Path(os.environ["ATTACK_REPORT"]) if "ATTACK_REPORT" in os.environ else None
"""Where each case appends a line of what it cost, whether it kept its budgets or not."""

STALL_S = 0.25
QUERY_P99_S = 0.1
VISIBLE_P99_S = 1.0
GROWTH_BYTES = 512 * MEBIBYTE

BY_RECORD = 1_000

SETTLED_S = 0.5
"""What an attack leaves to be done may still come this long after it ended."""


class Attacked(msgspec.Struct):
    """What was measured; filled in when the attack is over."""

    seen: Seen = msgspec.field(default_factory=Seen)
    grown_bytes: int = 0
    stall_s: float = 0.0
    """An upper bound of the longest turn of the loop, by the worker's own histogram."""

    def tell(self, stall_s: float, growth_bytes: int) -> None:
        """Append what was measured to the report, if one is asked for."""
        if REPORT is None:
            return
        told = Told(
            os.environ["PYTEST_CURRENT_TEST"].split(" ")[0],
            self.stall_s,
            max(self.seen.probes),
            self.grown_bytes,
            percentile(self.seen.queries, 0.99),
            percentile(self.seen.visible, 0.99),
            stall_s,
            growth_bytes,
        )
        with REPORT.open("ab") as report:
            report.write(msgspec.json.encode(told) + b"\n")


class Told(msgspec.Struct):
    """A line of the report: one case, what it cost, and what it may."""

    case: str
    stall_s: float
    probe_s: float
    grown_bytes: int
    query_p99_s: float
    visible_p99_s: float
    most_stall_s: float
    most_grown_bytes: int


class Victim:
    """The worker, the organization that attacks, and the neighbour."""

    def __init__(
        self,
        worker: WorkerProcess,
        settings: Settings,
        attacker: Api,
        reader: Api,
        neighbours_load: int = 0,
    ):
        self.worker = worker
        self.settings = settings
        self.attacker = attacker
        self.reader = reader
        """With a read key of the organization that attacks."""
        self._neighbours_load = neighbours_load
        self._producer: AIOKafkaProducer | None = None
        self._neighbour: ForkServerProcess | None = None
        self._lines: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    @property
    def url(self) -> str:
        return self.worker.url

    @property
    def raw_topic(self) -> str:
        return self.settings.topic(self.settings.raw_topic)

    async def start(self) -> None:
        """The neighbour begins to work."""
        self._producer = foreign_producer(self.settings)
        await self._producer.start()
        situation = Situation(
            self.worker.pid,
            self.url,
            KEYS["write", NEIGHBOUR],
            NEIGHBOUR,
            list(self.settings.kafka_bootstrap_servers),
            self.raw_topic,
            self.settings.raw_partitions,
            self._neighbours_load,
        )
        here, there = socket.socketpair()
        self._neighbour = FORKS.Process(target=neighbour.run, args=(situation, there), daemon=True)
        self._neighbour.start()
        there.close()
        self._lines = await asyncio.open_connection(sock=here, limit=64 * MEBIBYTE)
        assert await self._line() == b"ready\n"

    async def stop(self) -> None:
        if self._neighbour is not None:
            self._neighbour.kill()
            await asyncio.to_thread(self._neighbour.join)
        if self._lines is not None:
            self._lines[1].close()
        if self._producer is not None:
            await self._producer.stop()

    async def _line(self) -> bytes:
        assert self._lines is not None
        return await self._lines[0].readline()

    def stopwatch(self) -> Stopwatch:
        """Begin to measure what the worker does for this process."""
        return Stopwatch(self.worker.pid)

    async def tell(self) -> Seen:
        """What the neighbour saw since it told last."""
        assert self._lines is not None
        self._lines[1].write(b"tell\n")
        line = await self._line()
        assert line, "the neighbour ended"
        return msgspec.json.decode(line, type=Seen)

    async def produce(
        self, value: Json | bytes | Sequence[Json], key: str = "", partition: int | None = None
    ) -> tuple[int, int]:
        """Append one raw record, an event or a JSON array of events; (partition, offset)."""
        assert self._producer is not None
        sent = await self._producer.send_and_wait(
            self.raw_topic,
            value if isinstance(value, bytes) else encoded(value),
            key=key.encode() or None,
            partition=partition,
        )
        return sent.partition, sent.offset

    async def charge(
        self, code: str, customer: str, external_id: str, **properties: object
    ) -> None:
        """A metric of the attacker's, a plan that charges for it, a subscription."""
        for path, body in requests(code, customer, external_id, properties=properties):
            await self.attacker.post(path, body)

    async def append(
        self, code: str, events: Sequence[tuple[str, Mapping[str, object]]], first: int = 0
    ) -> None:
        """Events of (subscription, properties), with ids `code-first` and on, in large arrays."""
        now = f"{time.time():.3f}"
        for start in range(0, len(events), BY_RECORD):
            part = [
                {**raw_event(name, f"{code}-{n}", code, now, **more), "organization_id": ATTACKER}
                for n, (name, more) in enumerate(events[start : start + BY_RECORD], first + start)
            ]
            await self.produce(part, key=f"{ATTACKER}-{events[start][0]}")

    async def charged(self, customer: str, external_id: str) -> Json:
        """The usage of the one charge of a subscription."""
        (charge,) = (await self.attacker.current_usage(customer, external_id))["charges_usage"]
        found: Json = charge
        return found

    async def counted(self, customer: str, external_id: str, count: int) -> None:
        """Wait until so many events of a subscription are folded."""
        async with asyncio.timeout(60):
            while (await self.charged(customer, external_id))["events_count"] < count:
                await asyncio.sleep(0.1)

    async def metrics(self) -> dict[str, float]:
        """Every sample by its name and labels, as they are scraped."""
        # What was scraped before is shown for so long.
        await asyncio.sleep(EVERY_S)
        return {
            sample.name + "".join(f",{k}={v}" for k, v in sorted(sample.labels.items())): (
                sample.value
            )
            for family in text_string_to_metric_families(await text_of(f"{self.url}/metrics"))
            for sample in family.samples
        }

    @asynccontextmanager
    async def attacked(
        self, *, growth_bytes: int = GROWTH_BYTES, stall_s: float = STALL_S
    ) -> AsyncIterator[Attacked]:
        """Measure an attack, and assert that nobody else noticed."""
        attacked, pid = Attacked(), self.worker.pid
        process = psutil.Process(pid)
        await self.tell()
        before, resident = await self.metrics(), process.memory_info().rss
        watching = asyncio.create_task(_most_resident(process))
        try:
            yield attacked
            await asyncio.sleep(SETTLED_S)
        finally:
            watching.cancel()
        assert self.worker.is_running(), self.worker.tail()
        assert self.worker.pid == pid
        attacked.seen = seen = await self.tell()
        after = await self.metrics()
        attacked.grown_bytes = (await _result(watching)) - resident
        attacked.stall_s = longest_stall_s(before, after)
        attacked.tell(stall_s, growth_bytes)
        assert not seen.wrong, seen.wrong
        assert restores(after) == restores(before), self.worker.tail()
        others = {status for status in seen.statuses if status not in ("200", "429")}
        assert not others, seen.statuses
        assert seen.statuses.get("429", 0) == 0, "the neighbour was refused"
        assert attacked.grown_bytes <= growth_bytes, f"{attacked.grown_bytes / MEBIBYTE:.0f} MiB"
        assert attacked.stall_s <= stall_s * SLACK, self.worker.tail()
        assert max(seen.probes) <= (stall_s + 0.05) * SLACK, self.worker.tail()
        assert percentile(seen.queries, 0.99) <= QUERY_P99_S * SLACK
        assert percentile(seen.visible, 0.99) <= VISIBLE_P99_S * SLACK


async def _most_resident(process: psutil.Process) -> int:
    most = 0
    try:
        while True:
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.02)
    except (asyncio.CancelledError, psutil.NoSuchProcess):
        return most


async def _result(task: asyncio.Task[int]) -> int:
    return await task


def restores(metrics: Mapping[str, float]) -> float:
    """Partitions restored until then; one that comes back as it was left is none."""
    name = "meter_restore_seconds_count,from="
    return sum(metrics.get(name + source, 0.0) for source in ("changelog", "raw"))


def folded(metrics: Mapping[str, float]) -> float:
    """Events folded until then."""
    name = "meter_events_folded_total"
    return sum(value for each, value in metrics.items() if each.startswith(name))


def percentile(taken_s: Sequence[float], share: float) -> float:
    """Of some times; there have to be any."""
    assert taken_s, "nothing was measured"
    ordered = sorted(taken_s)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def longest_stall_s(before: Mapping[str, float], after: Mapping[str, float]) -> float:
    """The bound of the highest bucket of `meter_loop_stall_seconds` that grew."""
    name = "meter_loop_stall_seconds_bucket,le="
    grown = {
        float(each.removeprefix(name)): count - before.get(each, 0.0)
        for each, count in after.items()
        if each.startswith(name)
    }
    assert grown, "the worker does not measure its loop"
    total = grown[float("inf")]
    return min(bound for bound, count in grown.items() if count >= total)


def production(kafka: LocalKafka, redis: LocalRedis, directory: Path, **more: Any) -> Settings:
    """Settings of a production worker of two partitions."""
    return Settings(
        profile="production",
        state_dir=directory / "state",
        kafka_bootstrap_servers=kafka.bootstrap_servers,
        kafka_dir=kafka.directory,
        redis_url=redis.url,
        raw_partitions=2,
        replication_factor=1,
        http_host="127.0.0.1",
        **more,
    )


@asynccontextmanager
async def victim_on(
    settings: Settings,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    kind: type[Victim] = Victim,
    neighbours_load: int = 0,
) -> AsyncIterator[Victim]:
    """A production worker with keys of both organizations, and the neighbour at work."""
    keys = ",".join(f"{org}:{key}:{access}" for (access, org), key in KEYS.items())
    worker = WorkerProcess(
        settings,
        directory,
        environment={
            "METER_API_KEYS": keys,
            "METER_HTTP_HOST": "127.0.0.1",
            "METER_PEER_SECRET": "workers-know-each-other-by-this-secret",
            STALLS_WITH_A_CORE: "1",
            **(environment or {}),
        },
    )
    try:
        await worker.start()
        async with (
            api_with_key(worker.url, KEYS["write", ATTACKER]) as attacker,
            api_with_key(worker.url, KEYS["read", ATTACKER]) as reader,
        ):
            victim = kind(worker, settings, attacker, reader, neighbours_load)
            try:
                await victim.start()
                yield victim
            finally:
                await victim.stop()
    finally:
        await worker.kill()


@asynccontextmanager
async def api_with_key(url: str, key: str) -> AsyncIterator[Api]:
    """A client of the API that may wait for long: what it sends may be slow by intent."""
    async with Api(url, key, timeout=aiohttp.ClientTimeout(total=120)) as api:
        yield api
