"""The transport against a real broker: several workers of one group in one process.

It has over 500 lines: the tests share a broker's topics, and one part promises all of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from threading import Event
from typing import Any, cast

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import TopicPartition
from faust.types import TP

from app.bounds.cancellation import CancelledUnderneath
from app.kafka.assignor import LoadAssignor
from app.kafka.batch_consumer import QUEUED_BATCHES, BatchConsumer
from app.kafka.faust_app import make_app
from app.kafka.lenient_fetch import FetchedRecords, Fetcher, FetchingEnded
from app.kafka.placing import LOG_START
from app.kafka.record_batch import OffsetsLost, RecordBatch
from app.kafka.topics import EVENTS_REKEYED
from app.settings import Settings
from tests.app.kafka.workers import (
    QUICK,
    Durable,
    Owner,
    committed,
    crash_of,
    delete_before,
    kept_batches,
    numbers,
    producer,
    running,
    send,
    worker,
)
from tests.world.batches import batch_bytes, record_bytes
from tests.world.live.producer import send_bytes
from tests.world.waiting import PATIENCE_S, eventually, until

pytestmark = pytest.mark.servers


async def test_everything_arrives_once_over_restarts(ready: Settings) -> None:
    durable = Durable()
    raw = ready.topic(ready.raw_topic)
    await send(ready, raw, numbers(2_000))
    async with worker("a", ready, durable) as owner:
        await until(lambda: len(durable.all_values()) == 2_000)
        assert owner.log == ["assign [0, 1, 2, 3]"]
    assert owner.log == ["assign [0, 1, 2, 3]", "release [0, 1, 2, 3]"]
    await send(ready, raw, numbers(2_000, 2_000), 2_000)
    async with worker("b", ready, durable):
        await until(lambda: len(durable.all_values()) == 4_000)
    assert sorted(durable.all_values()) == numbers(4_000)
    for tp, values in durable.values.items():
        assert values == sorted(values), f"{tp} is out of order"


async def test_batches_cover_every_offset_and_pass_transaction_markers(ready: Settings) -> None:
    raw = ready.topic(ready.raw_topic)
    sender = AIOKafkaProducer(**ready.kafka_options(), transactional_id=f"{raw}-test")
    await sender.start()
    for number in range(3):
        async with sender.transaction():
            await sender.send(raw, b"kept %d" % number, partition=0)
        await sender.begin_transaction()
        await sender.send(raw, b"aborted %d" % number, partition=0)
        await sender.flush()
        await sender.abort_transaction()
    await sender.stop()
    durable = Durable()
    tp = TP(raw, 0)
    async with worker("a", ready, durable):
        # Three committed and three aborted records, and a marker behind each.
        await until(lambda: durable.next.get(tp) == 12)
    assert durable.values[tp] == [b"kept 0", b"kept 1", b"kept 2"]
    assert (await committed(ready))[tp] == 12


async def test_only_what_is_acknowledged_is_committed(ready: Settings) -> None:
    durable = Durable()
    raw = ready.topic(ready.raw_topic)
    await send(ready, raw, numbers(400))
    async with worker("a", ready, durable) as owner:
        owner.flush_s = None
        await until(lambda: sum(map(len, owner.folded)) == 400)
        await asyncio.sleep(1.0)
        assert await committed(ready) == {}
        held = [batch for batch in owner.folded if batch.tp == TP(raw, 0)]
        others = [batch for batch in owner.folded if batch.tp != TP(raw, 0)]
        assert all(owner.app.batches.acknowledge(batch) for batch in others)
        await send(ready, raw, [b"later"])
        await until(lambda: sum(map(len, owner.folded)) == 401)
        # An earlier batch of partition 0 is missing.
        later = owner.folded[-1]
        assert owner.app.batches.acknowledge(later)
        without = {TP(raw, 1): 100, TP(raw, 2): 100, TP(raw, 3): 100}
        await eventually(lambda: committed(ready), without)
        await asyncio.sleep(1.0)
        assert await committed(ready) == without
        assert all(owner.app.batches.acknowledge(batch) for batch in held)
        await eventually(lambda: committed(ready), without | {TP(raw, 0): 101})


async def test_the_state_decides_where_to_go_on(ready: Settings) -> None:
    """Not the group's offset: it may lag behind the state, or be ahead of a restored one."""
    durable = Durable()
    raw = ready.topic(ready.raw_topic)
    await send(ready, raw, numbers(400))
    async with worker("a", ready, durable):
        await until(lambda: len(durable.all_values()) == 400)
    restored = Durable(next={TP(raw, 0): 60, TP(raw, 1): 0, TP(raw, 2): 100})
    async with worker("b", ready, restored):
        await until(lambda: len(restored.all_values()) == 240)
        await asyncio.sleep(0.5)
    assert {tp: len(values) for tp, values in restored.values.items()} == {
        TP(raw, 0): 40,
        TP(raw, 1): 100,
        TP(raw, 3): 100,
    }


