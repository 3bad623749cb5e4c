"""Three brokers, of which some are away (faults F5, bounded-work §2.2): no process ends.

Longer absences, and all other ways: `python -m tests.faults.outages --of three`.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError

from app.bounds.limits import KAFKA_SLOW_FOR_S
from app.kafka.appender import Appender, forwarding_options
from app.kafka.clients import InOrderProducer, Producer, start, started
from app.kafka.log_readers import plain_consumer, read_to_end
from app.kafka.topics import EVENTS_REKEYED, admin_client, topic_specs
from app.local_servers.kafka import LocalKafka
from app.runtime.offsets import LEADER_AWAITED_S, Offsets
from app.runtime.partition.forwarder import Forwarder, Forwards
from app.settings import Settings
from tests.faults.cluster import cluster, rack_of
from tests.faults.outages import TOO_FEW, of_three
from tests.world.live.committed import all_of
from tests.world.live.load import load, prove, world_on
from tests.world.live.paused import pause, resume
from tests.world.live.producer import foreign_producer
from tests.world.live.worker import WorkerProcess, worker_process
from tests.world.live.world import SCALE
from tests.world.waiting import PATIENCE_S, eventually, until

pytestmark = [pytest.mark.servers, pytest.mark.slow]

AWAY_S = min(60.0, (KAFKA_SLOW_FOR_S + 3.0) * SCALE)
"""So long that a worker tells of it."""
NEAR = 2
"""The broker in the worker's rack."""
LEADS, FOLLOWS = 1, 2
REFUSALS = 4
SAMPLE = ("active controller killed", TOO_FEW)


@pytest.fixture
async def brokers(tmp_path: Path) -> AsyncIterator[dict[int, LocalKafka]]:
    """Three, for this test alone."""
    async with cluster(tmp_path / "kafka") as running:
        yield running


@pytest.fixture
def cluster_settings(live_settings: Settings, brokers: dict[int, LocalKafka]) -> Settings:
    """Every topic has three copies."""
    addresses = tuple(broker.address for broker in brokers.values())
    return live_settings.model_copy(
        update={
            "kafka_bootstrap_servers": addresses,
            "replication_factor": len(brokers),
            "kafka_rack": rack_of(NEAR),
        }
    )


async def read_near(settings: Settings) -> None:
    """Read partitions that each of the brokers leads: the near one answers for all of them."""
    topic, values = settings.topic("read-near"), [b"a", b"b"]
    tps = [TopicPartition(topic, number) for number in range(settings.replication_factor)]
    async with admin_client(settings) as admin:
        await admin.create_topics([NewTopic(topic, len(tps), settings.replication_factor)])
    async with foreign_producer(settings) as producer:
        for tp in tps:
            for value in values:
                await producer.send_and_wait(topic, value, partition=tp.partition)
    async with started(plain_consumer(settings, near=True)) as consumer:
        ends = await consumer.end_offsets(tps)
        consumer.assign(tps)
        for tp in tps:
            consumer.seek(tp, 0)
        found: dict[TopicPartition, list[bytes]] = {tp: [] for tp in tps}
        async with asyncio.timeout(PATIENCE_S):
            while any(len(found[tp]) < ends[tp] for tp in tps):
                for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                    found[tp] += [record.value for record in records]
        assert found == dict.fromkeys(tps, values)
        leaders = {tp: consumer._client.cluster.leader_for_partition(tp) for tp in tps}
        asked = {tp: consumer._fetcher._select_read_replica(tp) for tp in tps}
        assert len(set(leaders.values())) > 1
        assert set(asked.values()) == {NEAR}
    read = [record for _, records in await all_of(read_to_end(settings, tps)) for record in records]
    assert sorted(value or b"" for _, _, value in read) == sorted(values * len(tps))


async def test_brokers_of_three_are_away(
    cluster_settings: Settings, brokers: dict[int, LocalKafka], tmp_path: Path
) -> None:
    await read_near(cluster_settings)
    only = SAMPLE if SCALE == 1 else ()
    async with (
        worker_process(cluster_settings, tmp_path) as worker,
        world_on(cluster_settings, worker.url) as world,
    ):
        async with load(world):
            await of_three(worker, cluster_settings, brokers, AWAY_S, print, only)
        await prove(world, tmp_path)


async def with_one_copy_each(settings: Settings) -> TopicPartition:
    """Make the raw topic; return the partition that broker 3 alone has."""
    spec = next(s for s in topic_specs(settings) if s.name == settings.topic(settings.raw_topic))
    topic = NewTopic(
        spec.name,
        -1,
        -1,
        replica_assignments={0: [3], 1: [1], 2: [2]},
        topic_configs={**spec.configs, "min.insync.replicas": "1"},
    )
    async with admin_client(settings) as admin:
        await admin.create_topics([topic])
    return TopicPartition(spec.name, 0)


