"""Changelogs in Kafka: written by one transaction a flush, read by batch.

A partition has one transactional producer; when a new owner starts its own, the broker fences the
older one, so that a worker which lost its partition without knowing can write nothing any more.
Source: state.md §3-§4, stream-engine.md §0.4-§0.5.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidTransactionTimeout,
    KafkaError,
    OffsetOutOfRangeError,
    ProducerFenced,
)
from aiokafka.structs import ConsumerRecord

from app.clients import NOT_TAKEN, Consumer, Producer, started
from app.failpoints import failpoint
from app.limits import COMMIT_TIMEOUT_S, TRANSACTION_TIMEOUT_MS
from app.settings import Settings
from app.stack.errors import StackError

log = logging.getLogger(__name__)

# Below what a topic takes by default (1,048,588); a single larger record is a batch of its own.
MAX_BATCH_BYTES: Final = 1_000_000
FETCH_BYTES: Final = 8 * 1024 * 1024
FETCH_MAX_WAIT_MS: Final = 100
READ_TIMEOUT_MS: Final = 500
REQUEST_TIMEOUT_MS: Final = 40_000
ABORT_TIMEOUT_S: Final = 5.0
STOP_TIMEOUT_S: Final = 5.0
ASKED_WITHIN_S: Final = 10.0
RETRY_S: Final = 0.5
_PACKED_AT_ONCE: Final = 2_000
_LOOKED_UP_AT_ONCE: Final = 500
_LOOK_UP_BYTES: Final = 128 * 1024
"""Fetched for a record that is looked up; more would mostly be for nothing."""
_READ_OVER: Final = 1_000
"""Reading so many records takes less than going to another place in the log."""
_NEAR_END: Final = 2_000
"""Records from the end of a log that the newest one of a key is looked for in, first."""
_READ_AT_ONCE: Final = 10_000
"""More would keep the event loop, and with it partitions that are served, waiting."""
_FOLLOWED_AT_ONCE: Final = 1_000
"""Unpacked in one go: 10 ms."""


class Fenced(Exception):
    """A newer owner of the partition exists; nothing was written."""


class TransactionTooLong(StackError):
    """The broker allows no transaction of our length."""

    def __init__(self) -> None:
        super().__init__(
            f"The broker allows no transaction of {TRANSACTION_TIMEOUT_MS} ms. Set "
            f"transaction.max.timeout.ms to at least that on every broker (Kafka's default is "
            "900000) and start again."
        )


class BeyondRetention(Exception):
    """The log no longer holds the first record that was asked for."""


class Record(NamedTuple):
    """One record to write; a None value deletes."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp_ms: int | None = None
    """None: now. Only a test clock gives one."""


