"""Brokers that do not take what they are given for a while: kept, sent again, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiokafka.errors import KafkaError

from app.bounds.limits import COMMIT_TIMEOUT_S, KAFKA_LOST_S
from app.kafka.topics import CELLS_CHANGELOG
from app.runtime.partition.duplicates import Duplicates
from app.runtime.topics.changelogs import CHECKPOINT_KEY
from app.wire.keys import home_partition, message_key
from tables.changelogged.checkpoint import Checkpoint
from tests.simulation.by_hand import begin
from tests.simulation.kafka import PartitionProducer, Producer
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.script import Event, Script
from tests.simulation.test_mending import defined
from tests.simulation.worker import Worker
from tests.world.definitions import ORG, SUBSCRIPTION

BOTH = frozenset({0, 1})
HOME = home_partition(message_key(ORG, SUBSCRIPTION), 2, "crc32")


class Away:
    """Commits fail for as long as it is set, written or not, after so long."""

    def __init__(self, patch: pytest.MonkeyPatch, *, written: bool, after_s: float = 0.0):
        self.is_set = False
        self.refused = 0
        commit = PartitionProducer.commit

        async def away(producer: PartitionProducer, *flush: Any) -> None:
            if not self.is_set:
                await commit(producer, *flush)
                return
            self.refused += 1
            producer._failed = KafkaError("no answer")
            await asyncio.sleep(after_s)
            if written:
                producer._failed = None
                await commit(producer, *flush)
                producer._failed = KafkaError("no answer")
            raise producer._failed

        patch.setattr(PartitionProducer, "commit", away)


def flushes(player: Player, partition: int) -> list[tuple[int, int]]:
    """(epoch, flush) of every checkpoint that was committed."""
    entries = player.broker.log(CELLS_CHANGELOG, partition).entries
    values = [each.value or b"" for each in entries if each.key == CHECKPOINT_KEY]
    records = [msgspec.msgpack.decode(value, type=Checkpoint) for value in values]
    return [(record.epoch, record.flush) for record in records]


def committed_once(player: Player, partition: int) -> bool:
    """Whether each flush follows the one before."""
    numbers = [number for _, number in flushes(player, partition)]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def sound(worker: Worker, restores: int) -> None:
    """The process lives, and restored so many partitions in all."""
    assert (worker.alive, worker.engine.failure) == (True, None)
    assert worker.engine.brokers.restores == restores


def played(
    tmp_path: Path, act: Callable[[Player], Awaitable[None]], partitions: int = 2, workers: int = 2
) -> None:
    async def begun(player: Player) -> None:
        await begin(player, workers=workers)
        await act(player)

    run(in_simulation(Script(partitions, workers, defined()), 0, tmp_path, begun))


@pytest.mark.parametrize("written", [False, True], ids=["not written", "written"])
def test_a_flush_without_an_answer_is_committed_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, written: bool
) -> None:
    away = Away(monkeypatch, written=written)

    async def act(player: Player) -> None:
        (worker,) = player.workers
        await worker.assign(frozenset({0}))
        for name in "abc":
            away.is_set = name == "b"
            player._append(Event("count", name))
            await asyncio.sleep(100)
        assert away.refused > (0 if written else 5)
        assert worker.engine.owned[0].folded_events == 3
        assert committed_once(player, 0)
        sound(worker, 1)

    played(tmp_path, act, partitions=1, workers=1)


@pytest.mark.parametrize("after_s", [0.0, COMMIT_TIMEOUT_S], ids=["refused", "silent"])
def test_a_partition_is_parked_with_its_flush_and_goes_on_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, after_s: float
) -> None:
    away = Away(monkeypatch, written=False, after_s=after_s)

    async def act(player: Player) -> None:
        first, second = player.workers
        await first.assign(BOTH)
        away.is_set = True
        player._append(Event("count", "a"))
        await asyncio.sleep(20)
        await first.release()
        assert first.engine.ownership.parked[HOME].commits.unsent is not None
        away.is_set = False
        await first.assign(BOTH)
        await second.assign(frozenset())
        assert first.engine.owned[HOME].commits.unsent is None
        assert first.engine.owned[HOME].folded_events == 1
        assert committed_once(player, HOME)
        sound(first, 2)

    played(tmp_path, act)


def test_a_partition_between_two_flushes_is_parked_with_what_is_to_be_packed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As when the brokers come back just as the time of a release is over."""
    forever = asyncio.Event()

    async def wait(_: Duplicates) -> None:
        await forever.wait()

    async def act(player: Player) -> None:
        first, second = player.workers
        await first.assign(BOTH)
        with monkeypatch.context() as patch:
            patch.setattr(Duplicates, "judge", wait)
            player._append(Event("count", "a"))
            await asyncio.sleep(20)
            await first.release()
        assert first.engine.ownership.parked[HOME].commits.unsent is None
        await first.assign(BOTH)
        await second.assign(frozenset())
        assert first.engine.owned[HOME].folded_events == 1
        assert committed_once(player, HOME)
        sound(first, 2)

    played(tmp_path, act)


