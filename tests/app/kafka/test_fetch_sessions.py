"""A fetch names what has changed since the one before, however many partitions are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic

from app.kafka import fetch_sessions
from app.kafka.clients import Consumer, started
from app.kafka.fetch_sessions import FetchSession, SessionFetch
from app.kafka.topics import admin_client
from app.settings import Settings
from tests.world.live.producer import foreign_producer
from tests.world.waiting import PATIENCE_S, until

pytestmark = pytest.mark.servers

WAIT_MS = 50
PARTITIONS = 24


class Reading:
    """A consumer of all partitions of a topic, and what its fetches named."""

    def __init__(self, settings: Settings, topic: str, consumer: Consumer):
        self.settings, self.topic, self.consumer = settings, topic, consumer
        self.tps = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        self.named: list[tuple[int, int]] = []
        """(partitions that were named, partitions that were taken back) of each fetch"""

    def sent(self, built: Any) -> None:
        named = sum(len(partitions) for _, partitions in built.topics)
        gone = sum(len(partitions) for _, partitions in built.forgotten_topics_data)
        self.named.append((named, gone))

    def ends(self) -> set[object]:
        """Return where the partitions end, as fetches saw them."""
        return {self.consumer.fetched_ends(tp) for tp in self.tps}

    async def is_idle(self) -> None:
        """Until two fetches have named nothing."""
        self.named.clear()
        await until(lambda: len(self.named) > 3)
        assert set(self.named[2:]) == {(0, 0)}

    async def send(self, *values: str) -> None:
        """Append to the first partitions, one to each."""
        async with foreign_producer(self.settings) as producer:
            for number, value in enumerate(values):
                await producer.send_and_wait(self.topic, value.encode(), partition=number)

    async def read(self, count: int) -> list[str]:
        found: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(found) < count:
                fetched = await self.consumer.getmany(timeout_ms=200)
                found += [r.value.decode() for records in fetched.values() for r in records]
        return sorted(found)


@pytest.fixture
async def reading(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reading]:
    topic = settings.topic("many")
    async with admin_client(settings) as admin:
        await admin.create_topics([NewTopic(topic, PARTITIONS, 1)])
    options = settings.kafka_options()
    consumer = Consumer(
        **options,
        enable_auto_commit=False,
        auto_offset_reset="none",
        fetch_max_wait_ms=WAIT_MS,
        keeps_sessions=True,
    )
    made = Reading(settings, topic, consumer)
    build = SessionFetch.build

    def told(fetch: SessionFetch, version: Any) -> Any:
        built = build(fetch, version)
        made.sent(built)
        return built

    monkeypatch.setattr(fetch_sessions.SessionFetch, "build", told)
    async with started(consumer):
        consumer.assign(made.tps)
        for tp in made.tps:
            consumer.seek(tp, 0)
        yield made


async def test_nothing_is_named_while_nothing_comes(reading: Reading) -> None:
    await until(lambda: bool(reading.named))
    assert reading.named[0] == (PARTITIONS, 0)
    # A broker that leads them only now says so of each, until it does.
    await until(lambda: reading.ends() == {(0, 0)})
    await reading.is_idle()

    await reading.send("a", "b")
    assert await reading.read(2) == ["a", "b"]
    await reading.is_idle()
    assert reading.consumer.fetched_ends(reading.tps[1]) == (1, 1)


async def test_what_has_changed_is_named(reading: Reading) -> None:
    await reading.send("a", "b", "c")
    assert await reading.read(3) == ["a", "b", "c"]
    await reading.is_idle()
    first, second, *_ = reading.tps

    reading.consumer.pause(first)
    await until(lambda: (0, 1) in reading.named)
    await reading.send("d", "e")
    assert await reading.read(1) == ["e"]

    reading.consumer.resume(first)
    assert await reading.read(1) == ["d"]
    reading.consumer.seek(second, 0)
    assert await reading.read(2) == ["b", "e"]
    await reading.is_idle()


@pytest.mark.parametrize("what", ["_id", "_epoch"])
async def test_a_session_that_the_broker_does_not_have_begins_anew(
    reading: Reading, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reading.send("a")
    assert await reading.read(1) == ["a"]
    await reading.is_idle()
    answered = FetchSession.answered

    def lost(session: FetchSession, fetch: SessionFetch, response: Any) -> None:
        answered(session, fetch, response)
        setattr(session, what, getattr(session, what) + 7)
        monkeypatch.setattr(FetchSession, "answered", answered)

    monkeypatch.setattr(FetchSession, "answered", lost)
    await until(lambda: (PARTITIONS, 0) in reading.named)
    await reading.send("b")
    assert await reading.read(1) == ["b"]
    await reading.is_idle()


async def test_another_assignment_is_named_as_a_whole(reading: Reading) -> None:
    await reading.is_idle()
    some = reading.tps[:5]
    reading.consumer.assign(some)
    for tp in some:
        reading.consumer.seek(tp, 0)
    await until(lambda: (len(some), 0) in reading.named)
    await until(lambda: {reading.consumer.fetched_ends(tp) for tp in some} == {(0, 0)})
    await reading.is_idle()
    await reading.send("a")
    assert await reading.read(1) == ["a"]
