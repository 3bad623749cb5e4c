"""Append single records outside the transactions of the partitions, acknowledged by all."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, Final

from aiokafka.structs import RecordMetadata

from app.bounds.limits import APPENDED_WITHIN_S
from app.clock import SystemClock
from app.kafka.clients import NOT_TAKEN, Producer, start
from app.kafka.compression import COMPRESSION
from app.kafka.topics import APPENDED_MESSAGE_BYTES
from app.settings import Settings
from app.wire.decode import Headers

FORWARDED_AT_ONCE_BYTES: Final = 256 * 1024
"""A batch of forwarded events, if it is not one that is larger alone."""

FORWARDS_LINGER_MS: Final = 10
"""For how long forwards wait for those to other homes: all go in one request."""

_CLOCK: Final = SystemClock()
_STAMPED: Final = 1
"""LogAppendTime."""


def producer_options(settings: Settings) -> dict[str, Any]:
    """Return options of producers that append single records; callers set idempotence."""
    return {
        "acks": "all",
        "linger_ms": 5,
        "max_request_size": APPENDED_MESSAGE_BYTES,
        **settings.kafka_options(),
    }


def forwarding_options(settings: Settings) -> dict[str, Any]:
    """Return options of the producer that forwards events in batches."""
    return {
        **producer_options(settings),
        "compression_type": COMPRESSION,
        "max_batch_size": FORWARDED_AT_ONCE_BYTES,
        "linger_ms": FORWARDS_LINGER_MS,
    }


class Appender:
    """Appends through a producer, and replaces the producer after every failure.

    aiokafka counts refused records as sent. The broker then misses a sequence number and refuses
    every later record of that producer and partition. One that was not taken in time it would send
    again without end: whoever was told so would find it in the log behind what was appended later.

    A request that a broker holds without an answer may still be written, even behind what the next
    producer appends: a new producer id fences none of an older one.
    """

    def __init__(self, settings: Settings):
        self._settings = settings
        self._producer: Producer | None = None
        self._starting = asyncio.Lock()
        self._ending: asyncio.Task[None] | None = None
        """The end of the producer before: the next one starts after it."""
        self.clock_apart_ms: int | None = None
        """How far the broker's clock is from ours at least, by the newest record that it stamped;
        None: it has stamped none."""

    async def start(self) -> None:
        """Connect.

        Raises:
            KafkaError: no broker answers.
        """
        await self._started()

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int,
        headers: Headers = (),
        timestamp_ms: int | None = None,
    ) -> RecordMetadata:
        """Append a record and wait for its place.

        Raises:
            KafkaError, OSError, TimeoutError: it was refused, or no broker answers for 10 s. It is
                in the log nevertheless if a broker had it and could not say so.
        """
        producer: Producer | None = None
        try:
            async with asyncio.timeout(APPENDED_WITHIN_S):
                producer, asked_ms = await self._started(), _CLOCK.now_ms()
                sent = await self._append(
                    producer, topic, key, value, partition, headers, timestamp_ms
                )
        except NOT_TAKEN as error:
            if producer is not None:
                if isinstance(error, TimeoutError):
                    producer.refuse()
                self._give_up(producer)
            raise
        if sent.timestamp_type == _STAMPED:
            # It did so between two looks at our clock.
            self.clock_apart_ms = max(
                asked_ms - sent.timestamp, sent.timestamp - _CLOCK.now_ms(), 0
            )
        return sent

    async def _append(
        self,
        producer: Producer,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int,
        headers: Headers,
        timestamp_ms: int | None,
    ) -> RecordMetadata:
        if key is None and value is None:
            # Only a batch can carry it.
            batch = producer.create_batch()
            batch.append(key=None, value=None, timestamp=timestamp_ms, headers=list(headers))
            sent: RecordMetadata = await (
                await producer.send_batch(batch, topic, partition=partition)
            )
        else:
            sent = await producer.send_and_wait(
                topic,
                value,
                key=key,
                partition=partition,
                timestamp_ms=timestamp_ms,
                headers=list(headers),
            )
        return sent

    async def _started(self) -> Producer:
        async with self._starting:
            if self._producer is None:
                if self._ending is not None:
                    await asyncio.wait([self._ending])
                options = producer_options(self._settings)
                self._producer = await start(Producer(enable_idempotence=True, **options))
            return self._producer

    def _give_up(self, producer: Producer) -> None:
        """Stop a producer after it has delivered the records of other callers, if it still does."""
        if self._producer is producer:
            self._producer = None
            self._ending = asyncio.create_task(_stop(producer))

    async def stop(self) -> None:
        """Deliver all sent records, if brokers take them, and close the connections."""
        if self._producer is not None:
            self._give_up(self._producer)
        if self._ending is not None:
            await asyncio.wait([self._ending])


async def _stop(producer: Producer) -> None:
    with suppress(*NOT_TAKEN):
        await producer.stop()
