"""Members on their way to and from the members store: what is asked for, written and forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from app.bounds.turns import drained
from app.definitions.model import SettingsRecord
from app.local_servers.redis import LocalRedis
from app.meter.errors import Unavailable
from app.queries.usage import Usage
from app.redis.members import MemberStore
from app.runtime.partition.life import State
from app.runtime.partition.member_sync import Unstored
from app.runtime.partition.owned import OwnedPartition
from app.wire.arrivals import runs_of
from app.wire.encode import IncomingEvent
from tables.changelogged.members import MemberKey, SetKey
from tables.unique_count import MemberOperation
from tests.app.runtime.alone import NoProducer, context_of
from tests.world.clock import START_MS, ManualClock
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.live.paused import pause, resume
from tests.world.partition import Live
from tests.world.waiting import PATIENCE_S

SET = b"set"
ADDED = MemberOperation(START_MS, START_MS, START_MS, (START_MS, 0, 0, 0), True)


def test_a_newer_change_takes_the_place_of_an_older_one() -> None:
    unstored = Unstored()
    unstored.add({(SET, "a"): b"1", (SET, "b"): b"1"})
    unstored.add({(SET, "a"): b"2", (SET, "b"): None})
    assert unstored.all() == [((SET, "a"), b"2"), ((SET, "b"), None)]


def test_what_changed_again_while_it_was_stored_stays() -> None:
    unstored = Unstored()
    unstored.add({(SET, "a"): b"1", (SET, "b"): b"1", (SET, "c"): None})
    taken = unstored.all()
    unstored.add({(SET, "a"): b"2"})
    assert unstored.remove(taken) == [(SET, "b"), (SET, "c")]
    assert unstored.all() == [((SET, "a"), b"2")]


@pytest.fixture
async def own_redis(tmp_path: Path) -> AsyncIterator[LocalRedis]:
    """A Redis for this test alone."""
    async with LocalRedis(tmp_path / "redis") as redis:
        yield redis


@pytest.fixture
async def owned(own_redis: LocalRedis, tmp_path: Path) -> AsyncIterator[OwnedPartition]:
    """A partition of a unique count that is billed at once; Redis has its members."""
    live = Live(definitions_of(("passes",), SettingsRecord(grace_s=0)))
    live.define_all()
    state = live.partition
    state.members.keep_at_most(1)
    context = context_of(
        state.definitions, ManualClock(START_MS), redis_url=own_redis.url, state_dir=tmp_path
    )
    await context.members.start()
    await context.members.replace_all(0, 0, state.checkpoint.flush, [])
    partition = OwnedPartition(state, NoProducer(), context)
    first = arrived("passes", 0, START_MS + 1, u="first")
    await partition.fold(runs_of([first]), raw_next=1, append_time_ms=START_MS + 1)
    # As after a restart: no set is known to be all at hand.
    state.members.complete.clear()
    yield partition
    await partition.members.halt()
    await context.members.stop()


async def estimate(owned: OwnedPartition) -> int:
    """Return how many fees an event would bill at once."""
    engine = SimpleNamespace(shared=owned.shared)
    usage = Usage(cast(Any, engine), cast(Any, SimpleNamespace(at_home=lambda *_: owned)))
    event = IncomingEvent(
        transaction_id="new",
        code="passes",
        external_subscription_id=SUBSCRIPTION,
        timestamp=None,
        timestamp_ms=START_MS + 1_000,
        properties=b'{"u": "x"}',
        precise_total_amount_cents=None,
    )
    return len(await usage.estimated_fees(ORG, event, START_MS + 1_000))


@pytest.mark.servers
async def test_a_query_does_not_wait_for_a_redis_that_stalls(
    monkeypatch: pytest.MonkeyPatch, own_redis: LocalRedis, owned: OwnedPartition
) -> None:
    """Nor is the fold seen to wait meanwhile."""
    module = "app.runtime.partition.member_sync.READ_WITHIN_S"
    owned.life.begin()
    pause(own_redis.process)
    try:
        monkeypatch.setattr(module, 0.2)
        asking = asyncio.create_task(estimate(owned))
        await asyncio.sleep(0.1)
        assert owned.life.state is State.RUNNING
        with pytest.raises(Unavailable):
            await asyncio.wait_for(asking, PATIENCE_S)
    finally:
        resume(own_redis.process)
    monkeypatch.setattr(module, 60.0)
    assert await estimate(owned) == 1


@pytest.mark.servers
async def test_who_was_given_up_answers_no_query(owned: OwnedPartition) -> None:
    """A newer owner has its members, so here they look as if there were none."""
    await owned.abandon()
    with pytest.raises(Unavailable):
        await estimate(owned)


@pytest.mark.servers
async def test_members_are_filled_in_although_no_query_waits_for_the_end(
    monkeypatch: pytest.MonkeyPatch, own_redis: LocalRedis, owned: OwnedPartition
) -> None:
    module = "app.runtime.partition.member_sync."
    begun, may = list[int](), asyncio.Event()

    async def refill(
        _: Any, store: MemberStore, number: int, epoch: int, flush: int, __: Any
    ) -> None:
        begun.append(number)
        await may.wait()
        await store.replace_all(number, epoch, flush, [])

    monkeypatch.setattr(module + "refill_members", refill)
    async with Redis.from_url(own_redis.url) as redis:
        await redis.flushall()
    monkeypatch.setattr(module + "READ_WITHIN_S", 0.1)
    for _ in range(2):
        with pytest.raises(Unavailable):
            await estimate(owned)
    may.set()
    monkeypatch.setattr(module + "READ_WITHIN_S", 60.0)
    assert await estimate(owned) == 1
    assert begun == [0]


@pytest.mark.servers
async def test_an_answer_that_is_late_is_no_newer_member(
    monkeypatch: pytest.MonkeyPatch, owned: OwnedPartition
) -> None:
    """The fold changes the member meanwhile, stores it and lets it go."""
    members, store = owned.state.members, owned.shared.members
    asked, may = asyncio.Event(), asyncio.Event()
    load = store._load

    async def late(number: int, texts: dict[SetKey, list[str]]) -> dict[MemberKey, bytes | None]:
        found = await load(number, texts)
        asked.set()
        await may.wait()
        return found

    monkeypatch.setattr(store, "_load", late)
    name = (SET, "x")
    asking = asyncio.create_task(owned.members.prefetch_soon([name]))
    await asked.wait()
    # The fold had asked before: none is there, and one comes.
    members.fill(name, None)
    members.put(name, (ADDED,))
    members.put((SET, "other"), (ADDED,))
    changes, _ = drained(members.taking_changes())
    owned.commits.flush += 1
    owned.members.add(changes)
    await owned.members.follow()
    assert members.is_missing(name)
    may.set()
    await asking
    assert members.get(name) == (ADDED,)
