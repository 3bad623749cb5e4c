"""What the benches share: servers, five metrics over many subscriptions, events of them."""

from __future__ import annotations

import asyncio
import cProfile
import multiprocessing
import pstats
import tempfile
import time
from collections import defaultdict
from collections.abc import (
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import Any

import msgspec
import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from app.clock import SystemClock
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply
from app.definitions.outcome import Applied
from app.definitions.state import Definitions
from app.kafka.topics import METER_DEFINITIONS, admin_client, ensure_topics
from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.main import Worker
from app.settings import LOCAL_ORGANIZATION_ID as ORG
from app.settings import Settings
from app.wire.keys import home_partition, message_key

NOW_MS = 1_767_225_600_000
DEFINED_AT_ONCE = 1_000
WHEN_MADE: Mapping[str, str] = MappingProxyType({})
SINCE_JANUARY = {"billing_time": "calendar", "subscription_at": "2026-01-01T00:00:00Z"}
"""When subscriptions began, if that is not when they are made."""

METRICS: list[dict[str, Any]] = [
    {"name": "calls", "code": "calls", "aggregation_type": "count_agg"},
    {"name": "gb", "code": "gb", "aggregation_type": "sum_agg", "field_name": "gb"},
    {"name": "cpu", "code": "cpu", "aggregation_type": "max_agg", "field_name": "cores"},
    {
        "name": "users",
        "code": "users",
        "aggregation_type": "unique_count_agg",
        "field_name": "user",
    },
    {
        "name": "disk",
        "code": "disk",
        "aggregation_type": "weighted_sum_agg",
        "field_name": "gb",
        "weighted_interval": "seconds",
    },
]


def charge_of(metric_id: str, **properties: Any) -> dict[str, Any]:
    """A charge of a metric as a plan is created with it."""
    return {
        "billable_metric_id": metric_id,
        "charge_model": "standard",
        "properties": {"amount": "0", **properties},
    }


def plan_of(charges: list[dict[str, Any]]) -> dict[str, Any]:
    """The one plan of every bench."""
    return {
        "name": "bench",
        "code": "bench",
        "interval": "monthly",
        "amount_cents": 0,
        "amount_currency": "EUR",
        "pay_in_advance": False,
        "charges": charges,
    }


def subscription_of(i: int) -> dict[str, Any]:
    """A subscription of that plan."""
    return {
        "external_customer_id": f"customer_{i}",
        "plan_code": "bench",
        "external_id": f"subscription_{i:06d}",
    }


def definitions_log(
    subscriptions: int,
    since: Mapping[str, str] = WHEN_MADE,
    metrics: int = 5,
    groups: Sequence[str] = (),
) -> Iterator[Command]:
    """The first metrics, a plan of all of them, by groups or not, and subscriptions."""
    made = [commands.create_billable_metric(ORG, body) for body in METRICS[:metrics]]
    yield from made
    properties = {"pricing_group_keys": groups} if groups else {}
    charges = [charge_of(str(metric.payload["id"]), **properties) for metric in made]
    yield commands.create_plan(ORG, plan_of(charges))
    for i in range(subscriptions):
        yield commands.create_subscription(ORG, {**subscription_of(i), **since})


def apply_definition(known: Definitions, command: Command, at_ms: int = NOW_MS) -> Applied:
    """Apply a command that has to be accepted."""
    outcome = apply(known, command.encode(), at_ms, known.offset)
    if not isinstance(outcome, Applied):
        raise TypeError(str(outcome))
    return outcome


def definitions(subscriptions: int, at_ms: int = NOW_MS) -> Definitions:
    """Metrics, a plan of all and subscriptions, made at a time."""
    known = Definitions()
    for command in definitions_log(subscriptions):
        apply_definition(known, command, at_ms)
    return known


async def define(worker: Worker, log: Iterator[Command]) -> None:
    """Append definitions to a worker's log, and wait until it has applied them."""
    topic, engine = worker.settings.topic(METER_DEFINITIONS), worker.engine
    while some := list(islice(log, DEFINED_AT_ONCE)):
        appending = (engine.append(topic, None, command.encode(), 0) for command in some)
        sent = await asyncio.gather(*appending)
        while engine.definitions.offset <= max(record.offset for record in sent):
            await asyncio.sleep(0.01)


@asynccontextmanager
async def local_servers(
    partitions: int, directory: Path | None = None, **own: Any
) -> AsyncIterator[Settings]:
    """Kafka with our topics, Redis, and settings of a worker on them.

    `directory`: keep the servers' files there. `own`: other settings.
    """
    with nullcontext(directory) if directory else tempfile.TemporaryDirectory() as name:
        state = Path(name)
        async with LocalKafka(state / "kafka") as kafka, LocalRedis(state / "redis") as redis:
            settings = Settings(
                **{
                    "profile": "local",
                    "kafka_bootstrap_servers": kafka.bootstrap_servers,
                    "kafka_dir": kafka.directory,
                    "redis_url": redis.url,
                    "state_dir": state / "meter",
                    "raw_partitions": partitions,
                    "http_port": free_ports(1)[0],
                    "implicit_plan": False,
                    **own,
                }
            )
            async with admin_client(settings) as admin:
                await ensure_topics(settings, admin)
            yield settings


class ShiftedClock(SystemClock):
    """A clock that runs as ever, but stands elsewhere."""

    def __init__(self, starts_at_ms: int):
        self.jump(starts_at_ms)

    def now_ms(self) -> int:
        """Return its time."""
        return super().now_ms() + self._shift_ms

    def jump(self, to_ms: int) -> None:
        """Stand at another time from now on."""
        self._shift_ms = to_ms - super().now_ms()


class Lateness:
    """How late a task of the running loop is at most that is due every so often."""

    def __init__(self, every_s: float):
        self._most_s = 0.0
        self._observing = asyncio.create_task(self._observe(every_s))

    async def _observe(self, every_s: float) -> None:
        while True:
            due_s = time.perf_counter() + every_s
            await asyncio.sleep(every_s)
            self._most_s = max(self._most_s, time.perf_counter() - due_s)

    def end(self) -> float:
        """Observe no more; the seconds that it was late at most."""
        self._observing.cancel()
        return self._most_s


async def until_owned(worker: Worker) -> None:
    """Wait until a worker has all partitions."""
    engine = worker.engine
    while len(engine.owned) < worker.settings.raw_partitions or engine.restoring:
        await asyncio.sleep(0.01)


def folded_events(worker: Worker) -> int:
    """How many events a worker has folded of the partitions that it has."""
    return sum(owned.folded_events for owned in worker.engine.owned.values())


def in_own_process(
    measure: Callable[..., Coroutine[Any, Any, None] | None], *arguments: Any
) -> None:
    """Measure in a process of its own: what another measurement left in memory does not count."""
    target = multiprocessing.get_context("spawn").Process(target=_run, args=(measure, *arguments))
    target.start()
    target.join()
    if target.exitcode:
        raise SystemExit(target.exitcode)


def _run(measure: Callable[..., Coroutine[Any, Any, None] | None], *arguments: Any) -> None:
    measuring = measure(*arguments)
    if measuring is not None:
        uvloop.run(measuring)


def keyed(name: str, partitions: int) -> tuple[bytes, int]:
    """Key and home of a subscription's events."""
    key = message_key(ORG, name)
    return key, home_partition(key, partitions, "crc32")


def number_of(i: int, subscriptions: int) -> int:
    """Which subscription the i-th event is of: each metric of one, then another far from it."""
    return i // 5 * 7919 % subscriptions


def event_value(i: int, n: int, now_s: float, code: str | None = None, **properties: str) -> bytes:
    """The i-th event, of subscription n, as Lago's own producer writes it.

    `code`: its own instead of that of the metrics in turns. `properties`: more of them.
    """
    return msgspec.json.encode(
        {
            "organization_id": ORG,
            "external_customer_id": None,
            "external_subscription_id": f"subscription_{n:06d}",
            "transaction_id": f"transaction-{i:012d}",
            "timestamp": f"{now_s + (i % 100_000) / 1000:.3f}",
            "code": code or METRICS[i % 5]["code"],
            "precise_total_amount_cents": "0.0",
            "properties": {"gb": (i % 997) / 4, "cores": i % 64, "user": f"u{i % 5000}"}
            | properties,
            "ingested_at": "2026-01-01T00:00:01.118",
            "source": "bench",
        }
    )


async def send_in_batches(
    producer: AIOKafkaProducer, topic: str, records: Iterable[tuple[int, bytes | None, bytes, int]]
) -> None:
    """Send (partition, key, value, time in ms) one full batch after another, in order."""
    batches = defaultdict[int, BatchBuilder](producer.create_batch)
    for partition, key, value, at_ms in records:
        while batches[partition].append(key=key, value=value, timestamp=at_ms) is None:
            await (await producer.send_batch(batches.pop(partition), topic, partition=partition))
    for partition, batch in batches.items():
        await (await producer.send_batch(batch, topic, partition=partition))


@contextmanager
def profiling(wanted: bool) -> Iterator[AbstractContextManager[object]]:
    """Give what notes where the CPU goes inside of each `with`, and print it at the end."""
    if not wanted:
        yield nullcontext()
        return
    profile = cProfile.Profile(time.process_time)
    yield profile
    pstats.Stats(profile).sort_stats("tottime").print_stats(40)


def at_shares(found: Iterable[float], *shares: float) -> list[float]:
    """The figures below which so many of all are; of none there is none."""
    ordered = sorted(found)
    return [ordered[min(len(ordered) - 1, int(len(ordered) * each))] for each in shares if ordered]