async def test_release_comes_before_the_commit(ready: Settings) -> None:
    durable = Durable()
    raw = ready.topic(ready.raw_topic)
    await send(ready, raw, numbers(400))
    async with worker("a", ready, durable) as owner:
        owner.flush_s = None
        await until(lambda: sum(map(len, owner.folded)) == 400)
        async with worker("b", ready, durable) as joined:
            await until(lambda: len(joined.partitions) == 2)
            assert {tp: n for tp, n in (await committed(ready)).items() if n} == {
                TP(raw, partition): 100 for partition in range(4)
            }
            await asyncio.sleep(0.5)
        assert owner.log[:2] == ["assign [0, 1, 2, 3]", "release [0, 1, 2, 3]"]
        assert sorted(durable.all_values()) == numbers(400)
        assert not joined.folded


async def test_workers_come_and_go_under_load(ready: Settings) -> None:
    durable = Durable()
    raw, rekeyed = ready.topic(ready.raw_topic), ready.topic(EVENTS_REKEYED)
    owners: list[Owner] = []
    stop = asyncio.Event()
    sent = 0

    async def load() -> None:
        nonlocal sent
        async with producer(ready, linger_ms=5) as sender:
            while not stop.is_set():
                for topic in (raw, rekeyed):
                    for number in range(sent, sent + 40):
                        await sender.send(topic, b"%06d" % number, partition=number % 4)
                sent += 40
                await asyncio.sleep(0.01)

    def shared_by(*names: Owner) -> Callable[[], bool]:
        def are_all_taken() -> bool:
            taken = [partition for owner in names for partition in owner.partitions]
            return sorted(taken) == [0, 1, 2, 3] and all(owner.partitions for owner in names)

        return are_all_taken

    loading = asyncio.create_task(load())
    async with worker("a", ready, durable) as a:
        await until(shared_by(a))
        async with worker("b", ready, durable) as b:
            await until(shared_by(a, b))
            assert len(a.partitions) == len(b.partitions) == 2
            async with worker("c", ready, durable) as c:
                await until(shared_by(a, b, c))
                owners = [a, b, c]
                await asyncio.sleep(1.0)
            await until(shared_by(a, b))
        await until(shared_by(a))
        stop.set()
        await loading
        await until(lambda: len(durable.all_values()) >= 2 * sent)
        await asyncio.sleep(0.5)
    for topic in (raw, rekeyed):
        values = [v for tp, found in durable.values.items() if tp.topic == topic for v in found]
        assert sorted(values) == numbers(sent)
    assert all(owner.log[-1].startswith("release") for owner in owners)


async def test_a_crash_loses_what_was_not_flushed_and_reads_it_again(ready: Settings) -> None:
    durable = Durable()
    raw = ready.topic(ready.raw_topic)
    await send(ready, raw, numbers(400))
    async with worker("a", ready, durable) as owner:
        await until(lambda: len(durable.all_values()) == 400)
        owner.flush_s = None
        await send(ready, raw, numbers(400, 400))
        await until(lambda: sum(map(len, owner.folded)) == 400)
        await owner.app.crash(RuntimeError("the flush failed"))
    assert owner.log == ["assign [0, 1, 2, 3]"], "a crashed worker must not flush"
    assert len(durable.all_values()) == 400
    async with worker("b", ready, durable):
        await until(lambda: len(durable.all_values()) == 800)
    assert sorted(durable.all_values()) == numbers(800)


