"""Producers that know nothing of Meterstream: plain aiokafka, keyed as various clients key."""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import orjson
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.partitioner import DefaultPartitioner
from aiokafka.record.default_records import DefaultRecordBase
from aiokafka.record.util import calc_crc32c

from app.settings import LOCAL_ORGANIZATION_ID, Settings

Keying = Literal["crc32", "murmur2", "unkeyed"]

_Partitioner = Callable[[bytes | None, Sequence[int], Sequence[int]], int]


def librdkafka(key: bytes | None, all_partitions: Sequence[int], available: Sequence[int]) -> int:
    """`consistent_random` for a key, as Lago's own producers have it."""
    return sorted(all_partitions)[zlib.crc32(key or b"") % len(all_partitions)]


def _round_robin() -> _Partitioner:
    turn = itertools.count()

    def partition(
        key: bytes | None, all_partitions: Sequence[int], available: Sequence[int]
    ) -> int:
        return sorted(all_partitions)[next(turn) % len(all_partitions)]

    return partition


def foreign_producer(settings: Settings, keying: Keying = "crc32") -> AIOKafkaProducer:
    """Not started. `unkeyed` deals records out in turn."""
    partitioners = {
        "crc32": librdkafka,
        "murmur2": DefaultPartitioner(),
        "unkeyed": _round_robin(),
    }
    return AIOKafkaProducer(
        acks="all",
        linger_ms=5,
        max_batch_size=256 * 1024,
        partitioner=partitioners[keying],
        **settings.kafka_options(),
    )


async def send_with_header(
    producer: AIOKafkaProducer, tp: TopicPartition, value: bytes, header: tuple[bytes, bytes]
) -> None:
    """Send a record with one header, whose name may be any bytes, as librdkafka lets it."""
    name, text = header
    letters = "n" * len(name)
    builder = producer.create_batch()
    builder.append(key=None, value=value, timestamp=None, headers=[(letters, text)])
    builder.close()
    batch = bytearray(builder._build())
    at = batch.rindex(letters.encode())
    batch[at : at + len(name)] = name
    crc = calc_crc32c(batch[DefaultRecordBase.ATTRIBUTES_OFFSET :])
    struct.pack_into(">I", batch, DefaultRecordBase.CRC_OFFSET, crc)
    builder._buffer = bytes(batch)
    await (await producer.send_batch(builder, tp.topic, partition=tp.partition))


def event_key(external_subscription_id: str) -> bytes:
    """`<org>-<external_subscription_id>`."""
    return f"{LOCAL_ORGANIZATION_ID}-{external_subscription_id}".encode()


def raw_event(
    external_subscription_id: str,
    transaction_id: str,
    code: str,
    timestamp: object = None,
    **properties: Any,
) -> dict[str, Any]:
    """An event in Lago's raw format."""
    event = {
        "organization_id": LOCAL_ORGANIZATION_ID,
        "external_subscription_id": external_subscription_id,
        "transaction_id": transaction_id,
        "code": code,
        "properties": properties,
        "ingested_at": "2024-01-01T00:00:00.000",
        "source": "test",
    }
    return event if timestamp is None else event | {"timestamp": timestamp}


def encoded(event: object) -> bytes:
    """The bytes of a record."""
    return orjson.dumps(event)


async def send_in_turn(
    producer: AIOKafkaProducer, topic: str, events: Iterable[dict[str, Any]], **more: Any
) -> None:
    """Send each once the one before is acknowledged, so that their order is known."""
    for event in events:
        key = event_key(event["external_subscription_id"])
        await producer.send_and_wait(topic, encoded(event), key=key, **more)


async def send_bytes(producer: AIOKafkaProducer, tp: TopicPartition, batch: bytes) -> int:
    """Send a batch as it is, to be appended; the offset of its first record."""
    builder = producer.create_batch()
    builder.append(key=None, value=b"in its place", timestamp=None)
    builder.close()
    builder._build()
    builder._buffer = batch
    sent = await (await producer.send_batch(builder, tp.topic, partition=tp.partition))
    return int(sent.offset)
