"""Logs written anew: places and times hold, gaps are filled, and what was gone stays gone."""

from __future__ import annotations

import asyncio

import pytest

from app.errors import TopicRefused
from app.kafka.log_readers import bounds_of, scan
from app.kafka.names import TopicPartition
from app.kafka.rewriting import Written, require_empty, rewrite
from app.kafka.topics import _configs, admin_client
from app.settings import Settings
from tests.world.live.committed import all_of

pytestmark = pytest.mark.servers


async def test_records_come_to_their_places(settings: Settings) -> None:
    await require_empty(settings)
    records = [
        Written(3, 5_000, b"k", b"a", [("h", b"1"), ("h", None)]),
        Written(6, 4_000, None, b"b"),
        *(Written(offset, 9_000, b"k", b"x" * 1_000) for offset in range(7, 3_000)),
    ]
    count = await rewrite(settings, settings.raw_topic, {0: records, 1: []})
    assert count == len(records)
    topic = settings.topic(settings.raw_topic)
    first, empty = TopicPartition(topic, 0), TopicPartition(topic, 1)
    assert await bounds_of(settings, [first, empty]) == {first: (3, 3_000), empty: (0, 0)}
    found = [one for some in await all_of(scan(settings, first, 3, 3_000)) for one in some]
    assert [(one.offset, one.timestamp_ms, one.key, one.value) for one in found[:4]] == [
        (3, 5_000, b"k", b"a"),
        (4, 4_000, None, None),
        (5, 4_000, None, None),
        (6, 4_000, None, b"b"),
    ]
    assert list(found[0].headers) == [("h", b"1"), ("h", None)]
    assert [one.offset for one in found] == list(range(3, 3_000))
    async with admin_client(settings) as admin:
        configs = await _configs([topic], admin)
    assert configs is not None
    assert configs[topic]["message.timestamp.type"] == "LogAppendTime"
    with pytest.raises(TopicRefused, match="not empty"):
        await require_empty(settings)
    await require_empty(settings, [settings.raw_topic])
    with pytest.raises(TopicRefused, match="METER_RAW_PARTITIONS"):
        await rewrite(settings, settings.raw_topic, {settings.raw_partitions: []})


async def test_another_partition_count_is_told_at_once(settings: Settings) -> None:
    fewer = settings.model_copy(update={"raw_partitions": 1})
    await rewrite(fewer, settings.raw_topic, {0: []})
    told = f"METER_RAW_PARTITIONS is {settings.raw_partitions}[.] Set METER_RAW_PARTITIONS=1[.]"
    # A client would ask for the others for forty seconds.
    async with asyncio.timeout(20):
        for kept in ((), (settings.raw_topic,)):
            with pytest.raises(TopicRefused, match=told):
                await require_empty(settings, kept)
        await require_empty(fewer)