async def test_an_owner_that_cannot_restore_crashes_the_app(ready: Settings) -> None:
    class Broken(Owner):
        async def assign(self, partitions: frozenset[int]) -> None:
            raise RuntimeError("the changelog is torn")

    broken = Broken("a", Durable(), ready)
    error = await crash_of(running(broken, ready))
    assert str(error) == "the changelog is torn"
    assert not broken.folded


@pytest.mark.parametrize(
    ("stored", "kept_from", "lost"),
    [
        pytest.param(50, 51, True, id="retention overtook the reader"),
        pytest.param(50, 50, False, id="retention has just not overtaken"),
        pytest.param(LOG_START, 51, False, id="nothing stored begins where the log does"),
        pytest.param(101, 0, True, id="the log ends before the state"),
        pytest.param(100, 0, False, id="everything is folded"),
    ],
)
async def test_lost_offsets_are_loud(
    ready: Settings, stored: int, kept_from: int, lost: bool
) -> None:
    raw = ready.topic(ready.raw_topic)
    tp = TP(raw, 0)
    await send(ready, raw, numbers(400))
    await delete_before(ready, tp, kept_from)
    durable = Durable(next={tp: stored})
    if lost:
        owner = Owner("a", durable, ready)
        assert await crash_of(running(owner, ready))
        assert isinstance(owner.failure, OffsetsLost)
        return
    async with worker("b", ready, durable):
        await until(lambda: durable.next.get(TP(raw, 3)) == 100 and durable.next[tp] in (100, -1))
    assert len(durable.values[tp]) == 100 - max(stored, kept_from)


async def test_retention_that_overtakes_a_running_reader_is_loud(ready: Settings) -> None:
    raw = ready.topic(ready.raw_topic)
    durable = Durable()
    async with worker("a", ready, durable, broker_max_poll_records=1) as owner:
        owner.can_fold.clear()
        # More than the queue and the prefetched megabytes hold.
        async with producer(ready, max_request_size=2**21) as sender:
            for _ in range(60):
                await sender.send_and_wait(raw, b"x" * 500_000, partition=0)
        await asyncio.sleep(1.0)
        await delete_before(ready, TP(raw, 0), 55)
        owner.can_fold.set()
        await until(lambda: owner.app.crashed)
        assert isinstance(owner.app.crash_reason, OffsetsLost)


async def test_a_restore_is_given_up_for_a_rebalance(ready: Settings) -> None:
    durable = Durable()
    raw = ready.topic(ready.raw_topic)
    await send(ready, raw, numbers(400))

    class Slow(Owner):
        async def assign(self, partitions: frozenset[int]) -> None:
            await super().assign(partitions)
            if len(partitions) == 4:
                await asyncio.sleep(3_600)

    slow = Slow("slow", durable, ready)
    app = slow.app = make_app(ready, slow, **QUICK)

    @app.agent(app.batch_topic())
    async def fold(stream: Any) -> None:
        async for batch in kept_batches(app, stream):
            slow.fold(batch)
            slow.flush()

    app.in_worker = True
    app.finalize()
    starting = asyncio.create_task(app.start())
    try:
        await until(lambda: slow.log == ["assign [0, 1, 2, 3]"])
        async with worker("quick", ready, durable) as quick:
            await until(lambda: len(quick.partitions) == len(slow.partitions) == 2)
            await until(lambda: len(durable.all_values()) == 400)
            assert slow.log[1] == "release [0, 1, 2, 3]"
            assert app.crash_reason is None
            await asyncio.wait_for(starting, PATIENCE_S)
            await app.stop()
    finally:
        starting.cancel()
    assert sorted(durable.all_values()) == numbers(400)


