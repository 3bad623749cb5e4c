"""A worker that cannot start says so; one that gave a partition away goes on with the others."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.definitions.periods import NEVER_MS
from app.kafka.topics import MEMBERS_CHANGELOG, METER_PROGRESS
from app.meter.errors import Unavailable
from app.queries.gateway import Gateway
from app.queries.routing import CHANGED_HANDS
from app.runtime.partition.forwarder import Forwarder
from app.runtime.partition.owned import OwnedPartition
from app.runtime.progress import Progress, Seal
from app.runtime.restoring.restorer import Restorer
from app.wire.keys import home_partition, message_key
from tests.simulation.by_hand import begin
from tests.simulation.kafka import PartitionProducer
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation, play
from tests.simulation.script import Event, Script, script_of
from tests.simulation.test_mending import defined
from tests.simulation.worker import Worker
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.topics import no_topics

BOTH = frozenset({0, 1})


def test_a_log_that_cannot_be_read_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process without partitions that nobody starts again would be worse."""

    async def goes_on(worker: Worker) -> None:
        """A real process does not end because something of it has failed."""

    async def act(player: Player) -> None:
        player.broker.append(METER_PROGRESS, 0, b"0", b"{}")
        with pytest.raises(KeyError, match="partition"):
            await player._start(0)

    def fail(*_: object) -> None:
        raise KeyError("partition")

    monkeypatch.setattr(Seal, "open", fail)
    monkeypatch.setattr(Worker, "_fail", goes_on)
    run(in_simulation(Script(1, 1, defined()), 0, tmp_path, act))


