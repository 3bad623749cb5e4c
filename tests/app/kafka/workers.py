"""Workers of one group in one process, and what the state of each holds: for the transport."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete
from faust.types import TP

from app.kafka.faust_app import MeterApp, make_app
from app.kafka.placing import LOG_START
from app.kafka.record_batch import RecordBatch
from app.kafka.topics import EVENTS_REKEYED, admin_client
from app.settings import Settings
from tests.world.waiting import until

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

    late: frozenset[int] = frozenset()
    """What a test has delivered by itself."""

    def __init__(self, name: str, durable: Durable, settings: Settings) -> None:
        self.name = name
        self.durable = durable
        self.topics = (settings.topic(settings.raw_topic), settings.topic(EVENTS_REKEYED))
        self.partitions: frozenset[int] = frozenset()
        self.log: list[str] = []
        self.folded: list[RecordBatch] = []
        self.next: dict[TP, int] = {}
        self.flush_s: float | None = 0.05
        self.can_fold = asyncio.Event()
        self.can_fold.set()
        self.told: dict[int, int] = {}
        """Events a minute of partitions."""
        self.app: MeterApp
        self.failure: Exception | None = None
        """What the first partition could not be delivered for."""
        self._beginning: list[asyncio.Task[None]] = []

    async def assign(self, partitions: frozenset[int]) -> None:
        self.log.append(f"assign {sorted(partitions)}")
        self.partitions = partitions
        self.folded.clear()
        for partition in partitions:
            self.durable.owner[partition] = self.name
        tps = [TP(topic, partition) for topic in self.topics for partition in partitions]
        self.next = {tp: self.durable.next.get(tp, LOG_START) for tp in tps}
        at_hand = partitions - self.late
        self._beginning = [asyncio.create_task(self._deliver(number)) for number in at_hand]

    async def restored(self, number: int) -> bool:
        """Have a partition delivered; False: a rebalance has begun."""
        offsets = {tp: self.next.get(tp, LOG_START) for tp in self.logs_of(number)}
        return await self.app.batches.deliver_from(number, offsets)

    def logs_of(self, number: int) -> list[TP]:
        return [TP(topic, number) for topic in self.topics]

    async def _deliver(self, number: int) -> None:
        try:
            await self.restored(number)
        except Exception as error:
            # As the app ends others fail, too.
            self.failure = self.failure or error
            await self.app.crash(error)

    def loads(self) -> Mapping[int, int]:
        return self.told

    async def release(self, partitions: frozenset[int]) -> None:
        self.log.append(f"release {sorted(partitions)}")
        for task in self._beginning:
            task.cancel()
        self.flush()
        self.partitions = frozenset()

    def fold(self, batch: RecordBatch) -> None:
        assert batch.tp.partition in self.partitions
        expected = self.next[batch.tp]
        assert expected in (batch.start, LOG_START), (batch.tp, expected, batch.start)
        assert all(batch.start <= record.offset < batch.next for record in batch)
        self.next[batch.tp] = batch.next
        self.folded.append(batch)

    def flush(self) -> None:
        for batch in self.folded:
            assert self.durable.owner[batch.tp.partition] == self.name
            self.durable.next[batch.tp] = batch.next
            self.durable.values[batch.tp] += [record.value or b"" for record in batch]
        for batch in self.folded:
            assert self.app.batches.acknowledge(batch)
        self.folded.clear()


async def kept_batches(app: MeterApp, stream: Any) -> AsyncIterator[RecordBatch]:
    """The batches of an agent's stream that no rebalance has made void."""
    async for batches in stream:
        for batch in batches:
            if app.batches.take(batch):
                yield batch


@asynccontextmanager
async def worker(
    name: str, settings: Settings, durable: Durable, kind: type[Owner] = Owner, **options: Any
) -> AsyncIterator[Owner]:
    """A worker that is stopped gracefully in the end."""
    owner = kind(name, durable, settings)
    app = owner.app = make_app(settings, owner, **(QUICK | options))
    app.in_worker = True

    waiting: asyncio.Queue[RecordBatch] = asyncio.Queue()

    @app.agent(app.batch_topic())
    async def queue(stream: Any) -> None:
        async for batches in stream:
            for batch in batches:
                waiting.put_nowait(batch)

    async def fold() -> None:
        while True:
            batch = await waiting.get()
            if app.batches.take(batch):
                await owner.can_fold.wait()
                try:
                    owner.fold(batch)
                except AssertionError as error:
                    await app.crash(error)

    async def flush_often() -> None:
        while True:
            await asyncio.sleep(owner.flush_s or 0.05)
            if owner.flush_s:
                owner.flush()

    app.finalize()
    tasks = [asyncio.create_task(flush_often()), asyncio.create_task(fold())]
    try:
        await app.start()
        yield owner
    finally:
        await app.stop()
        for task in tasks:
            task.cancel()


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
    async with admin_client(settings) as admin:
        found = await admin.list_consumer_group_offsets(settings.consumer_group)
    return {TP(tp.topic, tp.partition): meta.offset for tp, meta in found.items()}


async def delete_before(settings: Settings, tp: TopicPartition, offset: int) -> None:
    """Do at once what retention would do."""
    async with admin_client(settings) as admin:
        await admin.delete_records({TopicPartition(*tp): RecordsToDelete(offset)})


def numbers(count: int, start: int = 0) -> list[bytes]:
    return [b"%06d" % number for number in range(start, start + count)]


def running(owner: Owner, settings: Settings) -> MeterApp:
    """Not started."""
    app = owner.app = make_app(settings, owner, **QUICK)

    @app.agent(app.batch_topic())
    async def fold(stream: Any) -> None:
        async for batch in kept_batches(app, stream):
            owner.fold(batch)

    return app


async def crash_of(app: MeterApp) -> BaseException | None:
    """Start the app and give the reason for which it crashes."""
    app.in_worker = True
    app.finalize()
    starting = asyncio.create_task(app.start())
    try:
        await until(lambda: app.crashed)
        return app.crash_reason
    finally:
        await app.stop()
        starting.cancel()
        await asyncio.wait([starting])