async def without_a_leader(settings: Settings, tp: TopicPartition) -> None:
    """Until the brokers know that nobody leads it."""

    async def is_without() -> bool:
        # Whoever is asked may be away.
        with suppress(KafkaError):
            async with admin_client(settings) as admin:
                (topic,) = await admin.describe_topics([tp.topic])
            leaders = {each["partition"]: each["leader"] for each in topic["partitions"]}
            return bool(leaders[tp.partition] < 0)
        return False

    await eventually(is_without, True)


async def go_on(settings: Settings, numbers: Iterable[int]) -> None:
    """Write to partitions, and wait until the group has folded that."""
    topic, ends = settings.topic(settings.raw_topic), dict[TopicPartition, int]()
    async with foreign_producer(settings) as producer:
        for number in numbers:
            written = await producer.send_and_wait(topic, b"{}", partition=number)
            ends[TopicPartition(topic, number)] = written.offset + 1

    async def are_folded() -> bool:
        with suppress(KafkaError):
            async with admin_client(settings) as admin:
                found = await admin.list_consumer_group_offsets(settings.consumer_group)
            return all(tp in found and found[tp].offset >= end for tp, end in ends.items())
        return False

    await eventually(are_folded, True)


async def test_a_partition_without_a_leader_waits_alone(
    cluster_settings: Settings, brokers: dict[int, LocalKafka], tmp_path: Path
) -> None:
    """The others go on, through a rebalance and a start; it does once the leader is back."""
    settings, leaderless = cluster_settings, await with_one_copy_each(cluster_settings)
    async with worker_process(settings, tmp_path, "one") as one:
        two = WorkerProcess(settings, tmp_path, "two")
        try:
            await two.start()
            await go_on(settings, range(3))
            brokers[3].kill()
            await without_a_leader(settings, leaderless)
        finally:
            await two.kill()
        await go_on(settings, (1, 2))
        assert one.is_running(), one.tail()
        await one.kill()
        one.launch()
        await go_on(settings, (1, 2))
        told = "Partition 0 waits for brokers: LeaderNotAvailableError"
        await until(lambda: told in one.said())
        await brokers[3].start()
        await one.until_ready()
        await go_on(settings, range(3))