class LogRecord(NamedTuple):
    """One record of a log."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp_ms: int
    offset: int


Conclude = Callable[[Mapping[TopicPartition, int]], Iterable[Record]]
"""Last records of a transaction, from the offsets of the last ones before by topic partition."""


def _transactional(settings: Settings, name: str) -> Producer:
    return Producer(
        transactional_id=f"{settings.consumer_group}-{name}",
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        acks="all",
        max_batch_size=MAX_BATCH_BYTES,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **settings.kafka_options(),
    )


async def require_long_transactions(settings: Settings) -> None:
    """Ask the broker for a transaction of our length, before anything is taken over.

    A broker that does not answer in time is not waited for: whoever takes a partition over asks
    again.

    Raises:
        TransactionTooLong: the broker is set up for shorter ones.
    """
    try:
        async with asyncio.timeout(ASKED_WITHIN_S), started(_transactional(settings, "start")):
            pass
    except InvalidTransactionTimeout as error:
        raise TransactionTooLong from error
    except NOT_TAKEN as error:
        log.warning("Whether the broker allows our transactions is not known yet: %r", error)


class PartitionProducer:
    """The transactional producer of one partition."""

    def __init__(self, settings: Settings, number: int):
        self._settings = settings
        self._number = number
        self._one_flush = asyncio.Lock()
        self._producer = self._made()
        self._failed: BaseException | None = None

    def _made(self) -> Producer:
        return _transactional(self._settings, str(self._number))

    async def start(self) -> None:
        """Fence every older owner and abort what it had begun.

        Raises:
            TransactionTooLong: the broker is set up for shorter ones.
            KafkaError, OSError, TimeoutError: the brokers do not let us; it may be tried again.
        """
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await self._producer.start()
        except InvalidTransactionTimeout as error:
            raise TransactionTooLong from error

    async def replace(self) -> None:
        """Go on with a new producer after a failure: what the last one had open is ended.

        Raises: as `start`.
        """
        async with self._one_flush:
            self._failed = self._failed or KafkaError("the producer is being replaced")
            await self.stop()
            self._producer = self._made()
            await self.start()
            self._failed = None

    async def newest(self, topic: str, key: bytes) -> bytes | None:
        """The newest committed value of a key in the partition's part of a topic."""
        return await newest_value(self._settings, TopicPartition(topic, self._number), key)

    async def commit(self, records: Iterable[Record], conclude: Conclude | None = None) -> None:
        """Write all records in one transaction; those of one topic partition keep their order.

        `conclude` makes the last ones once the others have their offsets.

        Raises:
            Fenced: another worker has taken the partition over.
            Exception: the transaction may or may not have been committed. After any failure the
                producer refuses to go on until it is replaced.
        """
        async with self._one_flush:
            if self._failed is not None:
                raise self._failed
            try:
                async with asyncio.timeout(COMMIT_TIMEOUT_S):
                    await self._write(records, conclude)
            except Exception as error:
                self._failed = self._cause(error)
                await self._abort()
                if self._failed is error:
                    raise
                raise self._failed from error
            except BaseException:
                self._failed = KafkaError("a flush was interrupted: its changes may be lost")
                await self._abort()
                raise

    async def _write(self, records: Iterable[Record], conclude: Conclude | None) -> None:
        batches = await self._pack(records)
        if not batches:
            return
        await self._producer.begin_transaction()
        offsets = await self._send_all(batches)
        if conclude is not None:
            await self._send_all(await self._pack(conclude(offsets)))
        failpoint("mid-commit")
        await self._producer.commit_transaction()

    async def _send_all(
        self, batches: Mapping[TopicPartition, list[Any]]
    ) -> dict[TopicPartition, int]:
        sending = [asyncio.create_task(self._send(tp, found)) for tp, found in batches.items()]
        try:
            return dict(zip(batches, await asyncio.gather(*sending), strict=True))
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)

    async def _pack(self, records: Iterable[Record]) -> dict[TopicPartition, list[Any]]:
        """Batches by topic partition: less than half of what one `send` a record costs."""
        packed: dict[TopicPartition, list[Any]] = {}
        for count, record in enumerate(records, 1):
            topic, partition, key, value, headers, at_ms = record
            batches = packed.setdefault(TopicPartition(topic, partition), [])
            fields = {"key": key, "value": value, "headers": list(headers), "timestamp": at_ms}
            if not batches or batches[-1].append(**fields) is None:
                batches.append(self._producer.create_batch())
                batches[-1].append(**fields)
            if count % _PACKED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return packed

    async def _send(self, tp: TopicPartition, batches: list[Any]) -> int:
        """Offset of the last record; -1 when the broker had it from a try before and tells none."""
        delivered: list[asyncio.Future[Any]] = []
        try:
            for batch in batches:
                future = await self._producer.send_batch(batch, tp.topic, partition=tp.partition)
                delivered.append(future)
            *_, last = await asyncio.gather(*delivered)
            return int(last.offset) + batches[-1].record_count() - 1 if last.offset >= 0 else -1
        finally:
            for future in delivered:
                future.add_done_callback(_retrieve)

    def _cause(self, error: BaseException) -> BaseException:
        """aiokafka tells some callers of the fence, others only that nothing goes any more."""
        told = isinstance(error, ProducerFenced | InvalidProducerEpoch)
        sender = self._producer._sender.sender_task
        ended = sender is not None and sender.done() and not sender.cancelled()
        if told or (ended and isinstance(sender.exception(), ProducerFenced)):
            return Fenced(f"another worker has taken partition {self._number} over")
        return error

    async def _abort(self) -> None:
        """Readers wait for the end of a transaction: end it now, if the broker still answers."""
        transactions = self._producer._txn_manager
        if transactions.is_in_transaction() and not isinstance(self._failed, Fenced):
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(ABORT_TIMEOUT_S):
                    await self._producer.abort_transaction()

    async def stop(self) -> None:
        """Let go; a broker that is gone does not hold this up."""
        producer = self._producer
        stopping = asyncio.ensure_future(producer.stop())
        _, late = await asyncio.wait([stopping], timeout=STOP_TIMEOUT_S)
        if not late:
            with suppress(*NOT_TAKEN):
                stopping.result()
            return
        # What it waits for will not come: fail it, and what waits comes to its end.
        gone = KafkaError("the producer was stopped while the broker did not answer")
        producer._message_accumulator.fail_all(gone)
        await asyncio.wait([stopping], timeout=STOP_TIMEOUT_S)
        stopping.cancel()
        sender = producer._sender.sender_task
        if sender is not None:
            sender.cancel()
        await producer.client.close()
        await asyncio.wait([task for task in (stopping, sender) if task], timeout=STOP_TIMEOUT_S)
        stopping.add_done_callback(_retrieve)


