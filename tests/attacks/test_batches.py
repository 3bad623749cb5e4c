"""Record batches: what a producer packs into one, however large it becomes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from app.wire.keys import home_partition, message_key
from tests.attacks.victim import ATTACKER, Victim
from tests.world.batches import batch_bytes, bomb_bytes, record_bytes
from tests.world.live.consumer import records_of
from tests.world.live.producer import send_bytes
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

GIGABYTE = 1_000_000_000

_HEAD_BYTES = 61
"""The broker writes the offset, its own time, and so the checksum, into a batch's head."""

_RECORDS, _MANY = 4, range(6_500)


@pytest.fixture(scope="module")
async def producer(victim: Victim) -> AsyncIterator[AIOKafkaProducer]:
    """Of the attacker."""
    producer = AIOKafkaProducer(
        request_timeout_ms=60_000, max_request_size=4 << 20, **victim.settings.kafka_options()
    )
    async with producer:
        yield producer


@pytest.mark.parametrize(
    ("codec", "count", "size"),
    [("zstd", 4, GIGABYTE), ("gzip", 4, GIGABYTE // 10)],
    ids=["zstd", "gzip"],
)
async def test_a_batch_that_inflates_to_gigabytes_is_one_dead_letter(
    victim: Victim, producer: AIOKafkaProducer, codec: str, count: int, size: int
) -> None:
    bomb = bomb_bytes(count, size, codec)
    tp = TopicPartition(victim.raw_topic, 0)
    async with victim.attacked():
        offset = await send_bytes(producer, tp, bomb)
    topic = victim.settings.dead_letter_topic

    async def told() -> list[tuple[bytes | None, ...]]:
        letters = await records_of(victim.settings, topic)
        named = [(dict(letter.headers), letter.value) for letter in letters]
        return [
            (head["meter-error-code"], head.get("meter-source-count"), value[_HEAD_BYTES:])
            for head, value in named
            if head["meter-source-offset"] == b"%d" % offset
        ]

    await eventually(told, [(b"too_large", b"%d" % count, bomb[_HEAD_BYTES:])])


async def test_a_batch_of_arrays_of_thousands_is_folded_by_portions(
    victim: Victim, producer: AIOKafkaProducer
) -> None:
    """Four records of 6,500 events each in one compressed batch: all are counted."""
    await victim.charge("hits", "attacker", "s")
    head = (
        f'{{"organization_id":"{ATTACKER}","external_subscription_id":"s","code":"hits",'.encode()
    )
    records = b"".join(
        record_bytes(
            at,
            b"[" + b",".join(head + b'"transaction_id":"%d-%d"}' % (at, n) for n in _MANY) + b"]",
        )
        for at in range(_RECORDS)
    )
    batch = batch_bytes(records, _RECORDS)
    home = home_partition(message_key(ATTACKER, "s"), victim.settings.raw_partitions, "crc32")

    async def counted() -> str:
        usage = await victim.attacker.current_usage("attacker", "s")
        return str(usage["charges_usage"][0]["units"])

    async with victim.attacked():
        await send_bytes(producer, TopicPartition(victim.raw_topic, home), batch)
        await eventually(counted, f"{_RECORDS * len(_MANY)}.0")


async def test_a_batch_whose_second_record_states_a_wrong_size_is_passed(
    victim: Victim, producer: AIOKafkaProducer
) -> None:
    """Brokers look at such records only as far as they skip them, and take the batch."""
    first, second = record_bytes(0, b"1"), record_bytes(1, b"2")
    batch = batch_bytes(first + bytes([second[0] - 4]) + second[1:], 2, "zstd")
    tp = TopicPartition(victim.raw_topic, 1)
    async with victim.attacked():
        offset = await send_bytes(producer, tp, batch)
    topic = victim.settings.dead_letter_topic

    async def told() -> list[tuple[bytes | None, bytes | None]]:
        heads = [dict(each.headers) for each in await records_of(victim.settings, topic)]
        return [
            (head["meter-error-code"], head.get("meter-source-count"))
            for head in heads
            if head["meter-source-partition"] == b"1"
            and int(head["meter-source-offset"]) in (offset, offset + 1)
        ]

    await eventually(told, [(b"invalid_event", None), (b"set_aside", b"1")])
