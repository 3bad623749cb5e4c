"""Changelogs on a real broker: one transaction a flush, fencing, reading by batch."""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError

from app.kafka.log_readers import (
    LogReader,
    LogRecord,
    RecordReader,
    RecordsDeleted,
    plain_consumer,
    read_to_end,
    scan,
)
from app.kafka.topics import admin_client
from app.kafka.transactions import MAX_BATCH_BYTES, Fenced, PartitionProducer, Record
from app.local_servers.kafka import LocalKafka
from app.settings import Settings
from app.wire.published_headers import headers_of
from tests.app.kafka.workers import delete_before
from tests.world.live.committed import all_of, markers_written
from tests.world.waiting import PATIENCE_S, until

pytestmark = pytest.mark.servers

LARGE = {"max.message.bytes": str(16 * 1024 * 1024)}


async def create_topics(settings: Settings, *names: str, partitions: int = 1) -> None:
    topics = [NewTopic(settings.topic(name), partitions, 1) for name in names]
    for topic in topics:
        topic.topic_configs.update(LARGE)
    async with admin_client(settings) as admin:
        await admin.create_topics(topics)
        while True:
            found = await admin.describe_topics([topic.name for topic in topics])
            leaders = [p["leader"] for topic in found for p in topic["partitions"]]
            if len(leaders) == partitions * len(names) and min(leaders) >= 0:
                return
            await asyncio.sleep(0.05)


@pytest.fixture
async def cells(settings: Settings) -> TopicPartition:
    """Partition 0 of a topic of our own."""
    await create_topics(settings, "cells", "index")
    return TopicPartition(settings.topic("cells"), 0)


@pytest.fixture
async def started(settings: Settings) -> AsyncIterator[Callable[[int], Awaitable[Any]]]:
    """Starts a producer of a partition; all are stopped in the end."""
    producers: list[PartitionProducer] = []

    async def start(number: int = 0) -> PartitionProducer:
        producer = PartitionProducer(settings, number)
        producers.append(producer)
        await producer.start()
        return producer

    yield start
    for producer in producers:
        await producer.stop()


Started = Callable[..., Awaitable[PartitionProducer]]


def row(tp: TopicPartition, key: bytes | None, value: bytes | None) -> Record:
    return Record(tp.topic, tp.partition, key, value)


async def all_rows(settings: Settings, *tps: TopicPartition) -> list[tuple[bytes, bytes | None]]:
    found: list[tuple[bytes, bytes | None]] = []
    await markers_written(settings, tps)
    for _, rows in await all_of(read_to_end(settings, tps)):
        found += [(key, value) for _, key, value in rows]
    return found


async def test_a_flush_is_read_back_in_order(
    settings: Settings, cells: TopicPartition, started: Started
) -> None:
    producer = await started()
    index = TopicPartition(settings.topic("index"), 0)
    written = [row(cells, b"%d" % n, b"value %d" % n) for n in range(5_000)]
    await producer.commit([*written, row(index, None, b"rows"), row(cells, b"7", None)])
    assert await all_rows(settings, cells) == [*((r.key, r.value) for r in written), (b"7", None)]
    assert await all_rows(settings, index) == [(b"", b"rows")]


async def test_headers_are_kept(
    settings: Settings, cells: TopicPartition, started: Started
) -> None:
    producer = await started()
    own, about = [("meter-source", b"x"), ("other", b"")], (("ce_source", b"/organizations/o"),)
    published = Record(cells.topic, 0, b"k", b"w", identity="1", kind="usage.recorded", about=about)
    await producer.commit([Record(cells.topic, 0, b"k", b"v", own), published])
    await markers_written(settings, [cells])
    found = [record for records in await all_of(scan(settings, cells, 0, 2)) for record in records]
    assert [(r.key, r.value, list(r.headers), r.offset) for r in found] == [
        (b"k", b"v", own, 0),
        (b"k", b"w", headers_of("1", "usage.recorded", about), 1),
    ]


