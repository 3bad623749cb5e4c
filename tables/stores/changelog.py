"""Changelogs in Kafka: written by one transaction a flush, read by batch.

A partition has one transactional producer; when a new owner starts its own, the broker fences the
older one, so that a worker which lost its partition without knowing can write nothing any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import (
    InvalidProducerEpoch,
    KafkaError,
    ProducerFenced,
)
from aiokafka.structs import ConsumerRecord

from app.settings import Settings

MAX_BATCH_BYTES = 512 * 1024
"""Records of a flush travel in batches of this size, one after another."""

MAX_REQUEST_BYTES = 16 * 1024 * 1024
FETCH_BYTES = 8 * 1024 * 1024
READ_TIMEOUT_MS = 500
RETRY_S = 1.0
STOP_TIMEOUT_S = 10.0


class Fenced(Exception):
    """A newer owner of the partition exists; nothing was written."""


class Record(NamedTuple):
    """One record to write; a None value deletes."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes]]


class LogRecord(NamedTuple):
    """One record of a log."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    timestamp_ms: int
    offset: int


class PartitionProducer:
    """The transactional producer of one partition."""

    def __init__(self, settings: Settings, number: int):
        self._producer = AIOKafkaProducer(
            transactional_id=f"{settings.consumer_group}-{number}",
            acks="all",
            max_batch_size=MAX_BATCH_BYTES,
            max_request_size=MAX_REQUEST_BYTES,
            **settings.kafka_options(),
        )

    async def start(self) -> None:
        """Fence every older owner and abort what it had begun."""
        await self._producer.start()

    async def stop(self) -> None:
        """Let go; a broker that is gone does not hold this up."""
        with suppress(KafkaError, TimeoutError):
            await asyncio.wait_for(self._producer.stop(), STOP_TIMEOUT_S)

    async def commit(self, records: Iterable[Record]) -> None:
        """Write all records in one transaction. Raises `Fenced`; other errors propagate."""
        try:
            async with self._producer.transaction():
                sent = [await self._send(*group) for group in _by_partition(records).items()]
                for batches in sent:
                    for batch in batches:
                        await batch
        except (ProducerFenced, InvalidProducerEpoch) as error:
            raise Fenced("another worker has taken the partition over") from error

    async def _send(
        self, tp: TopicPartition, records: list[Record]
    ) -> list[asyncio.Future[object]]:
        """Hand records of one partition over, in order and in large batches."""
        sent: list[asyncio.Future[object]] = []
        batch = self._producer.create_batch()
        for _, _, key, value, headers in records:
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                sent.append(
                    await self._producer.send_batch(batch, tp.topic, partition=tp.partition)
                )
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None, headers=headers)
        sent.append(await self._producer.send_batch(batch, tp.topic, partition=tp.partition))
        return sent


def _by_partition(records: Iterable[Record]) -> dict[TopicPartition, list[Record]]:
    groups: dict[TopicPartition, list[Record]] = {}
    for record in records:
        groups.setdefault(TopicPartition(record.topic, record.partition), []).append(record)
    return groups


def plain_consumer(settings: Settings) -> AIOKafkaConsumer:
    """A consumer outside any group that reads what is committed."""
    return AIOKafkaConsumer(
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_partition_fetch_bytes=FETCH_BYTES,
        fetch_max_bytes=4 * FETCH_BYTES,
        fetch_max_wait_ms=100,
        **settings.kafka_options(),
    )


async def read_to_end(
    settings: Settings, tps: Sequence[TopicPartition]
) -> AsyncIterator[tuple[TopicPartition, list[tuple[int, bytes, bytes | None]]]]:
    """Everything committed until now, by batches of (offset, key, value)."""
    consumer = plain_consumer(settings)
    await consumer.start()
    try:
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        starts = await consumer.beginning_offsets(tps)
        left = {tp for tp in tps if ends[tp] > starts[tp]}
        for tp in tps:
            consumer.seek(tp, starts[tp])
        while left:
            fetched = await consumer.getmany(*left, timeout_ms=READ_TIMEOUT_MS)
            for tp, records in fetched.items():
                rows = [(r.offset, r.key or b"", r.value) for r in records if r.offset < ends[tp]]
                if rows:
                    yield tp, rows
            left = {tp for tp in left if await consumer.position(tp) < ends[tp]}
    finally:
        await consumer.stop()


class LogReader:
    """Reads a whole single-partition log and then follows it."""

    def __init__(self, settings: Settings, topic: str):
        self._settings = settings
        self._tp = TopicPartition(topic, 0)
        self._consumer: AIOKafkaConsumer | None = None
        self.caught_up = asyncio.Event()
        """Set once everything written before the start was handed out and taken."""

    async def batches(self) -> AsyncIterator[list[LogRecord]]:
        """Records in order, for ever. While the broker does not answer it waits and tries again."""
        consumer = self._consumer = plain_consumer(self._settings)
        await consumer.start()
        consumer.assign([self._tp])
        end = (await consumer.end_offsets([self._tp]))[self._tp]
        await consumer.seek_to_beginning(self._tp)
        if await consumer.position(self._tp) >= end:
            self.caught_up.set()
        while True:
            try:
                fetched = await consumer.getmany(timeout_ms=READ_TIMEOUT_MS)
            except KafkaError:
                await asyncio.sleep(RETRY_S)
                continue
            for records in fetched.values():
                yield [_log_record(record) for record in records]
            if not self.caught_up.is_set() and await consumer.position(self._tp) >= end:
                self.caught_up.set()

    async def stop(self) -> None:
        """Stop reading."""
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None


class RecordReader:
    """Fetches single records by offset, one at a time, through one consumer."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None
        self._lock = asyncio.Lock()

    async def read(self, topic: str, partition: int, offset: int) -> LogRecord | None:
        """The record; None when the log has no record at that offset."""
        tp = TopicPartition(topic, partition)
        async with self._lock:
            consumer = await self._started()
            consumer.assign([tp])
            start = (await consumer.beginning_offsets([tp]))[tp]
            end = (await consumer.end_offsets([tp]))[tp]
            if not start <= offset < end:
                return None
            consumer.seek(tp, offset)
            while await consumer.position(tp) <= offset:
                fetched = await consumer.getmany(tp, timeout_ms=READ_TIMEOUT_MS, max_records=1)
                for record in fetched.get(tp, ()):
                    return _log_record(record) if record.offset == offset else None
            return None

    async def _started(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            self._consumer = plain_consumer(self._settings)
            await self._consumer.start()
        return self._consumer

    async def stop(self) -> None:
        """Close the connection."""
        if self._consumer is not None:
            await self._consumer.stop()
            self._consumer = None


def _log_record(record: ConsumerRecord) -> LogRecord:
    return LogRecord(record.key, record.value, record.headers, record.timestamp, record.offset)
