"""Changelogs in Kafka are written by one transaction a flush.

A partition has one transactional producer; when a new owner starts its own, the broker fences the
older one, so that a worker which lost its partition without knowing can write nothing any more.
Source: state.md §3-§4, stream-engine.md §0.4-§0.5.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final
from weakref import WeakKeyDictionary

import msgspec
from aiokafka import TopicPartition
from aiokafka.errors import (
    InvalidProducerEpoch,
    InvalidTransactionTimeout,
    KafkaError,
    ProducerFenced,
)

from app.bounds.cancellation import retrieve
from app.bounds.limits import COMMIT_TIMEOUT_S, TRANSACTION_TIMEOUT_MS
from app.errors import StackError
from app.failpoints import failpoint
from app.kafka.clients import NOT_TAKEN, Producer, started
from app.kafka.compression import COMPRESSION
from app.kafka.log_readers import ASKED_WITHIN_S, REQUEST_TIMEOUT_MS, newest_value
from app.settings import Settings
from app.wire.published_headers import Header, headers_of

log = logging.getLogger(__name__)

# Below what a topic takes by default (1,048,588); a single larger record is a batch of its own.
MAX_BATCH_BYTES: Final = 1_000_000
ABORT_TIMEOUT_S: Final = 5.0
_PACKED_AT_ONCE: Final = 2_000


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


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record to write; a None value deletes.

    A flush has very many, and none of them counts for the garbage collector.
    """

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    timestamp_ms: int | None = None
    """None: now. Only a test clock gives one."""
    identity: str = ""
    """CloudEvents id of what is published; its headers are made as it is sent. Empty: of all else.

    Lists of their own for each record of a flush would call the garbage collector.
    """
    kind: str = ""
    """CloudEvents type of what is published."""
    about: Sequence[Header] = ()
    """Its further attributes, which many records share."""

    def sent_headers(self) -> Sequence[tuple[str, bytes | None]]:
        """Return the headers that it is sent with, as a list of their own."""
        if self.identity:
            return headers_of(self.identity, self.kind, self.about)
        return list(self.headers)


Conclude = Callable[[Mapping[TopicPartition, int]], Iterable[Record]]
"""Last records of a transaction, from the offsets of the last ones before by topic partition."""


def _transactional(settings: Settings, group: str, name: str) -> Producer:
    return Producer(
        transactional_id=f"{group}-{name}",
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        acks="all",
        compression_type=COMPRESSION,
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
        await try_transaction(settings)
    except NOT_TAKEN as error:
        log.warning("Whether the broker allows our transactions is not known yet: %r", error)


async def try_transaction(settings: Settings) -> None:
    """Ask the broker for a transaction of our length.

    Raises:
        TransactionTooLong: the broker is set up for shorter ones.
        KafkaError, OSError, TimeoutError: it does not say.
    """
    try:
        async with (
            asyncio.timeout(ASKED_WITHIN_S),
            started(_transactional(settings, settings.consumer_group, "start")),
        ):
            pass
    except InvalidTransactionTimeout as error:
        raise TransactionTooLong from error


async def fence(settings: Settings, group: str) -> None:
    """Fence all that workers of another consumer group commit to these partitions with.

    Raises:
        TransactionalIdAuthorizationFailed: this user may not.
        KafkaError, OSError, TimeoutError: brokers do not answer.
    """
    for number in range(settings.raw_partitions):
        async with (
            asyncio.timeout(COMMIT_TIMEOUT_S),
            started(_transactional(settings, group, str(number))),
        ):
            pass


_packing: Final = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]()
"""Held by the partition whose records are made batches."""


class PartitionProducer:
    """The transactional producer of one partition."""

    def __init__(self, settings: Settings, number: int):
        self._settings = settings
        self._number = number
        self._one_flush = asyncio.Lock()
        self._producer = self._made()
        self._failed: BaseException | None = None

    def _made(self) -> Producer:
        return _transactional(self._settings, self._settings.consumer_group, str(self._number))

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
        """Return the newest committed value of a key in the partition's part of a topic."""
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
        # A fence fails it, which whoever waits for the first batch is told.
        self._producer._txn_manager._transaction_waiter.add_done_callback(retrieve)
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
        """Make batches by topic partition: less than half of what one `send` a record costs.

        One partition at a time: a step of each of very many in every round of the loop would leave
        nothing for their folds.
        """
        async with _packing.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
            return await self._packed(records)

    async def _packed(self, records: Iterable[Record]) -> dict[TopicPartition, list[Any]]:
        packed: dict[TopicPartition, list[Any]] = {}
        last_topic, last_partition = "", -1
        batches: list[Any] = []
        for count, record in enumerate(records, 1):
            topic, partition, key, value = record.topic, record.partition, record.key, record.value
            if topic != last_topic or partition != last_partition:
                # Those of one topic mostly follow each other.
                last_topic, last_partition = topic, partition
                batches = packed.setdefault(TopicPartition(topic, partition), [])
            at_ms, headers = record.timestamp_ms, record.sent_headers()
            batch = batches[-1] if batches else None
            # What its own `append` adds to this takes a third of the time.
            if batch is None or (
                batch._builder.append(batch._relative_offset, at_ms, key, value, headers) is None
            ):
                batch = self._producer.create_batch()
                batch._builder.append(0, at_ms, key, value, headers)
                batches.append(batch)
            batch._relative_offset += 1
            if count % _PACKED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return packed

    async def _send(self, tp: TopicPartition, batches: list[Any]) -> int:
        """Return the offset of the last record.

        It is -1 when the broker had the record from a try before, and tells none.
        """
        delivered: list[asyncio.Future[Any]] = []
        try:
            for batch in batches:
                future = await self._producer.send_batch(batch, tp.topic, partition=tp.partition)
                delivered.append(future)
            *_, last = await asyncio.gather(*delivered)
            return int(last.offset) + batches[-1].record_count() - 1 if last.offset >= 0 else -1
        finally:
            for future in delivered:
                future.add_done_callback(retrieve)

    def _cause(self, error: BaseException) -> BaseException:
        """Return Fenced if another worker took over, else the error itself.

        aiokafka tells some callers of the fence, others only that nothing goes any more.
        """
        told = isinstance(error, ProducerFenced | InvalidProducerEpoch)
        sender = self._producer._sender.sender_task
        ended = sender is not None and sender.done() and not sender.cancelled()
        if told or (ended and isinstance(sender.exception(), ProducerFenced)):
            return Fenced(f"another worker has taken partition {self._number} over")
        return error

    async def _abort(self) -> None:
        """End the transaction now, if the broker still answers: readers wait for its end."""
        transactions = self._producer._txn_manager
        if transactions.is_in_transaction() and not isinstance(self._failed, Fenced):
            with suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(ABORT_TIMEOUT_S):
                    await self._producer.abort_transaction()

    async def stop(self) -> None:
        """Let go; a broker that is gone does not hold this up."""
        with suppress(*NOT_TAKEN):
            await self._producer.stop()
