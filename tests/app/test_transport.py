"""The transport against a real broker: several workers of one group in one process."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from faust.types import TP

from app.settings import Settings
from app.topics import EVENTS_REKEYED, ensure_topics
from app.transport import LOG_START, MeterApp, RecordBatch, make_app

pytestmark = pytest.mark.servers

QUICK = {
    "broker_session_timeout": 6.0,
    "broker_heartbeat_interval": 0.3,
    "broker_rebalance_timeout": 10.0,
    "broker_commit_interval": 0.2,
}


@dataclass
class Durable:
    """What a changelog would hold: shared by the workers of a test, kept over their ends."""

    next: dict[TP, int] = field(default_factory=dict)
    values: defaultdict[TP, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    owner: dict[int, str] = field(default_factory=dict)

    def all_values(self) -> list[bytes]:
        return [value for values in self.values.values() for value in values]


class Owner:
    """Folds into memory, and moves it to `Durable` in flushes, as the real owner does."""

    def __init__(self, name: str, durable: Durable, settings: Settings) -> None:
        self.name = name
        self.durable = durable
        self.topics = (settings.topic(settings.raw_topic), settings.topic(EVENTS_REKEYED))
        self.partitions: frozenset[int] = frozenset()
        self.log: list[str] = []
        self.folded: list[RecordBatch] = []
        self.next: dict[TP, int] = {}
        self.flush_s: float | None = 0.05
        self.app: MeterApp

    async def assign(self, partitions: frozenset[int]) -> Mapping[TP, int]:
        self.log.append(f"assign {sorted(partitions)}")
        self.partitions = partitions
        self.folded.clear()
        for partition in partitions:
            self.durable.owner[partition] = self.name
        tps = [TP(topic, partition) for topic in self.topics for partition in partitions]
        self.next = {tp: self.durable.next.get(tp, LOG_START) for tp in tps}
        return dict(self.next)

    async def release(self, partitions: frozenset[int]) -> None:
        self.log.append(f"release {sorted(partitions)}")
        self.flush()
        self.partitions = frozenset()

    def fold(self, batch: RecordBatch) -> None:
        assert batch.tp.partition in self.partitions
        expected = self.next[batch.tp]
        assert expected in (batch.start, LOG_START), (batch.tp, expected, batch.start)
        assert batch.start <= batch.first <= batch.last < batch.next
        self.next[batch.tp] = batch.next
        self.folded.append(batch)

    def flush(self) -> None:
        for batch in self.folded:
            assert self.durable.owner[batch.tp.partition] == self.name
            self.durable.next[batch.tp] = batch.next
            self.durable.values[batch.tp] += [record.value for record in batch]
        for batch in self.folded:
            assert self.app.acknowledge(batch)
        self.folded.clear()


@asynccontextmanager
async def worker(
    name: str, settings: Settings, durable: Durable, **options: Any
) -> AsyncIterator[Owner]:
    """A worker that is stopped gracefully in the end."""
    owner = Owner(name, durable, settings)
    app = owner.app = make_app(settings, owner, **(QUICK | options))
    app.in_worker = True

    @app.agent(app.batch_topic())
    async def fold(stream: Any) -> None:
        async for batch in app.batches(stream):
            owner.fold(batch)

    async def flush_often() -> None:
        while True:
            await asyncio.sleep(owner.flush_s or 0.05)
            if owner.flush_s:
                owner.flush()

    app.finalize()
    await app.start()
    flushing = asyncio.create_task(flush_often())
    try:
        yield owner
    finally:
        await app.stop()
        flushing.cancel()


async def until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def producer(settings: Settings, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
    async with AIOKafkaProducer(**settings.kafka_options(), **options) as running:
        yield running


async def send(settings: Settings, topic: str, values: list[bytes], start: int = 0) -> None:
    async with producer(settings, linger_ms=5) as sender:
        for number, value in enumerate(values, start):
            await sender.send(topic, value, partition=number % settings.raw_partitions)
        await sender.flush()


async def committed(settings: Settings) -> dict[TP, int]:
    admin = AIOKafkaAdminClient(**settings.kafka_options())
    await admin.start()
    try:
        found = await admin.list_consumer_group_offsets(settings.consumer_group)
    finally:
        await admin.close()
    return {TP(tp.topic, tp.partition): meta.offset for tp, meta in found.items()}


@pytest.fixture
async def ready(settings: Settings) -> Settings:
    """Settings whose topics exist."""
    admin = AIOKafkaAdminClient(**settings.kafka_options())
    await admin.start()
    try:
        await ensure_topics(settings, admin)
    finally:
        await admin.close()
    return settings


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%06d" % number for number in range(start, start + count)]


async def test_everything_arrives_once_over_restarts(ready: Settings) -> None:
    durable = Durable()
    raw = ready.topic(ready.raw_topic)
    await send(ready, raw, numbers(2_000))
    async with worker("a", ready, durable) as owner:
        await until(lambda: len(durable.all_values()) == 2_000)
        assert owner.log == ["assign [0, 1, 2, 3]"]
    assert owner.log == ["assign [0, 1, 2, 3]", "release [0, 1, 2, 3]"]
    await send(ready, raw, numbers(2_000, 2_000), 2_000)
    async with worker("b", ready, durable):
        await until(lambda: len(durable.all_values()) == 4_000)
    assert sorted(durable.all_values()) == numbers(4_000)
    for tp, values in durable.values.items():
        assert values == sorted(values), f"{tp} is out of order"
