"""Topics changed under the program: it refuses loudly (faults F16, F17)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewPartitions, RecordsToDelete

from app.cli.settings_apply import definitions_of
from app.kafka.clients import Admin, Consumer, Producer, started
from app.kafka.log_readers import read_to_end
from app.kafka.topics import (
    CELLS_CHANGELOG,
    EVENTS_REKEYED,
    INDEX_CHANGELOG,
    MEMBERS_CHANGELOG,
    METER_DEFINITIONS,
    PRESENCE_CHANGELOG,
    admin_client,
    ensure_topics,
)
from app.meter.errors import NotSetAside
from app.runtime.set_aside import set_aside
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from tests.world.live.api import text_of
from tests.world.live.committed import all_of, markers_written
from tests.world.live.load import load, prove, supervised, world_on
from tests.world.live.producer import encoded, event_key, foreign_producer
from tests.world.live.worker import GUARDED_EVERY_S, WorkerProcess, worker_process
from tests.world.live.world import CUSTOMER, PLAN, Traffic, World
from tests.world.waiting import eventually, until

pytestmark = [pytest.mark.servers, pytest.mark.slow]


async def test_more_partitions_are_refused_with_a_way_to_migrate(
    live_settings: Settings, tmp_path: Path
) -> None:
    raw, count = live_settings.topic(live_settings.raw_topic), live_settings.raw_partitions
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        async with load(world):
            await asyncio.sleep(1)
        await worker.stop()
        async with admin_client(live_settings) as admin:
            await admin.create_partitions({raw: NewPartitions(count + 1)})
        worker.launch()
        assert await worker.wait() != 0
        assert f"Topic {raw} has {count + 1} partitions" in worker.said()
        assert "To migrate: stop the producers" in worker.said()


async def test_unread_events_that_retention_took_stop_the_worker(
    live_settings: Settings, tmp_path: Path
) -> None:
    raw = live_settings.topic(live_settings.raw_topic)
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        traffic = Traffic(world)
        async with foreign_producer(live_settings) as producer:
            await traffic.send(300, producer)
            await world.is_counted()
            assert await worker.stop() == 0, worker.tail()
            await traffic.send(300, producer)
        async with admin_client(live_settings) as admin:
            # -1: everything that is there.
            await admin.delete_records({TopicPartition(raw, 0): RecordsToDelete(-1)})
        # It tells what is wrong for as long as a scrape needs, then ends.
        await worker.start()
        await eventually(lambda: _says(f"{worker.url}/metrics", "meter_offsets_lost 1.0"), True)
        assert await _says(f"{worker.url}/health/ready", "the worker stops")
        assert await worker.wait() != 0
        assert f"{raw} partition 0 begins at offset" in worker.said()
        assert "are not folded yet" in worker.said()
        # Deleted on purpose: once they are named, they are passed.
        lost = re.findall(
            r"partition 0 begins at offset (\d+), but the records from (\d+)", worker.said()
        )
        start, first = map(int, lost[-1])
        definitions = await definitions_of(live_settings)
        with pytest.raises(NotSetAside, match="are folded"):
            await set_aside(
                live_settings, definitions, 0, first - 1, start, code="set_aside", message="gone"
            )
        (named,) = await set_aside(
            live_settings, definitions, 0, first, start, code="set_aside", message="gone"
        )
        await worker.start()
        assert named.payload["count"] == start - first
        await eventually(lambda: _says(f"{worker.url}/health/ready", "degraded"), True)
        assert await _says(f"{worker.url}/health/ready", "set_aside")


@asynccontextmanager
async def counted(
    settings: Settings, directory: Path
) -> AsyncIterator[tuple[WorkerProcess, World]]:
    """A worker that has counted some events."""
    async with (
        worker_process(settings, directory) as worker,
        world_on(settings, worker.url) as world,
    ):
        async with foreign_producer(settings) as producer:
            # Of the running month: an explanation of it reads them.
            await Traffic(world, months=(2,)).send(100, producer)
        await world.is_counted()
        yield worker, world


async def test_folded_events_that_retention_took_are_needed_again(
    live_settings: Settings, tmp_path: Path
) -> None:
    raw = live_settings.topic(live_settings.raw_topic)
    rekeyed = live_settings.topic(EVENTS_REKEYED)
    async with counted(live_settings, tmp_path) as (worker, world):
        numbers = range(live_settings.raw_partitions)
        async with started(Consumer(**live_settings.kafka_options())) as consumer:
            tps = [TopicPartition(topic, number) for topic in (raw, rekeyed) for number in numbers]
            ends = await consumer.end_offsets(tps)
        mine = f"/events?external_subscription_id={world.names[0]}"
        event = (await world.api.call("GET", mine))[1]["events"][0]
        cancel = {"external_subscription_id": world.names[0], "operation": "cancel"}
        cancel["transaction_id"] = event["transaction_id"]
        async with admin_client(live_settings) as admin:
            # Not a tick of just now: a worker ends where retention took what it has not read.
            await admin.delete_records({tp: RecordsToDelete(end) for tp, end in ends.items()})
        query = f"external_subscription_id={world.names[0]}&billable_metric_code={event['code']}"
        for path in (mine, f"/customers/{CUSTOMER}/usage/explain?{query}"):
            status, answer = await world.api.call("GET", path)
            assert (status, answer.get("code")) == (422, "beyond_retention")
        # What is counted stays, until it would have to be counted anew.
        assert await world.api.units(CUSTOMER, world.names[0])
        units = await world.api.units(CUSTOMER, world.names[0])
        status, answer = await world.api.call("POST", "/events/corrections", {"correction": cancel})
        assert (status, answer.get("code")) == (422, "beyond_retention")
        plan = (await world.api.call("GET", f"/plans/{PLAN}"))[1]["plan"]
        named = {"name": "another name"}
        fewer = {"charges": [{**each, "id": each["lago_id"]} for each in plan["charges"][1:]]}
        for changes, wanted in ((named, (200, None)), (fewer, (422, "beyond_retention"))):
            status, answer = await world.api.call("PUT", f"/plans/{PLAN}", {"plan": changes})
            assert (status, answer.get("code")) == wanted, answer
        # By Kafka nobody can be told: it is set aside.
        value = {**cancel, "organization_id": LOCAL_ORGANIZATION_ID, "correction_id": "c"}
        async with foreign_producer(live_settings) as producer:
            key = event_key(world.names[0])
            await producer.send_and_wait(raw, encoded(value), key=key)

        async def told() -> list[str]:
            _, answer = await world.api.call("GET", "/set_aside")
            return [one["code"] for one in answer["set_aside"]]

        await eventually(told, ["beyond_retention"])
        assert await world.api.units(CUSTOMER, world.names[0]) == units
        assert worker.is_running()


async def test_torn_state_whose_events_are_deleted_stops_the_worker(
    live_settings: Settings, tmp_path: Path
) -> None:
    """What is left would come to less. So nothing is emptied before that is known."""
    raw = live_settings.topic(live_settings.raw_topic)
    numbers = range(live_settings.raw_partitions)
    logs = (raw, live_settings.topic(EVENTS_REKEYED))
    presence = [TopicPartition(live_settings.topic(PRESENCE_CHANGELOG), n) for n in numbers]
    async with counted(live_settings, tmp_path) as (worker, _):
        assert await worker.stop() == 0, worker.tail()
        everything = {TopicPartition(log, n): RecordsToDelete(-1) for log in logs for n in numbers}
        async with admin_client(live_settings) as admin:
            await admin.delete_records(everything)
        async with foreign_producer(live_settings) as producer:
            for tp, records in await all_of(read_to_end(live_settings, presence)):
                await producer.send_and_wait(tp.topic, key=records[0][1], partition=tp.partition)
        kept = await _state_of(live_settings)
        assert kept
        worker.launch()
        assert await worker.wait() != 0
        assert "is torn, and " in worker.said()
        assert f"{raw} begins at offset " in worker.said()
        assert await _state_of(live_settings) == kept


async def gone(admin: Admin, topic: str) -> None:
    """Until a topic that was deleted is no more."""

    async def is_there() -> bool:
        return topic in await admin.list_topics()

    await eventually(is_there, False)


@pytest.mark.parametrize("loss", ["deleted", "emptied", "created anew"])
async def test_definitions_that_are_lost_stop_every_worker(
    live_settings: Settings, tmp_path: Path, loss: str
) -> None:
    """Whatever was counted by them would otherwise be taken for wrong, and deleted."""
    topic = live_settings.topic(METER_DEFINITIONS)
    async with counted(live_settings, tmp_path) as (worker, _):
        assert await worker.stop() == 0, worker.tail()
        kept = await _state_of(live_settings)
        assert kept
        async with admin_client(live_settings) as admin:
            if loss == "emptied":
                await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(5)})
            else:
                await admin.delete_topics([topic])
        if loss == "created anew":
            async with admin_client(live_settings) as admin:
                await gone(admin, topic)
                await ensure_topics(live_settings, admin)
            async with foreign_producer(live_settings) as producer:
                await producer.send_and_wait(topic, b"{}", partition=0)
        worker.launch()
        assert await worker.wait() != 0
        said = {
            "deleted": f"{topic} is empty, but ",
            "emptied": f"{topic} begins at offset 5: definitions were deleted",
            "created anew": f"{topic} ends at offset 2, but partition ",
        }
        assert said[loss] in worker.said()
        assert "Put the topic back from a copy" in worker.said()
        assert await _state_of(live_settings) == kept


async def test_usage_records_that_are_lost_are_published_again(
    live_settings: Settings, tmp_path: Path
) -> None:
    """The topic deleted while no worker runs, under one at rest, then under load."""
    topic = live_settings.topic(live_settings.usage_records_topic)
    said = f"{topic} is not what partition "
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
        admin_client(live_settings) as admin,
    ):
        async with load(world):
            await eventually(lambda: _has(live_settings, topic, 100), True)
        assert await worker.stop() == 0, worker.tail()
        before = await _count(live_settings, topic)
        await admin.delete_topics([topic])
        await worker.start()
        assert said in worker.said()
        await eventually(lambda: _has(live_settings, topic, before), True)
        await world.is_published([0, 1])
        before = await _count(live_settings, topic)
        await admin.delete_topics([topic])
        # Nothing is to be published any more.
        assert await worker.wait() != 0
        assert f"{topic} partition " in worker.said()
        assert "the topic ends at 0. Started again, the worker publishes" in worker.said()
        await worker.start()
        await eventually(lambda: _has(live_settings, topic, before), True)
        pid = worker.pid
        async with supervised(worker):
            async with load(world):
                before = await _count(live_settings, topic)
                await admin.delete_topics([topic])
                await eventually(lambda: _is_listed(admin, topic), False)
                await ensure_topics(live_settings, admin)
                await until(lambda: worker.pid != pid)
            # It ended, is started again, and takes its partitions over.
            await eventually(lambda: _has(live_settings, topic, before), True)
        world.api.url = worker.url
        await prove(world, tmp_path)


async def test_a_transaction_left_open_hides_usage_records_but_does_not_lose_them(
    live_settings: Settings, tmp_path: Path
) -> None:
    """Nor does one whose markers wait for another leader: readers see less than was published."""
    topic = live_settings.topic(live_settings.usage_records_topic)
    tps = [TopicPartition(topic, number) for number in range(live_settings.raw_partitions)]
    hanging = Producer(
        acks="all", transactional_id=f"{topic}-hanging", **live_settings.kafka_options()
    )
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
        started(Consumer(**live_settings.kafka_options())) as anything,
        started(hanging) as producer,
    ):
        await producer.begin_transaction()
        for tp in tps:
            await producer.send_and_wait(tp.topic, b"{}", partition=tp.partition)
        began = await anything.end_offsets(tps)
        async with load(world):
            await eventually(lambda: _reach(anything, {tp: began[tp] + 10 for tp in tps}), True)
        await asyncio.sleep(3 * GUARDED_EVERY_S)
        assert worker.is_running(), worker.tail()
        assert await _count(live_settings, topic) == 0, "the transaction is open still"
        await producer.abort_transaction()
        await prove(world, tmp_path)


async def _reach(consumer: Consumer, offsets: Mapping[TopicPartition, int]) -> bool:
    ends = await consumer.end_offsets(list(offsets))
    return all(ends[tp] >= offset for tp, offset in offsets.items())


async def _count(settings: Settings, topic: str) -> int:
    tps = [TopicPartition(topic, number) for number in range(settings.raw_partitions)]
    return sum(len(records) for _, records in await all_of(read_to_end(settings, tps)))


async def _has(settings: Settings, topic: str, count: int) -> bool:
    return await _count(settings, topic) >= count


async def _is_listed(admin: Admin, topic: str) -> bool:
    return topic in await admin.list_topics()


async def _state_of(settings: Settings) -> dict[str, int]:
    """Where the changelogs end that hold something, transaction markers aside."""
    found: dict[str, int] = {}
    for changelog in (CELLS_CHANGELOG, INDEX_CHANGELOG, MEMBERS_CHANGELOG):
        topic = settings.topic(changelog)
        tps = [TopicPartition(topic, number) for number in range(settings.raw_partitions)]
        await markers_written(settings, tps)
        for tp, records in await all_of(read_to_end(settings, tps)):
            found[f"{topic}-{tp.partition}"] = records[-1][0]
    return found


async def _says(url: str, text: str) -> bool:
    return text in await text_of(url)
