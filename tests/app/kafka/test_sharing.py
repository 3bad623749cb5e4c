"""Partitions are shared by load on a real broker, also beside workers that know of no loads."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.protocol.group import JoinGroupRequest

from app.kafka import batch_consumer
from app.kafka.assignor import EvenAssignor, assignors
from app.kafka.topics import admin_client, ensure_topics
from app.settings import Settings
from tests.app.kafka.workers import Durable, Owner, numbers, send, worker
from tests.world.waiting import until

pytestmark = pytest.mark.servers

HOT = {0: 9_000, 1: 100, 2: 100, 3: 100}


@pytest.fixture
async def ready(settings: Settings) -> Settings:
    """Settings whose topics exist, with four partitions."""
    async with admin_client(settings) as admin:
        await ensure_topics(settings, admin)
    return settings


class Loaded(Owner):
    """One that has measured the loads of all partitions."""

    def loads(self) -> dict[int, int]:
        return HOT


@asynccontextmanager
async def earlier(
    name: str, settings: Settings, durable: Durable, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Owner]:
    """A worker of a version that shares by number and understands nothing else."""

    def by_number(*of: object) -> list[EvenAssignor]:
        return [each for each in assignors(*of) if type(each) is EvenAssignor]  # type: ignore[arg-type]

    with monkeypatch.context() as patching:
        patching.setattr(batch_consumer, "assignors", by_number)
        running = worker(name, settings, durable)
        owner = await running.__aenter__()
    try:
        yield owner
    finally:
        await running.__aexit__(None, None, None)


async def shared(*owners: Owner) -> list[frozenset[int]]:
    """What each has, once every partition has one of them."""

    def are_all_taken() -> bool:
        return sorted(n for owner in owners for n in owner.partitions) == [0, 1, 2, 3]

    await until(are_all_taken)
    return [owner.partitions for owner in owners]


ALONE = {frozenset({0}), frozenset({1, 2, 3})}


async def test_a_hot_partition_has_a_worker_to_itself(ready: Settings) -> None:
    durable = Durable()
    raw = ready.topic(ready.raw_topic)
    await send(ready, raw, numbers(400))
    async with worker("a", ready, durable, Loaded) as a:
        await until(lambda: len(durable.all_values()) == 400)
        async with worker("b", ready, durable) as b:
            await until(lambda: b.partitions)
            assert set(await shared(a, b)) == ALONE
            await send(ready, raw, numbers(400, 400))
            async with worker("c", ready, durable) as c:
                await until(lambda: c.partitions)
                hot, *others = sorted(await shared(a, b, c), key=min)
                assert hot == {0}
                assert all(0 < len(other) < 3 for other in others)
            assert frozenset({0}) in await shared(a, b)
        await until(lambda: len(durable.all_values()) == 800)
    assert sorted(durable.all_values()) == numbers(800)


async def test_who_joins_tells_all_it_can_share_by_each_time(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the group begins again for each request, and two that join in turns find no end."""
    told: list[list[str]] = []
    send_req = GroupCoordinator._send_req

    async def note(self: GroupCoordinator, request: Any) -> Any:
        if isinstance(request, JoinGroupRequest):
            told.append([name for name, _ in request._group_protocols])
        return await send_req(self, request)

    monkeypatch.setattr(GroupCoordinator, "_send_req", note)
    durable = Durable()
    async with worker("a", ready, durable) as first, worker("b", ready, durable) as second:
        await shared(first, second)
    assert {tuple(names) for names in told} == {("meterstream-load", "meterstream-even")}


@pytest.mark.parametrize("leads", ["an earlier one", "a new one"])
async def test_workers_of_an_earlier_version_may_be_among_them(
    ready: Settings, monkeypatch: pytest.MonkeyPatch, leads: str
) -> None:
    durable = Durable()
    raw = ready.topic(ready.raw_topic)
    new, old = worker("new", ready, durable, Loaded), earlier("old", ready, durable, monkeypatch)
    running = [old, new] if leads == "an earlier one" else [new, old]
    owners = []
    for each in running:
        owners.append(await each.__aenter__())
        await until(lambda: owners[-1].partitions)
    assert [len(numbers) for numbers in await shared(*owners)] == [2, 2]
    await send(ready, raw, numbers(400))
    await until(lambda: len(durable.all_values()) == 400)
    # Roll: the earlier one ends, one more of the new comes.
    await old.__aexit__(None, None, None)
    kept = owners[running.index(new)]
    assert await shared(kept) == [frozenset({0, 1, 2, 3})]
    async with worker("newer", ready, durable) as newer:
        await until(lambda: newer.partitions)
        assert set(await shared(kept, newer)) == ALONE
        await send(ready, raw, numbers(400, 400))
        await until(lambda: len(durable.all_values()) == 800)
    await new.__aexit__(None, None, None)
    assert sorted(durable.all_values()) == numbers(800)