def _retrieve(future: asyncio.Future[Any]) -> None:
    """Take note of a failure that somebody else reports."""
    if not future.cancelled():
        future.exception()


def plain_consumer(settings: Settings, fetch_bytes: int = FETCH_BYTES) -> Consumer:
    """A consumer outside any group that reads what is committed, and never skips lost records."""
    return Consumer(
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=fetch_bytes,
        fetch_max_bytes=4 * FETCH_BYTES,
        fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **settings.kafka_options(),
    )


async def read_to_end(
    settings: Settings,
    tps: Sequence[TopicPartition],
    from_offsets: Mapping[TopicPartition, int] | None = None,
) -> AsyncIterator[tuple[TopicPartition, list[tuple[int, bytes, bytes | None]]]]:
    """Everything committed until now, by batches of (offset, key or b"", value).

    Begins at `from_offsets`, and where that names nothing, or less than the log has, at its start.
    """
    async with started(plain_consumer(settings)) as consumer:
        ends = await consumer.end_offsets(tps)
        starts = await consumer.beginning_offsets(tps)
        positions = {tp: max(starts[tp], (from_offsets or {}).get(tp, 0)) for tp in tps}
        async for tp, records in _between(consumer, positions, ends):
            yield tp, [(record.offset, record.key or b"", record.value) for record in records]


async def bounds(settings: Settings, tp: TopicPartition) -> tuple[int, int]:
    """The first offset that a partition of a log still has, and the next that it will have."""
    async with started(plain_consumer(settings)) as consumer:
        starts = await consumer.beginning_offsets([tp])
        ends = await consumer.end_offsets([tp])
        return int(starts[tp]), int(ends[tp])


async def newest_value(settings: Settings, tp: TopicPartition, key: bytes) -> bytes | None:
    """The newest committed value of a key, looked for from the end; None: there is none."""
    async with started(plain_consumer(settings)) as consumer:
        start = (await consumer.beginning_offsets([tp]))[tp]
        end = upper = (await consumer.end_offsets([tp]))[tp]
        reach = _NEAR_END
        while upper > start:
            lower = max(start, end - reach)
            found: bytes | None = None
            async for _, records in _between(consumer, {tp: lower}, {tp: upper}):
                for record in records:
                    found = record.value if record.key == key else found
            if found is not None:
                return found
            upper, reach = lower, 8 * reach
    return None


async def scan(
    settings: Settings, tp: TopicPartition, from_offset: int, to_offset: int
) -> AsyncIterator[list[LogRecord]]:
    """Records from `from_offset` up to and without `to_offset`, by batches.

    Raises:
        BeyondRetention: the log begins later.
    """
    if from_offset >= to_offset:
        return
    try:
        async with started(plain_consumer(settings)) as consumer:
            async for _, records in _between(consumer, {tp: from_offset}, {tp: to_offset}):
                yield [_log_record(record) for record in records]
    except OffsetOutOfRangeError as error:
        raise BeyondRetention(f"{tp.topic} partition {tp.partition} at {from_offset}") from error


