"""Three brokers, of which some are away (faults F5, bounded-work §2.2): no process ends.

Longer absences, and all other ways: `python -m tests.faults.outages --of three`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError

from app.kafka.clients import started
from app.kafka.log_readers import plain_consumer, read_to_end
from app.kafka.topics import admin_client, topic_specs
from app.local_servers.kafka import LocalKafka
from app.settings import Settings
from tests.faults.cluster import cluster, rack_of
from tests.faults.outages import TOO_FEW, of_three
from tests.world.live.committed import all_of
from tests.world.live.load import load, prove, world_on
from tests.world.live.producer import foreign_producer
from tests.world.live.worker import WorkerProcess, worker_process
from tests.world.live.world import SCALE
from tests.world.waiting import PATIENCE_S, eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

AWAY_S = min(60.0, 9.0 * SCALE)
NEAR = 2
"""The broker in the worker's rack."""
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
        assert "Partition 0 waits for brokers: LeaderNotAvailableError" in one.said()
        await brokers[3].start()
        await one.until_ready()
        await go_on(settings, range(3))
