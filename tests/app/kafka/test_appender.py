"""Appending on a real broker, which refuses what its topic does not take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError, MessageSizeTooLargeError

from app.definitions.command import MAX_COMMAND_BYTES
from app.kafka.appender import Appender
from app.kafka.log_readers import bounds, read_to_end
from app.kafka.topics import METER_DEFINITIONS, admin_client, ensure_topics
from app.settings import Settings
from tests.world.live.committed import all_of

pytestmark = pytest.mark.servers


@pytest.fixture
async def topic(settings: Settings) -> str:
    """A topic of two partitions that takes records of 1,000 bytes."""
    name = settings.topic("small")
    async with admin_client(settings) as admin:
        await admin.create_topics(
            [NewTopic(name, 2, 1, topic_configs={"max.message.bytes": "1000"})]
        )
    return name


@pytest.fixture
async def appender(settings: Settings) -> AsyncIterator[Appender]:
    """A started one."""
    appender = Appender(settings)
    await appender.start()
    yield appender
    await appender.stop()


async def test_what_is_refused_keeps_nothing_else_from_being_appended(
    settings: Settings, topic: str, appender: Appender
) -> None:
    assert (await appender.append(topic, b"k", b"first", 0)).offset == 0
    for _ in range(2):
        with pytest.raises(MessageSizeTooLargeError):
            await appender.append(topic, b"k", b"x" * 10_000, 0)
        assert (await appender.append(topic, b"k", b"next", 1)).partition == 1
    assert (await appender.append(topic, None, b"second", 0, [("ce_time", None)])).offset == 1
    assert await bounds(settings, TopicPartition(topic, 0)) == (0, 2)


async def test_the_largest_command_is_taken(settings: Settings, appender: Appender) -> None:
    async with admin_client(settings) as admin:
        await ensure_topics(settings, admin)
    topic = settings.topic(METER_DEFINITIONS)
    assert (await appender.append(topic, None, b"x" * MAX_COMMAND_BYTES, 0)).offset == 0


async def test_what_was_sent_before_a_refusal_arrives(
    settings: Settings, topic: str, appender: Appender
) -> None:
    async def append(value: bytes, partition: int) -> int | str:
        try:
            return int((await appender.append(topic, None, value, partition)).offset)
        except KafkaError as error:
            return type(error).__name__

    both = [append(b"x" * 10_000, 0), *(append(b"%d" % n, 1) for n in range(5))]
    assert await asyncio.gather(*both) == ["MessageSizeTooLargeError", 0, 1, 2, 3, 4]


async def test_all_is_read_in_a_rack_that_the_brokers_do_not_know(
    settings: Settings, topic: str, appender: Appender
) -> None:
    for value in (b"first", b"second"):
        await appender.append(topic, b"k", value, 0)
    near, tp = settings.model_copy(update={"kafka_rack": "zone-a"}), TopicPartition(topic, 0)
    found = [record for _, records in await all_of(read_to_end(near, [tp])) for record in records]
    assert found == [(0, b"k", b"first"), (1, b"k", b"second")]