async def _between(
    consumer: Consumer,
    positions: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> AsyncIterator[tuple[TopicPartition, list[ConsumerRecord]]]:
    """Fetched batches until each position is at its end, which a transaction marker may be."""
    left = [tp for tp, position in positions.items() if position < ends[tp]]
    consumer.assign(left)
    for tp in left:
        consumer.seek(tp, positions[tp])
    while left:
        fetched = await consumer.getmany(
            *left, timeout_ms=READ_TIMEOUT_MS, max_records=_READ_AT_ONCE
        )
        for tp, records in fetched.items():
            if records[-1].offset >= ends[tp]:
                records = [record for record in records if record.offset < ends[tp]]
            if records:
                yield tp, records
        left = [tp for tp in left if await consumer.position(tp) < ends[tp]]


class LogReader:
    """Reads a whole single-partition log and then follows it."""

    def __init__(self, settings: Settings, topic: str):
        self._settings = settings
        self.tp = TopicPartition(topic, 0)
        self._consumer: Consumer | None = None
        self._end: int | None = None
        self.next = 0
        """Offset after the last one that was handed out and taken."""
        self.caught_up = asyncio.Event()
        """Set once everything written before the start was handed out and taken."""

    async def batches(self) -> AsyncIterator[list[LogRecord]]:
        """Records in order, until cancelled. While the broker does not answer it tries again.

        Raises:
            BeyondRetention: records that were not read yet have been deleted.
        """
        while True:
            try:
                async for records in self._follow():
                    yield records
            except OffsetOutOfRangeError as error:
                raise BeyondRetention(f"{self.tp.topic} at {self.next}") from error
            except NOT_TAKEN:
                with suppress(*NOT_TAKEN):
                    await self.stop()
                await asyncio.sleep(RETRY_S)

    async def _follow(self) -> AsyncIterator[list[LogRecord]]:
        tp = self.tp
        consumer = self._consumer = plain_consumer(self._settings)
        await consumer.start()
        if self._end is None:
            self._end = (await consumer.end_offsets([tp]))[tp]
            self.next = (await consumer.beginning_offsets([tp]))[tp]
        consumer.assign([tp])
        consumer.seek(tp, self.next)
        while True:
            if self.next >= self._end:
                self.caught_up.set()
            fetched = await consumer.getmany(
                tp, timeout_ms=READ_TIMEOUT_MS, max_records=_FOLLOWED_AT_ONCE
            )
            position = await consumer.position(tp)
            for records in fetched.values():
                yield [_log_record(record) for record in records]
            self.next = position

    async def stop(self) -> None:
        """Close the connection."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()


class RecordReader:
    """Fetches single records by offset, one request at a time, through one consumer."""

    def __init__(self, settings: Settings):
        self._settings = settings
        self._consumer: Consumer | None = None
        self._lock = asyncio.Lock()

    async def read(self, topic: str, partition: int, offset: int) -> LogRecord | None:
        """The record; None when the log has no record at that offset."""
        found = await self.read_many(topic, partition, [offset])
        return found.get(offset)

    async def read_many(
        self, topic: str, partition: int, offsets: Iterable[int]
    ) -> dict[int, LogRecord]:
        """The records at these offsets, without those that the log does not have."""
        tp = TopicPartition(topic, partition)
        found: dict[int, LogRecord] = {}
        async with self._lock:
            consumer = await self._started()
            consumer.assign([tp])
            start = (await consumer.beginning_offsets([tp]))[tp]
            end = (await consumer.end_offsets([tp]))[tp]
            wanted = sorted({offset for offset in offsets if start <= offset < end})
            while wanted:
                if not await self._read_from(consumer, tp, wanted, found):
                    break
        return found

    async def _read_from(
        self,
        consumer: Consumer,
        tp: TopicPartition,
        wanted: list[int],
        found: dict[int, LogRecord],
    ) -> bool:
        """Read from the first wanted offset on, over what lies between it and the next ones."""
        position = wanted[0]
        asked = set(wanted)
        consumer.seek(tp, position)
        try:
            while wanted and wanted[0] - position < _READ_OVER:
                fetched = await consumer.getmany(
                    tp, timeout_ms=READ_TIMEOUT_MS, max_records=_LOOKED_UP_AT_ONCE
                )
                position = await consumer.position(tp)
                for record in fetched.get(tp, ()):
                    if record.offset in asked:
                        found[record.offset] = _log_record(record)
                del wanted[: bisect_left(wanted, position)]
        except OffsetOutOfRangeError:
            # Deleted since the bounds were read.
            return False
        return True

    async def _started(self) -> Consumer:
        if self._consumer is None:
            consumer = plain_consumer(self._settings, _LOOK_UP_BYTES)
            try:
                await consumer.start()
            except BaseException:
                await consumer.stop()
                raise
            self._consumer = consumer
        return self._consumer

    async def stop(self) -> None:
        """Close the connection."""
        async with self._lock:
            consumer, self._consumer = self._consumer, None
            if consumer is not None:
                await consumer.stop()


def _log_record(record: ConsumerRecord) -> LogRecord:
    return LogRecord(record.key, record.value, record.headers, record.timestamp, record.offset)
