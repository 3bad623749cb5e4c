"""A live fold waits for no brokers that send nothing to whoever reads again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from app.bounds.turns import Turns, Work
from app.definitions.state import Definitions
from app.kafka.clients import Consumer
from app.kafka.names import TopicPartition
from app.kafka.topics import admin_client, ensure_topics
from app.queries.raw_replay import RawReplay
from app.runtime.homes import HomePartitions
from app.runtime.scanning.scan import Scan
from app.runtime.scanning.scans import ScanTurn, feeding
from app.settings import Settings
from tables.changelogged.checkpoint import Checkpoint
from tests.world.definitions import ORG
from tests.world.live.producer import foreign_producer
from tests.world.waiting import PATIENCE_S, until

pytestmark = pytest.mark.servers


@pytest.fixture
async def written(settings: Settings) -> Settings:
    """Two raw partitions with a record each."""
    settings = settings.model_copy(update={"raw_partitions": 2})
    async with admin_client(settings) as admin:
        await ensure_topics(settings, admin)
    async with foreign_producer(settings) as producer:
        for number in range(2):
            topic = settings.topic(settings.raw_topic)
            await producer.send_and_wait(topic, b"{}", partition=number)
    return settings


@asynccontextmanager
async def paused(consumer: Consumer, tp: TopicPartition) -> AsyncIterator[None]:
    """Have nothing of a partition sent, as while nobody leads it."""
    consumer.pause(tp)
    yield
    consumer.resume(tp)


async def let_go_meanwhile(
    lock: asyncio.Lock,
    consumer: Consumer,
    tp: TopicPartition,
    held: AbstractAsyncContextManager[None],
) -> None:
    """The lock is free while nothing comes, and held once all of it is read."""
    ended = asyncio.Event()

    async def hold() -> None:
        async with held:
            assert lock.locked()
            ended.set()

    async with paused(consumer, tp):
        holding = asyncio.create_task(hold())
        await until(lock.locked)
        async with asyncio.timeout(PATIENCE_S), lock:
            assert not ended.is_set()
    async with asyncio.timeout(PATIENCE_S):
        await holding


async def at_once(_: int) -> None:
    """Wait for nothing."""


def turn() -> ScanTurn:
    return ScanTurn(Turns(), Work("scan"))


async def test_a_verification_waits_for_a_leader_beside_the_live_fold(written: Settings) -> None:
    """That of another partition, which has all there is."""
    lock, definitions = asyncio.Lock(), Definitions()
    checkpoint = Checkpoint(raw_next=1, marks={1: (0, 0)})
    owned = SimpleNamespace(
        number=0,
        lock=lock,
        state=SimpleNamespace(checkpoint=checkpoint),
        shared=SimpleNamespace(definitions=definitions),
        life=SimpleNamespace(definitions_past=at_once),
    )
    job = SimpleNamespace(feed=lambda *_, **__: None, check_corrections=lambda *_, **__: None)
    homes = HomePartitions(definitions, 2)
    jobs: Any = {0: (owned, job)}
    async with RawReplay(written, homes, jobs, ORG, turn()) as replay:
        await let_go_meanwhile(lock, replay._consumer, replay._tps[1], replay.caught_up(0))
        assert replay.behind() == 0


async def test_a_refold_waits_for_a_leader_beside_the_live_fold(written: Settings) -> None:
    lock, definitions = asyncio.Lock(), Definitions()
    checkpoint = Checkpoint(raw_next=1)
    reading = turn()
    async with Scan(written, 0, HomePartitions(definitions, 2), definitions) as scan:
        scan.count_for("refold")
        scan.start(checkpoint, 0, None)
        consumer = await scan._connected()
        held = reading.caught_up(lock, scan, checkpoint, feeding(lambda _: None))
        await let_go_meanwhile(lock, consumer, scan._raw, held)
        assert scan.behind(checkpoint) == 0