async def test_a_flush_of_tens_of_megabytes(
    settings: Settings, cells: TopicPartition, started: Started
) -> None:
    producer = await started()
    index = TopicPartition(settings.topic("index"), 0)
    large = bytes(15 * MAX_BATCH_BYTES)
    small = [row(cells, b"%d" % n, b"%06d" % n * 40) for n in range(60_000)]
    await producer.commit([row(index, b"first", large), row(index, b"second", large), *small])
    assert await all_rows(settings, index) == [(b"first", large), (b"second", large)]
    assert await all_rows(settings, cells) == [(r.key, r.value) for r in small]


async def test_an_empty_flush_writes_nothing(
    settings: Settings, cells: TopicPartition, started: Started
) -> None:
    producer = await started()
    await producer.commit([])
    await producer.commit([row(cells, b"k", b"v")])
    assert await all_rows(settings, cells) == [(b"k", b"v")]


async def test_flushes_asked_for_at_once_follow_one_another(
    settings: Settings, cells: TopicPartition, started: Started
) -> None:
    producer = await started()
    flushes = [[row(cells, b"k", b"%d" % n)] * 3 for n in range(20)]
    await asyncio.gather(*(producer.commit(flush) for flush in flushes))
    values = [value for _, value in await all_rows(settings, cells)]
    assert values == [b"%d" % n for n in range(20) for _ in range(3)]


async def test_a_newer_owner_fences_the_older_one(
    settings: Settings, cells: TopicPartition, started: Started
) -> None:
    old = await started()
    await old.commit([row(cells, b"k", b"old")])
    new = await started()
    await new.commit([row(cells, b"k", b"new")])
    for _ in range(2):
        with pytest.raises(Fenced):
            await asyncio.wait_for(old.commit([row(cells, b"k", b"zombie")]), PATIENCE_S)
    other = await started(1)
    await other.commit([row(cells, b"k", b"other")])
    await new.commit([row(cells, b"k", b"newer")])
    values = [value for _, value in await all_rows(settings, cells)]
    assert values == [b"old", b"new", b"other", b"newer"]


async def test_whoever_is_fenced_leaves_no_failure_that_nobody_took(
    settings: Settings, cells: TopicPartition, started: Started
) -> None:
    """asyncio tells of such a one with a traceback of twenty lines, at each rebalance."""
    untaken: list[Any] = []
    # What tests before this one left is theirs.
    gc.collect()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: untaken.append(context))
    try:
        older = PartitionProducer(settings, 0)
        await older.start()
        await started()
        with pytest.raises(Fenced):
            await older.commit([row(cells, b"k", b"older")])
        await older.stop()
        del older
        gc.collect()
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(None)
    assert untaken == []


async def test_a_newer_owner_aborts_what_the_older_one_had_begun(
    settings: Settings, cells: TopicPartition, started: Started
) -> None:
    torn = AIOKafkaProducer(
        transactional_id=f"{settings.consumer_group}-0", **settings.kafka_options()
    )
    await torn.start()
    await torn.begin_transaction()
    await torn.send_and_wait(cells.topic, b"half a flush", key=b"k", partition=0)
    new = await started()
    await new.commit([row(cells, b"k", b"whole")])
    assert await all_rows(settings, cells) == [(b"k", b"whole")]
    await torn.stop()


async def test_a_refused_record_leaves_no_trace_and_ends_the_producer(
    settings: Settings, cells: TopicPartition, started: Started
) -> None:
    producer = await started()
    too_large = bytes_of_noise(20 * 1024 * 1024)
    with pytest.raises(KafkaError):
        await producer.commit([row(cells, b"a", b"1"), row(cells, b"b", too_large)])
    with pytest.raises(KafkaError):
        await producer.commit([row(cells, b"c", b"3")])
    # The transaction is over: readers do not wait for it.
    plain = AIOKafkaProducer(**settings.kafka_options())
    await plain.start()
    await plain.send_and_wait(cells.topic, b"after", partition=0)
    await plain.stop()
    assert await asyncio.wait_for(all_rows(settings, cells), PATIENCE_S) == [(b"", b"after")]


