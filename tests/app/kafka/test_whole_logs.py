"""A log is read as far as it is asked for: what came later costs nothing."""

from __future__ import annotations

import asyncio

import pytest

from app.kafka.log_readers import whole
from app.kafka.names import TopicPartition
from app.kafka.transactions import Record
from app.settings import Settings
from tests.app.kafka.test_transactions import create_topics
from tests.world.live.committed import commit, markers_written

pytestmark = pytest.mark.servers


async def values_of(settings: Settings, topic: str, before_ms: int | None) -> tuple[int, list[int]]:
    """Return how many records are read of a topic, and those before a time."""
    found, last_ms = list[int](), -1
    async with whole(settings, topic, before_ms) as batches:
        async for _, records in batches:
            found += [int(record.value or b"") for record in records]
            last_ms = records[-1].timestamp_ms
    return last_ms, found


@pytest.mark.parametrize("later", [10, 1_000])
async def test_nothing_is_read_that_came_later(settings: Settings, later: int) -> None:
    name = f"until-{later}"
    await create_topics(settings, name)
    topic = settings.topic(name)
    await commit(settings, [Record(topic, 0, b"k", b"%d" % number) for number in range(20)])
    await markers_written(settings, [TopicPartition(topic, 0)])
    last_ms, first = await values_of(settings, topic, None)
    await asyncio.sleep(0.05)
    await commit(settings, [Record(topic, 0, b"k", b"%d" % number) for number in range(later)])
    await markers_written(settings, [TopicPartition(topic, 0)])
    assert await values_of(settings, topic, last_ms + 1) == (last_ms, first)
    assert first == list(range(20))
    assert await values_of(settings, topic, 0) == (-1, [])
    assert len((await values_of(settings, topic, None))[1]) == 20 + later
