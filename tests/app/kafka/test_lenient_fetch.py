"""Reading records whose header names are not UTF-8, on a real broker."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic

from app.kafka.clients import started
from app.kafka.lenient_fetch import Fetcher, FetchingEnded
from app.kafka.log_readers import LogReader, LogRecord, RecordReader, plain_consumer
from app.kafka.topics import admin_client
from app.kafka.transactions import Record
from app.settings import Settings
from tests.app.kafka.test_transactions import create_topics
from tests.world.live.committed import commit, markers_written
from tests.world.live.producer import send_with_header
from tests.world.waiting import PATIENCE_S, until

pytestmark = pytest.mark.servers

ODD_NAME = b"caf\xe9"


async def _read(settings: Settings, tp: TopicPartition, most: int | None) -> list[Any]:
    """Every record, at most so many at a time."""
    found: list[Any] = []
    async with started(plain_consumer(settings)) as consumer:
        end = (await consumer.end_offsets([tp]))[tp]
        consumer.assign([tp])
        consumer.seek(tp, 0)
        while await consumer.position(tp) < end:
            for records in (await consumer.getmany(tp, timeout_ms=200, max_records=most)).values():
                assert most is None or len(records) <= most
                found += records
    return found


@pytest.mark.parametrize("most", [1, 3, None])
async def test_a_header_name_that_is_not_utf_8_is_read_with_its_bytes_escaped(
    settings: Settings, most: int | None
) -> None:
    tp = TopicPartition(settings.topic("odd"), 0)
    async with (
        admin_client(settings) as admin,
        AIOKafkaProducer(**settings.kafka_options()) as producer,
    ):
        await admin.create_topics([NewTopic(tp.topic, 1, 1)])
        for number in range(8):
            name = ODD_NAME if number in (2, 3, 6) else "café".encode()
            await send_with_header(producer, tp, b"%d" % number, (name, b"\xff"))
    records = await _read(settings, tp, most)
    assert [(r.offset, r.value) for r in records] == [(n, b"%d" % n) for n in range(8)]
    names = ["caf\\xe9" if number in (2, 3, 6) else "café" for number in range(8)]
    assert [list(record.headers) for record in records] == [[(name, b"\xff")] for name in names]


async def test_the_position_passes_a_marker_as_soon_as_it_is_fetched(settings: Settings) -> None:
    """Whoever waits for records that may not come waits for no more than the marker."""
    await create_topics(settings, "marked")
    tp = TopicPartition(settings.topic("marked"), 0)
    await commit(settings, [Record(tp.topic, 0, b"k", b"v")])
    await markers_written(settings, [tp])
    async with started(plain_consumer(settings)) as consumer, asyncio.timeout(PATIENCE_S):
        consumer.assign([tp])
        consumer.seek(tp, 1)
        assert await consumer.getmany(tp, timeout_ms=600_000) == {}
        assert await consumer.position(tp) == 2


async def test_a_fetch_that_ends_as_room_is_made_is_followed_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who fetches is woken by the room, and finds the broker not yet free."""
    await create_topics(settings, "raced")
    tp = TopicPartition(settings.topic("raced"), 0)
    ended, fetch = 0, Fetcher._proc_fetch_request

    async def ends_as_room_is_made(fetcher: Fetcher, *asked: Any) -> Any:
        nonlocal ended
        has_data = await fetch(fetcher, *asked)
        fetcher._notify(fetcher._wait_consume_future)
        await asyncio.sleep(0)
        ended += 1
        return has_data

    monkeypatch.setattr(Fetcher, "_proc_fetch_request", ends_as_room_is_made)
    # It does not look unasked.
    monkeypatch.setattr("app.kafka.log_readers.FETCHER_LOOKS_MS", 600_000)
    async with started(plain_consumer(settings)) as consumer:
        consumer.assign([tp])
        consumer.seek(tp, 0)
        await until(lambda: ended > 3)


@pytest.fixture
async def tp(settings: Settings) -> TopicPartition:
    """A log of three records."""
    await create_topics(settings, "ended")
    tp = TopicPartition(settings.topic("ended"), 0)
    await commit(settings, [Record(tp.topic, 0, b"k", b"%d" % n) for n in range(3)])
    return tp


async def end_fetching(reader: Any) -> None:
    """End the task that fetches, as an error in it would; aiokafka swallows a cancellation."""
    task = reader._consumer._fetcher._fetch_task
    task.cancel()
    await asyncio.wait([task])


async def test_who_gets_nothing_any_more_is_told(
    settings: Settings, tp: TopicPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("nobody is asked")

    async with started(plain_consumer(settings)) as consumer:
        monkeypatch.setattr(consumer._fetcher, "_get_actions_per_node", broken)
        assert consumer.is_fetching
        consumer.assign([tp])
        await until(lambda: not consumer.is_fetching)
        with pytest.raises(FetchingEnded, match="nobody is asked"):
            await consumer.getmany(tp, timeout_ms=200)


async def test_records_are_looked_up_again_once_fetching_ended(
    settings: Settings, tp: TopicPartition
) -> None:
    reader = RecordReader(settings)
    try:
        for offset in range(2):
            record = await reader.read(tp.topic, tp.partition, offset)
            assert record is not None
            assert record.value == b"%d" % offset
            await end_fetching(reader)
    finally:
        await reader.stop()


async def test_a_log_is_followed_on_once_fetching_ended(
    settings: Settings, tp: TopicPartition
) -> None:
    reader, taken = LogReader(settings, tp.topic), list[LogRecord]()

    async def take() -> None:
        async for records in reader.batches():
            taken.extend(records)

    taking = asyncio.create_task(take())
    await until(lambda: len(taken) == 3)
    await end_fetching(reader)
    await commit(settings, [Record(tp.topic, 0, b"k", b"3")])
    await until(lambda: len(taken) == 4)
    taking.cancel()
    await asyncio.wait([taking])
    await reader.stop()
    assert [record.value for record in taken] == [b"%d" % n for n in range(4)]