async def test_who_has_no_leader_is_waited_for_alone(
    cluster_settings: Settings, brokers: dict[int, LocalKafka], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks about another at the same time was told after 40 s."""
    # Until the broker is back, however long all that comes before takes.
    monkeypatch.setattr("app.runtime.offsets.LEADER_AWAITED_S", 10 * LEADER_AWAITED_S)
    settings, leaderless = cluster_settings, await with_one_copy_each(cluster_settings)
    others = {TopicPartition(leaderless.topic, number): 0 for number in (1, 2)}
    every = [leaderless, *others]
    offsets = Offsets(settings)
    await offsets.start()
    try:
        assert await offsets.starts(every) == dict.fromkeys(every, 0)
        brokers[3].kill()
        waiting = asyncio.create_task(offsets.starts([leaderless]))
        # At first the others do not know of it.
        for _ in range(2):
            await asyncio.sleep(0)
            asked = (
                offsets.starts([*others]),
                offsets.led_ends(every),
                offsets.written_ends(every),
            )
            told = await asyncio.wait_for(asyncio.gather(*asked), LEADER_AWAITED_S / 2)
            assert [*told] == 3 * [others]
            assert not waiting.done()
            await without_a_leader(settings, leaderless)
        await brokers[3].start()
        assert await waiting == {leaderless: 0}
    finally:
        await offsets.stop()


async def test_who_is_led_by_a_frozen_broker_is_waited_for_alone(
    cluster_settings: Settings, brokers: dict[int, LocalKafka]
) -> None:
    """What one asked while it still counted as a leader held the others for 40 s."""
    frozen = await with_one_copy_each(cluster_settings)
    other = TopicPartition(frozen.topic, 1)
    offsets = Offsets(cluster_settings)
    await offsets.start()
    try:
        assert await offsets.starts([frozen, other]) == {frozen: 0, other: 0}
        pause(brokers[3].process)
        waiting = asyncio.create_task(offsets.starts([frozen]))
        await asyncio.sleep(0)
        assert await asyncio.wait_for(offsets.starts([other]), LEADER_AWAITED_S - 5.0) == {other: 0}
        assert not waiting.done()
        waiting.cancel()
        await asyncio.wait([waiting])
    finally:
        resume(brokers[3].process)
        await offsets.stop()


@pytest.fixture
async def short(cluster_settings: Settings) -> TopicPartition:
    """One of what two brokers have to take; the topic of forwards is the same."""
    names = [cluster_settings.topic(each) for each in ("short", EVENTS_REKEYED)]
    async with admin_client(cluster_settings) as admin:
        await admin.create_topics(
            [NewTopic(name, -1, -1, replica_assignments={0: [LEADS, FOLLOWS]}) for name in names]
        )
    return TopicPartition(names[0], 0)


@pytest.fixture
async def appender(cluster_settings: Settings) -> AsyncIterator[Appender]:
    """One that is stopped in the end."""
    appender = Appender(cluster_settings)
    yield appender
    await appender.stop()


async def in_sync(settings: Settings, tp: TopicPartition) -> list[int]:
    """Return the brokers that have all of a partition; none if nobody tells right now."""
    with suppress(KafkaError, OSError):
        async with admin_client(settings) as admin:
            (topic,) = await admin.describe_topics([tp.topic])
        return sorted(isr for each in topic["partitions"] for isr in each["isr"])
    return []


def asking() -> list[str]:
    """Return the tasks of all producers that ask brokers for anything."""
    names = [getattr(each.get_coro(), "__qualname__", "") for each in asyncio.all_tasks()]
    return [name for name in names if "Sender." in name or "Requests." in name]


async def stop_while_nobody_takes(settings: Settings, tp: TopicPartition) -> None:
    """Leave what was sent to nobody who takes it, and stop all the same."""
    appender = Appender(settings)
    forwarder = Forwarder(settings, lambda: InOrderProducer(**forwarding_options(settings)))
    for each in (appender, forwarder):
        await each.start()
    forwards = Forwards()
    await forwards.send(forwarder, [(0, 0, 0, (b"k", b"forwarded", b"0:0:0:0", ()))])
    appending = asyncio.create_task(appender.append(tp.topic, b"k", b"left", tp.partition))
    await until(lambda: len([name for name in asking() if "_send_produce_req" in name]) > 1)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(appender.stop(), forwarder.stop())
    with pytest.raises((KafkaError, TimeoutError)):
        await appending
    assert asking() == []


async def test_what_was_not_taken_is_not_appended_later(
    cluster_settings: Settings,
    brokers: dict[int, LocalKafka],
    short: TopicPartition,
    appender: Appender,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Four definitions of one plan, each answered 503, would end as any of them, hours later."""
    alive: list[int] = []

    async def started_alone(producer: Producer) -> Producer:
        alive.append(asking().count("Sender._sender_routine"))
        return await start(producer)

    monkeypatch.setattr("app.kafka.appender.start", started_alone)
    assert (await appender.append(short.topic, b"k", b"first", 0)).offset == 0
    brokers[FOLLOWS].kill()
    await eventually(lambda: in_sync(cluster_settings, short), [LEADS])
    with monkeypatch.context() as hurried:
        hurried.setattr("app.kafka.appender.APPENDED_WITHIN_S", 2.0)
        # Brokers answer: what is on its way ends at once.
        hurried.setattr("app.kafka.clients.STOPPED_WITHIN_S", 2 * PATIENCE_S)
        for number in range(REFUSALS):
            with pytest.raises(TimeoutError):
                await appender.append(short.topic, b"k", b"refused-%d" % number, 0)
        async with asyncio.timeout(PATIENCE_S):
            await appender.stop()
        assert asking() == []
        assert alive == [0] * REFUSALS
        gc.collect()
        assert "never retrieved" not in caplog.text
        hurried.setattr("app.kafka.clients.STOPPED_WITHIN_S", 1.0)
        await stop_while_nobody_takes(cluster_settings, short)
    await brokers[FOLLOWS].start()
    await eventually(lambda: in_sync(cluster_settings, short), [LEADS, FOLLOWS])
    assert (await appender.append(short.topic, b"k", b"new", 0)).offset == 1
    tps = [short, TopicPartition(cluster_settings.topic(EVENTS_REKEYED), 0)]
    read = [
        record
        for _, records in await all_of(read_to_end(cluster_settings, tps))
        for record in records
    ]
    assert read == [(0, b"k", b"first"), (1, b"k", b"new")]


async def test_requests_to_silent_brokers_end_with_their_producer(
    cluster_settings: Settings,
    brokers: dict[int, LocalKafka],
    appender: Appender,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("app.kafka.clients.STOPPED_WITHIN_S", 1.0)
    topic = cluster_settings.topic("each-leads")
    async with admin_client(cluster_settings) as admin:
        led = {number: [node] for number, node in enumerate(brokers)}
        await admin.create_topics(
            [
                NewTopic(
                    topic,
                    -1,
                    -1,
                    replica_assignments=led,
                    topic_configs={"min.insync.replicas": "1"},
                )
            ]
        )
    for number in led:
        await appender.append(topic, b"k", b"taken", number)
    for broker in brokers.values():
        pause(broker.process)
    try:
        appending = [
            asyncio.create_task(appender.append(topic, b"k", b"left", number)) for number in led
        ]
        await until(lambda: len([each for each in asking() if "produce" in each]) == len(led))
        async with asyncio.timeout(PATIENCE_S):
            await appender.stop()
        assert asking() == []
        failed = await asyncio.gather(*appending, return_exceptions=True)
        assert [type(each) for each in failed] == [KafkaError] * len(led)
    finally:
        for broker in brokers.values():
            resume(broker.process)