def test_a_flush_without_an_answer_says_that_writes_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    away = Away(monkeypatch, written=True, after_s=COMMIT_TIMEOUT_S - 1)

    async def act(player: Player) -> None:
        (worker,) = player.workers

        async def refused_after(seconds: float) -> bool:
            await asyncio.sleep(seconds)
            return worker.engine.brokers.refused_writes is not None

        await worker.assign(frozenset({0}))
        away.is_set = True
        player._append(Event("count", "a"))
        assert not await refused_after(3)
        assert await refused_after(KAFKA_LOST_S)
        away.is_set = False
        assert not await refused_after(100)
        sound(worker, 1)

    played(tmp_path, act, partitions=1, workers=1)


def test_a_parked_flush_is_void_when_somebody_else_has_the_partition(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Though the worker that parked it does not hear of that: it was away meanwhile."""
    away = Away(monkeypatch, written=False)

    async def act(player: Player) -> None:
        first, second = player.workers
        await first.assign(BOTH)
        away.is_set = True
        player._append(Event("count", "a"))
        await asyncio.sleep(20)
        await first.release()
        away.is_set = False
        await second.assign(BOTH)
        await asyncio.sleep(5)
        await second.release()
        await first.assign(BOTH)
        await asyncio.sleep(5)
        assert first.engine.owned[HOME].folded_events == 0
        assert first.engine.owned[HOME].state.checkpoint.raw_next == 1
        assert committed_once(player, HOME)
        sound(first, 4)

    played(tmp_path, act)


def test_nobody_is_fenced_by_who_has_not_heard_from_the_group(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its partitions are somebody else's by now."""
    away = Away(monkeypatch, written=False)

    async def act(player: Player) -> None:
        first, second = player.workers
        await first.assign(BOTH)
        away.is_set = True
        player._append(Event("count", "a"))
        first.left_behind()
        await asyncio.sleep(20)
        away.is_set = False
        await second.assign(BOTH)
        producers = dict(player.broker.producers)
        await asyncio.sleep(60)
        assert player.broker.producers == producers
        assert second.engine.owned[HOME].folded_events == 1
        sound(first, 2)
        sound(second, 2)

    played(tmp_path, act)


def test_folding_stands_when_the_next_flush_is_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    away = Away(monkeypatch, written=False)
    monkeypatch.setattr("app.runtime.partition.flush.FLUSH_CHANGES", 4)

    async def act(player: Player) -> None:
        (worker,) = player.workers
        await worker.assign(frozenset({0}))
        away.is_set = True
        for number in range(30):
            player._append(Event("count", str(number), external_id=f"sub-{number}"))
            await asyncio.sleep(2)
        owned = worker.engine.owned[0]
        assert owned.commits.unsent is not None
        assert owned.state.checkpoint.raw_next < 20
        away.is_set = False
        await asyncio.sleep(60)
        assert owned.state.checkpoint.raw_next == 30
        assert committed_once(player, 0)
        sound(worker, 1)

    played(tmp_path, act, partitions=1, workers=1)


def test_what_was_forwarded_in_vain_is_sent_again_in_order(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Homes pass over what lies before the last they took: nothing may overtake it."""
    send, failing, sent = Producer.send_batch, set[int](), 0

    async def fails(producer: Producer, batch: Any, topic: str, **more: Any) -> Any:
        nonlocal sent
        if not topic.endswith("events-rekeyed"):
            return await send(producer, batch, topic, **more)
        if id(producer) in failing:
            raise KafkaError("this producer has failed")
        sent += 1
        if sent == 3:
            # As the one to the broker: nothing goes after what was not delivered.
            failing.add(id(producer))
            vain = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_later(1, vain.set_exception, KafkaError("in vain"))
            return vain
        return await send(producer, batch, topic, **more)

    monkeypatch.setattr(Producer, "send_batch", fails)

    async def act(player: Player) -> None:
        worker, other = player.workers
        await worker.assign(BOTH)
        await other.assign(frozenset())
        for number in range(8):
            player._append(Event("count", str(number), place=1 - HOME))
            await asyncio.sleep(0.4)
        await asyncio.sleep(60)
        assert failing
        assert worker.engine.owned[HOME].folded_events == 8
        sound(worker, 2)

    played(tmp_path, act)