@pytest.mark.parametrize("seed", [710_023, 710_026])
def test_forged_progress_moves_no_cut(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """Believed, it lets cuts of these seeds through before forwarded events have come.

    bounded-work H26.
    """
    start = Player._start

    async def forge(player: Player, worker: int) -> None:
        await start(player, worker)
        for number in range(player.settings.raw_partitions):
            forged = Progress(number, NEVER_MS, NEVER_MS, 10**9, "http://evil", 10**9)
            value = msgspec.json.encode({**forged._asdict(), "seal": "0" * 64})
            player.broker.append(METER_PROGRESS, 0, str(number).encode(), value)

    monkeypatch.setattr(Player, "_start", forge)
    assert play(script_of(seed), seed).check() == []


@pytest.mark.parametrize("figures_only", [True, False])
def test_what_was_given_up_is_not_verified(tmp_path: Path, *, figures_only: bool) -> None:
    """Its last fold may have ended half-way: the rest of that would be called lost."""

    async def act(player: Player) -> None:
        await begin(player)
        (worker,) = player.workers
        await worker.assign(frozenset({0}))
        await asyncio.sleep(3)
        player._append(Event("sum", "a", 0, properties={"v": "3"}))
        await asyncio.sleep(5)
        owned, evidence = worker.engine.owned[0], Gateway(worker.engine, no_topics).evidence

        async def verified() -> list[int]:
            reports = evidence.verify(ORG, SUBSCRIPTION, False, figures_only)
            return [report.pairs_verified async for report in reports]

        assert (await worker.run(verified))[-1] == 1
        await worker.run(owned.abandon)
        with pytest.raises(Unavailable, match=CHANGED_HANDS):
            await worker.run(verified)

    run(in_simulation(Script(1, 1, defined()), 0, tmp_path, act))


@dataclass
class Moving:
    """Two workers; a batch of a partition of the first waits for a forward of it."""

    player: Player
    home: int
    restoring: asyncio.Task[None] | None = None

    @property
    def first(self) -> Worker:
        return self.player.workers[0]

    @property
    def second(self) -> Worker:
        return self.player.workers[1]

    async def release(self) -> None:
        for worker in self.player.workers:
            await worker.release()

    async def owned_by(self, one: frozenset[int], other: frozenset[int]) -> None:
        await self.release()
        await self.first.assign(one)
        await self.second.assign(other)


async def it_goes_away(moving: Moving, monkeypatch: pytest.MonkeyPatch) -> None:
    await moving.owned_by(BOTH - {moving.home}, frozenset({moving.home}))


async def it_goes_away_while_others_are_restored(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first worker is busy with another partition for long."""
    restore, first = Restorer.restore, moving.first.engine

    async def slow(restorer: Restorer, number: int) -> OwnedPartition:
        if restorer is first.restorer:
            await asyncio.sleep(30)
        return await restore(restorer, number)

    monkeypatch.setattr(Restorer, "restore", slow)
    await moving.release()
    await first.ownership.forget([1 - moving.home])
    moving.restoring = asyncio.create_task(moving.first.assign(BOTH - {moving.home}))
    await moving.second.assign(frozenset({moving.home}))
    await asyncio.sleep(3)


async def it_goes_away_before_it_is_reclaimed(
    moving: Moving, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebalance gives it back to the first worker, and the next one takes it away meanwhile."""
    commit, committing = PartitionProducer.commit, asyncio.Event()

    async def slow(*arguments: Any) -> None:
        committing.set()
        await asyncio.sleep(1)
        await commit(*arguments)

    await moving.release()
    first = moving.first
    with monkeypatch.context() as patch:
        patch.setattr(PartitionProducer, "commit", slow)
        await first.given(BOTH)
        await committing.wait()
        await first.release()
    assert moving.home not in first.engine.owned
    await moving.owned_by(BOTH - {moving.home}, frozenset({moving.home}))


@pytest.mark.parametrize(
    "moves",
    [it_goes_away, it_goes_away_while_others_are_restored, it_goes_away_before_it_is_reclaimed],
    ids=lambda moves: moves.__name__,
)
def test_a_batch_on_its_way_to_a_partition_that_went_elsewhere_ends_there(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    moves: Callable[[Moving, pytest.MonkeyPatch], Awaitable[None]],
) -> None:
    """It would find the members of the next owner, take them for lost, and die of that."""
    on_its_way, goes_on = asyncio.Event(), asyncio.Event()
    forward = Forwarder.send

    async def slow(forwarder: Forwarder, *record: Any) -> Any:
        """The leader of the partition to which it goes takes its time."""
        on_its_way.set()
        await goes_on.wait()
        return await forward(forwarder, *record)

    async def act(player: Player) -> None:
        await begin(player, workers=2)
        home = home_partition(message_key(ORG, SUBSCRIPTION), 2, "crc32")
        moving = Moving(player, home)

        def seat(name: str, **more: Any) -> None:
            properties = {"u": name, "operation_type": "add"}
            player._append(Event("seats", name, 0, properties=properties, **more))

        await moving.owned_by(BOTH, frozenset())
        seat("a")
        await asyncio.sleep(5)
        # From here on the set is in Redis, and not at hand.
        await moving.owned_by(frozenset(), BOTH)
        await moving.owned_by(BOTH, frozenset())
        monkeypatch.setattr(Forwarder, "send", slow)
        elsewhere = (f"sub-{n}" for n in range(99))
        away = next(e for e in elsewhere if home_partition(message_key(ORG, e), 2, "crc32") != home)
        seat("away", external_id=away, place=home)
        seat("b")
        await on_its_way.wait()
        await moves(moving, monkeypatch)
        goes_on.set()
        await asyncio.sleep(5)
        assert (moving.first.alive, moving.first.engine.failure) == (True, None)
        assert moving.second.engine.owned[home].folded_events == 1

    run(in_simulation(Script(2, 2, defined()), 0, tmp_path, act))


def test_kafka_that_goes_back_by_some_owners_and_redis_that_does_not_are_gone_on_with(
    tmp_path: Path,
) -> None:
    """As from snapshots of disks: what Redis has is of an owner that nobody knows of any more."""

    async def act(player: Player) -> None:
        await begin(player)
        await player.workers[0].assign(frozenset({0}))

        async def seat(name: str) -> None:
            properties = {"u": name, "operation_type": "add"}
            player._append(Event("seats", name, 0, properties=properties))
            await asyncio.sleep(5)

        await seat("a")
        logs = copy.deepcopy(player.broker.logs)
        for name in "bcd":
            player.workers[0].process.kill()
            await player._heal()
            await seat(name)
        player.workers[0].process.kill()
        player.broker.logs = logs
        await player._heal()
        await seat("e")
        (worker,) = player.workers
        assert (worker.alive, worker.engine.failure) == (True, None)
        assert player.redis.of(0).members == 2

    run(in_simulation(Script(1, 1, defined()), 0, tmp_path, act))


def test_a_partition_that_comes_back_with_less_than_it_wrote_is_restored(tmp_path: Path) -> None:
    """Redis has lost its members, and the changelog some of them: what is at hand cannot go on."""

    async def act(player: Player) -> None:
        await begin(player)
        (worker,) = player.workers
        await worker.assign(frozenset({0}))
        player._append(Event("seats", "a", 0, properties={"u": "a", "operation_type": "add"}))
        await asyncio.sleep(5)
        at_hand = worker.engine.owned[0]
        await worker.release()
        player.redis.lose()
        player.broker.log(MEMBERS_CHANGELOG, 0).entries.clear()
        await worker.assign(frozenset({0}))
        player._append(Event("seats", "b", 0, properties={"u": "b", "operation_type": "add"}))
        await asyncio.sleep(5)
        assert (worker.alive, worker.engine.failure) == (True, None)
        assert worker.engine.owned[0] is not at_hand
        assert player.redis.of(0).members == 2

    run(in_simulation(Script(1, 1, defined()), 0, tmp_path, act))