def waiting(owner: Owner) -> int:
    """Records that are handed on and not folded yet."""
    consumer = cast(BatchConsumer, owner.app.consumer)
    return sum(consumer._next.values()) - sum(n for n in owner.next.values() if n > 0)


async def test_a_slow_reader_holds_few_batches(ready: Settings) -> None:
    durable = Durable()
    raw = ready.topic(ready.raw_topic)
    await send(ready, raw, numbers(20_000))
    async with worker("a", ready, durable, broker_max_poll_records=50) as owner:
        owner.can_fold.clear()
        await until(lambda: waiting(owner) > 50 * QUEUED_BATCHES / 2)
        await asyncio.sleep(1.0)
        assert waiting(owner) <= 50 * (QUEUED_BATCHES + 2)
        owner.can_fold.set()
        await until(lambda: len(durable.all_values()) == 20_000)
    assert sorted(durable.all_values()) == numbers(20_000)


class Slow(Owner):
    """Takes its time to let go."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.releasing, self.may_release = asyncio.Event(), asyncio.Event()

    async def release(self, partitions: frozenset[int]) -> None:
        self.releasing.set()
        await self.may_release.wait()
        await super().release(partitions)


async def test_what_waits_for_its_turn_is_void_once_partitions_are_released(
    ready: Settings,
) -> None:
    durable = Durable()
    raw = ready.topic(ready.raw_topic)
    await send(ready, raw, numbers(20_000))
    async with worker("a", ready, durable, Slow, broker_max_poll_records=50) as owner:
        assert isinstance(owner, Slow)
        await until(lambda: bool(owner.partitions))
        owner.can_fold.clear()
        owner.flush_s = None
        # Several, so that one of them is taken, and others are not.
        await until(lambda: waiting(owner) > 50 * QUEUED_BATCHES / 2)
        begun = len(owner.folded)
        async with worker("b", ready, durable):
            try:
                await until(owner.releasing.is_set)
                owner.can_fold.set()
                # The one whose turn it was.
                await until(lambda: len(owner.folded) == begun + 1)
                await asyncio.sleep(0.5)
                assert len(owner.folded) == begun + 1
            finally:
                # Neither worker stops while it waits.
                owner.can_fold.set()
                owner.may_release.set()
            owner.flush_s = 0.05
            await until(lambda: len(durable.all_values()) == 20_000)
    assert sorted(durable.all_values()) == numbers(20_000)


class Cancelled(Owner):
    """Waits for what somebody else cancels, as a client does that is closed under its callers."""

    def __init__(self, when: str, *args: Any) -> None:
        super().__init__(*args)
        self.when = when

    async def assign(self, partitions: frozenset[int]) -> None:
        if self.when == "assign":
            await self._gone()
        await super().assign(partitions)

    async def release(self, partitions: frozenset[int]) -> None:
        if self.when == "release":
            await self._gone()
        await super().release(partitions)

    async def _gone(self) -> None:
        answer = asyncio.get_running_loop().create_future()
        answer.cancel()
        await answer


@pytest.mark.parametrize("when", ["assign", "release"])
async def test_what_is_cancelled_under_an_owner_crashes_the_app(ready: Settings, when: str) -> None:
    """Faust and aiokafka would end the task that runs the rebalance, and nobody would know."""
    owner = Cancelled(when, "a", Durable(), ready)
    app = running(owner, ready)
    if when == "assign":
        assert isinstance(await crash_of(app), CancelledUnderneath)
        return
    app.in_worker = True
    app.finalize()
    try:
        await app.start()
        async with worker("b", ready, owner.durable):
            await until(lambda: app.crashed)
            assert isinstance(app.crash_reason, CancelledUnderneath)
    finally:
        await app.stop()


async def test_a_worker_that_fell_out_of_the_group_crashes(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka waits until somebody asks it for records, which nobody does in a rebalance."""

    def broken(*_: object) -> None:
        raise ValueError("nobody can share")

    owner = Owner("a", Durable(), ready)
    monkeypatch.setattr(LoadAssignor, "assign", broken)
    error = await crash_of(running(owner, ready))
    assert "nobody can share" in str(error)


