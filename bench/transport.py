"""Speed of what moves records: delivery to an agent that does nothing, flushes, restores.

Run: python -m bench.transport [records]
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Mapping
from typing import Any

import uvloop
from aiokafka import AIOKafkaProducer, TopicPartition
from faust.types import TP

from app.kafka.faust_app import MeterApp, make_app
from app.kafka.log_readers import read_to_end
from app.kafka.placing import LOG_START
from app.kafka.topics import CELLS_CHANGELOG, EVENTS_REKEYED
from app.kafka.transactions import PartitionProducer, Record
from app.settings import Settings
from bench.world import local_servers

VALUE = b"x" * 160
FLUSH_RECORDS = 50_000
PARTITIONS = 4


class Stopwatch:
    """Wall and CPU time of this process since it was made."""

    def __init__(self) -> None:
        self._wall_s = time.perf_counter()
        self._cpu_s = time.process_time()

    def report(self, what: str, count: int) -> None:
        wall_s, cpu_s = time.perf_counter() - self._wall_s, time.process_time() - self._cpu_s
        print(f"{what:<28} {count / wall_s:>10,.0f} records/s {cpu_s / count * 1e6:>8.2f} us CPU")


class NothingKept:
    """An owner without state: everything is read from the start."""

    def __init__(self, settings: Settings) -> None:
        self.topics = (settings.topic(settings.raw_topic), settings.topic(EVENTS_REKEYED))
        self.assigned = asyncio.Event()
        self.app: MeterApp
        self._beginning: list[asyncio.Task[bool]] = []

    async def assign(self, partitions: frozenset[int]) -> None:
        self.assigned.set()
        for number in partitions:
            offsets = dict.fromkeys((TP(topic, number) for topic in self.topics), LOG_START)
            delivering = self.app.batches.deliver_from(number, offsets)
            self._beginning.append(asyncio.create_task(delivering))

    async def release(self, partitions: frozenset[int]) -> None:
        """There is nothing to flush."""

    def loads(self) -> Mapping[int, int]:
        """Nothing is measured."""
        return {}


async def deliver(settings: Settings, count: int) -> None:
    """Everything in the raw topic, through the transport."""
    owner = NothingKept(settings)
    app = owner.app = make_app(settings, owner)
    done = asyncio.Event()
    taken = 0

    @app.agent(app.batch_topic())
    async def take(stream: Any) -> None:
        nonlocal taken
        async for batches in stream:
            for batch in batches:
                if app.batches.take(batch):
                    taken += len(batch)
                    app.batches.acknowledge(batch)
            if taken >= count:
                done.set()

    app.in_worker = True
    app.finalize()
    starting = asyncio.create_task(app.start())
    await owner.assigned.wait()
    watch = Stopwatch()
    await done.wait()
    watch.report("delivery, agent does nothing", count)
    await starting
    await app.stop()


async def flush_and_restore(settings: Settings, count: int) -> None:
    """Flushes of cells, then the restore from them."""
    topic = settings.topic(CELLS_CHANGELOG)
    producer = PartitionProducer(settings, 0)
    await producer.start()
    watch = Stopwatch()
    for start in range(0, count, FLUSH_RECORDS):
        numbers = range(start, min(count, start + FLUSH_RECORDS))
        await producer.commit(Record(topic, 0, b"%016d" % n, VALUE) for n in numbers)
    watch.report(f"flush of {FLUSH_RECORDS:,}", count)
    await producer.stop()
    # As a new owner does, which waits for the markers of those before it.
    owner = PartitionProducer(settings, 0)
    await owner.start()
    watch, found = Stopwatch(), 0
    async with read_to_end(settings, [TopicPartition(topic, 0)]) as batches:
        async for _, rows in batches:
            found += len(rows)
    watch.report("restore", found)
    await owner.stop()
    if found != count:
        raise ValueError(f"{found} records restored of {count}")


async def fill(settings: Settings, count: int) -> None:
    """Records in all partitions of the raw topic."""
    async with AIOKafkaProducer(**settings.kafka_options(), max_batch_size=2**20) as producer:
        for start in range(0, count, 5_000):
            batch = producer.create_batch()
            for _ in range(start, min(count, start + 5_000)):
                batch.append(key=b"organization-subscription", value=VALUE, timestamp=None)
            partition = start // 5_000 % settings.raw_partitions
            topic = settings.topic(settings.raw_topic)
            sent = await producer.send_batch(batch, topic, partition=partition)
            await sent


async def main(count: int) -> None:
    """Measure on a Kafka of our own."""
    logging.disable(logging.ERROR)
    async with local_servers(PARTITIONS) as settings:
        await fill(settings, count)
        await deliver(settings, count)
        await flush_and_restore(settings, count)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 400_000))
