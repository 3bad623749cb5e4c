"""Commit flushes, wait until readers see them, and read all of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from app.kafka.names import TopicPartition
from app.kafka.reading import Reading, T
from app.kafka.transactions import PartitionProducer, Record
from app.runtime.offsets import Offsets
from app.settings import Settings
from tests.world.waiting import eventually


async def commit(settings: Settings, *flushes: Iterable[Record]) -> None:
    """Commit each flush in a transaction of its own, as the owner of partition 0 does."""
    producer = PartitionProducer(settings, 0)
    try:
        await producer.start()
        for flush in flushes:
            await producer.commit(flush)
    finally:
        await producer.stop()


async def all_of(read: Reading[T]) -> list[T]:
    """Return what a reader yields."""
    async with read as batches:
        return [batch async for batch in batches]


async def markers_written(settings: Settings, tps: Collection[TopicPartition]) -> None:
    """Wait until no transaction of these partitions is on its way.

    A broker says that a transaction is committed before its markers are in every log, and until
    then readers end before it. A new owner waits for none: its producer starts after them.
    """
    offsets = Offsets(settings)

    async def is_on_its_way() -> bool:
        return await offsets.ends(list(tps)) != await offsets.written_ends(list(tps))

    await offsets.start()
    try:
        await eventually(is_on_its_way, False, every_s=0.02)
    finally:
        await offsets.stop()