def bytes_of_noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


async def test_reading_begins_at_the_first_record_that_is_left(
    settings: Settings, cells: TopicPartition, started: Started
) -> None:
    producer = await started()
    for number in range(3):
        await producer.commit([row(cells, b"%d" % number, b"v")])
    # Every record is followed by a transaction marker.
    await markers_written(settings, [cells])
    found = [rows for _, rows in await all_of(read_to_end(settings, [cells]))]
    assert [offset for rows in found for offset, _, _ in rows] == [0, 2, 4]
    await delete_before(settings, cells, 4)
    assert await all_rows(settings, cells) == [(b"2", b"v")]


async def test_reading_an_empty_log_ends(settings: Settings, cells: TopicPartition) -> None:
    assert await asyncio.wait_for(all_rows(settings, cells), PATIENCE_S) == []


async def test_a_scan_stops_before_its_end_and_tells_what_is_gone(
    settings: Settings, cells: TopicPartition
) -> None:
    await send(settings, cells, [b"%d" % n for n in range(100)])
    found = [r for records in await all_of(scan(settings, cells, 10, 20)) for r in records]
    assert [record.offset for record in found] == list(range(10, 20))
    await delete_before(settings, cells, 11)
    with pytest.raises(RecordsDeleted):
        await all_of(scan(settings, cells, 10, 20))


async def test_single_records(settings: Settings, cells: TopicPartition, started: Started) -> None:
    producer = await started()
    await producer.commit([row(cells, b"first", b"0")])
    await markers_written(settings, [cells])
    await send(settings, cells, [b"%d" % n for n in range(2, 1_000)])
    reader = RecordReader(settings)
    try:
        wanted = [999, 0, 1, 500, 501, 2, 2, 10_000]
        found = await reader.read_many(cells.topic, 0, wanted)
        # Offset 1 is a transaction marker.
        assert {offset: record.value for offset, record in found.items()} == {
            0: b"0",
            2: b"2",
            500: b"500",
            501: b"501",
            999: b"999",
        }
        assert await reader.read(cells.topic, 0, 1) is None
        await delete_before(settings, cells, 3)
        assert await reader.read(cells.topic, 0, 2) is None
        answers = await asyncio.gather(*(reader.read(cells.topic, 0, n) for n in (3, 700)))
        assert [record and record.value for record in answers] == [b"3", b"700"]
    finally:
        await reader.stop()