async def test_a_worker_that_fetches_nothing_any_more_crashes(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """aiokafka would hand out nothing, for ever, and tell nobody.

    Whoever waits for records just then tells of that wait, which is cancelled.
    """

    def broken(*_: object) -> None:
        raise ValueError("nobody is asked")

    owner = Owner("a", Durable(), ready)
    monkeypatch.setattr(Fetcher, "_get_actions_per_node", broken)
    error = await crash_of(running(owner, ready))
    assert isinstance(error, FetchingEnded | CancelledUnderneath)


@pytest.mark.parametrize("order", ["ba", "ab"], ids=["a follower", "the leader"])
async def test_a_static_member_comes_back_without_a_rebalance(ready: Settings, order: str) -> None:
    durable = Durable()
    raw = ready.topic(ready.raw_topic)
    await send(ready, raw, numbers(400))

    def static(name: str) -> AbstractAsyncContextManager[Owner]:
        return worker(name, ready.model_copy(update={"group_instance_id": name}), durable)

    runs = {name: static(name) for name in order}
    owners = {name: await runs[name].__aenter__() for name in order}
    await until(lambda: all(len(owner.partitions) == 2 for owner in owners.values()))
    before, seen = owners["a"].partitions, list(owners["b"].log)
    await runs["a"].__aexit__(None, None, None)
    await send(ready, raw, numbers(400, 400))
    async with static("a") as returned:
        await until(lambda: len(durable.all_values()) == 800)
        assert returned.partitions == before
        assert owners["b"].log == seen
    await runs["b"].__aexit__(None, None, None)
    assert sorted(durable.all_values()) == numbers(800)


async def test_a_partition_that_stands_still_leaves_the_others_their_share(
    ready: Settings,
) -> None:
    durable = Durable()
    raw = ready.topic(ready.raw_topic)
    await send(ready, raw, numbers(20_000))
    owner = Owner("a", durable, ready)
    app = owner.app = make_app(ready, owner, **QUICK, broker_max_poll_records=50)
    app.in_worker = True
    waiting: list[RecordBatch] = []
    standing = asyncio.Event()

    @app.agent(app.batch_topic())
    async def fold(stream: Any) -> None:
        async for batches in stream:
            for batch in batches:
                if batch.tp.partition == 0 and not standing.is_set():
                    waiting.append(batch)
                elif app.batches.take(batch):
                    owner.fold(batch)

    app.finalize()
    try:
        await app.start()
        await until(lambda: sum(n for n in owner.next.values() if n > 0) == 15_000)
        assert 0 < len(waiting) <= QUEUED_BATCHES // 4
        standing.set()
        for batch in waiting:
            assert app.batches.take(batch)
            owner.fold(batch)
        await until(lambda: sum(n for n in owner.next.values() if n > 0) == 20_000)
    finally:
        await app.stop()
    assert sorted(durable.all_values()) == numbers(20_000)


async def test_while_a_large_batch_is_inflated_the_other_partitions_go_on(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    durable, raw, large = Durable(), ready.topic(ready.raw_topic), b"0" * 3_000_000
    begun, may_go_on, inflate = Event(), Event(), FetchedRecords.inflate

    def slow(records: FetchedRecords) -> None:
        begun.set()
        may_go_on.wait(20)
        inflate(records)

    monkeypatch.setattr(FetchedRecords, "inflate", slow)
    async with worker("a", ready, durable), producer(ready, max_request_size=4 << 20) as sender:
        batch = batch_bytes(record_bytes(0, large), 1, "gzip")
        await send_bytes(sender, TopicPartition(raw, 0), batch)
        try:
            await until(begun.is_set)
            await sender.send_and_wait(raw, b"1", partition=1)
            await until(lambda: durable.all_values() == [b"1"])
        finally:
            may_go_on.set()
        await until(lambda: len(durable.all_values()) == 2)
    assert sorted(durable.all_values()) == [large, b"1"]