@pytest.fixture(scope="module")
async def own_kafka(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[LocalKafka]:
    """A broker that may be stopped."""
    async with LocalKafka(tmp_path_factory.mktemp("own-kafka")) as kafka:
        yield kafka
        kafka.kill()


@pytest.fixture
async def own_settings(make_settings: Callable[..., Settings], own_kafka: LocalKafka) -> Settings:
    """Settings for it; it runs."""
    if not own_kafka.process.is_running():
        await own_kafka.start()
    return make_settings(
        kafka_bootstrap_servers=own_kafka.bootstrap_servers, kafka_dir=own_kafka.directory
    )


async def test_a_log_is_followed_over_a_restart_of_the_broker(
    own_kafka: LocalKafka, own_settings: Settings
) -> None:
    await create_topics(own_settings, "definitions")
    tp = TopicPartition(own_settings.topic("definitions"), 0)
    await send(own_settings, tp, [b"%d" % n for n in range(10)])
    reader = LogReader(own_settings, tp.topic)
    taken: list[LogRecord] = []

    async def take() -> None:
        async for records in reader.batches():
            assert not reader.caught_up.is_set() or len(taken) >= 10
            taken.extend(records)

    taking = asyncio.create_task(take())
    await asyncio.wait_for(reader.caught_up.wait(), PATIENCE_S)
    assert [record.value for record in taken] == [b"%d" % n for n in range(10)]
    await own_kafka.stop()
    await asyncio.sleep(0.5)
    await own_kafka.start()
    await send(own_settings, tp, [b"10", b"11"])
    await until(lambda: len(taken) >= 12)
    taking.cancel()
    await asyncio.wait([taking])
    await reader.stop()
    assert [record.offset for record in taken] == list(range(12))
    assert taken[0].timestamp_ms > 0


async def test_a_producer_stops_though_its_broker_is_gone(
    own_kafka: LocalKafka, own_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.kafka.clients.STOPPED_WITHIN_S", 1.0)
    await create_topics(own_settings, "cells")
    tp = TopicPartition(own_settings.topic("cells"), 0)
    producer = PartitionProducer(own_settings, 0)
    await producer.start()
    await producer.commit([row(tp, b"k", b"v")])
    await own_kafka.stop()
    committing = asyncio.create_task(producer.commit([row(tp, b"k", b"w")]))
    await asyncio.sleep(1.0)
    committing.cancel()
    await asyncio.wait([committing])
    async with asyncio.timeout(PATIENCE_S):
        await producer.stop()


async def test_partitions_make_their_batches_one_after_another(
    settings: Settings, cells: TopicPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of each of very many in one round of the loop leaves nothing for their folds."""
    monkeypatch.setattr("app.kafka.transactions._PACKED_AT_ONCE", 1)
    steps: list[int] = []

    def records(number: int) -> Iterator[Record]:
        for _ in range(3):
            steps.append(number)
            yield row(cells, b"k", b"v")

    producers = [PartitionProducer(settings, number) for number in (0, 1)]
    try:
        for each in producers:
            await each.start()
        await asyncio.gather(*(each.commit(records(n)) for n, each in enumerate(producers)))
    finally:
        for each in producers:
            await each.stop()
    assert steps == [0] * 3 + [1] * 3


async def send(settings: Settings, tp: TopicPartition, values: list[bytes]) -> None:
    async with AIOKafkaProducer(linger_ms=5, **settings.kafka_options()) as producer:
        for value in values:
            await producer.send(tp.topic, value, partition=tp.partition)
        await producer.flush()


async def test_what_lies_close_is_read_over(
    settings: Settings, cells: TopicPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Going to another place in a log takes as long as reading a thousand records."""
    await send(settings, cells, [b"%d" % n for n in range(3_000)])
    places: list[int] = []
    seek = AIOKafkaConsumer.seek

    def noted(consumer: AIOKafkaConsumer, tp: TopicPartition, offset: int) -> None:
        places.append(offset)
        seek(consumer, tp, offset)

    monkeypatch.setattr(AIOKafkaConsumer, "seek", noted)
    reader = RecordReader(settings)
    wanted = [*range(0, 700, 7), 2_900, 2_999]
    try:
        found = await reader.read_many(cells.topic, 0, wanted)
    finally:
        await reader.stop()
    assert {n: record.value for n, record in found.items()} == {n: b"%d" % n for n in wanted}
    assert places == [0, 2_900]


async def test_others_have_their_turn_while_much_is_read_over(
    settings: Settings, cells: TopicPartition, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many records are wanted, those between them are read over too."""
    await send(settings, cells, [b"%d" % n for n in range(3_000)])
    monkeypatch.setattr("app.kafka.log_readers._LOOKED_OVER", 1_000)
    reader = RecordReader(settings)
    wanted = list(range(0, 3_000, 100))
    try:
        found, left = await reader.read_some(cells.topic, 0, wanted)
        assert (list(found), left) == (wanted[:11], wanted[11:])
        assert list(await reader.read_many(cells.topic, 0, wanted)) == wanted
    finally:
        await reader.stop()


async def test_a_consumer_may_be_stopped_right_after_its_start(settings: Settings) -> None:
    consumer = plain_consumer(settings)
    await consumer.start()
    await consumer.stop()
    assert not any(connection.connected() for connection in consumer._client._conns.values())
