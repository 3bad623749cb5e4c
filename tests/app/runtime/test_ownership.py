"""Partitions come, go, come back and fail: ownership alone, without Kafka.

It has over 500 lines: each way in which a partition comes and goes is told once, on one stand-in.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiokafka.errors import LeaderNotAvailableError
from faust.types import TP

from app.bounds.cancellation import ended
from app.errors import StackError
from app.kafka import waiting
from app.kafka.record_batch import RecordBatch
from app.kafka.transactions import Fenced
from app.runtime import ownership as module
from app.runtime.delivery import Delivery
from app.runtime.ownership import Ownership
from app.runtime.status import Tally
from app.runtime.tasks import Work
from tests.world.waiting import PATIENCE_S, until

Act = Callable[[], Coroutine[Any, Any, None]]


async def nothing() -> None:
    """Do what nobody waits for."""


@dataclass
class Part:
    """A partition at hand: it notes what is asked of it."""

    number: int
    copy: int
    """How many copies of the partition were read before."""
    flushing: Act = nothing
    said: list[str] = field(default_factory=list)
    waits_for_definitions: bool = False
    failing: bool = False
    between_flushes: bool = False

    def next_offsets(self) -> Mapping[TP, int]:
        return {TP("raw", self.number): self.copy}

    async def flush(self) -> None:
        await self.flushing()
        self.said.append("flush")

    def is_failing(self) -> bool:
        return self.failing

    def is_between_flushes(self) -> bool:
        return self.between_flushes

    def can_store_members(self) -> bool:
        return True

    def hand_over(self) -> None:
        self.said.append("hand over")

    def take_back(self) -> None:
        self.said.append("take back")

    def mark_abandoned(self) -> None:
        self.said.append("abandoned")

    async def abandon(self) -> None:
        self.said.append("abandon")

    async def leave(self) -> None:
        self.said.append("leave")

    async def give_up(self) -> None:
        self.said.append("give up")

    async def close(self) -> None:
        self.said.append("close")


class App:
    """Delivers what it is told to; a rebalance may have begun."""

    def __init__(self) -> None:
        self.held: list[int] = []
        self.delivering: dict[int, Mapping[TP, int]] = {}
        self.rebalancing = False
        self.leaderless: set[int] = set()
        self.tries = 0
        self.group_heard_s = float("inf")
        self.batches = self

    def acknowledge(self, batch: RecordBatch) -> bool:
        return True

    async def crash(self, error: BaseException) -> None:
        raise AssertionError from error

    def fetched_ends(self, tp: TP) -> tuple[int, int] | None:
        return None

    def hold(self, partition: int) -> None:
        self.held.append(partition)

    async def deliver_from(self, partition: int, offsets: Mapping[TP, int]) -> bool:
        self.tries += 1
        if partition in self.leaderless:
            raise LeaderNotAvailableError
        if not self.rebalancing:
            self.delivering[partition] = offsets
        return not self.rebalancing


class World:
    """An ownership over partitions of nobody, and what it has asked for."""

    def __init__(self) -> None:
        self.app = App()
        self.parts: list[Part] = []
        self.restoring: Act = nothing
        self.agents: list[Work] = []
        """They run beside each partition."""
        self.running: set[int] = set()
        self.crashed: list[BaseException] = []
        self.sources: list[str] = []
        self.divided: list[tuple[int, list[int]]] = []
        """Among how many memory was divided, and which of them were at hand."""
        delivery = Delivery()
        delivery.attach(self.app)
        this: Any = self
        self.ownership: Any = Ownership(delivery, this, this._begin, this._crash, Tally())

    async def restore(self, number: int) -> Part:
        await self.restoring()
        part = Part(number, sum(each.number == number for each in self.parts))
        self.parts.append(part)
        self.tell_restored(number, "changelog", 0, 0.0)
        return part

    def share_memory(self, count: int, at_hand: Iterable[Part]) -> None:
        self.divided.append((count, sorted(part.number for part in at_hand)))

    def tell_restored(self, number: int, source: str, rows: int, seconds: float) -> None:
        self.sources.append(f"{number} {source}")

    def _begin(self, part: Part) -> list[Work]:
        async def runs() -> None:
            self.running.add(id(part))
            try:
                await asyncio.sleep(3_600)
            finally:
                self.running.remove(id(part))

        return [runs, *self.agents]

    async def _crash(self, error: BaseException) -> None:
        self.crashed.append(error)

    def runs(self, part: Part) -> bool:
        """Whether its agents run."""
        return id(part) in self.running

    async def given(self, *numbers: int) -> None:
        """The group gives these; they are brought yet."""
        await self.ownership.assign(frozenset(numbers))

    async def assign(self, *numbers: int) -> None:
        """The group gives these, and all are here, or the worker has ended."""
        await self.given(*numbers)
        await until(lambda: not self.ownership.coming or bool(self.crashed), every_s=0)
        await asyncio.sleep(0)

    async def release(self, *numbers: int) -> None:
        await self.ownership.release(frozenset(numbers))

    def state_of(self, part: Part) -> str:
        """Return what the partition is to its owner; each is one thing at a time."""
        ownership, number = self.ownership, part.number
        states = {
            "owned": ownership.owned.get(number) is part,
            "parked": ownership.parked.get(number) is part,
            "given up": "give up" in part.said,
        }
        (state,) = (name for name, holds in states.items() if holds)
        assert self.runs(part) == (state == "owned")
        return state


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    for name, seconds in (("_PATIENCE_S", 0.01), ("_RELEASED_WITHIN_S", 0.05)):
        monkeypatch.setattr(module, name, seconds)
    monkeypatch.setattr(module, "_MENDED_AFTER_S", 0.0)
    made = World()
    yield made
    await made.ownership.end_agents()
    await made.ownership.close()
    assert not made.running
    assert all({"close", "give up"} & set(part.said) for part in made.parts)


@asynccontextmanager
async def standing(part: Part) -> AsyncIterator[None]:
    """A partition whose flush does not end in the block."""
    goes_on = asyncio.Event()

    async def stand() -> None:
        await goes_on.wait()

    part.flushing = stand
    try:
        yield
    finally:
        part.flushing = nothing
        goes_on.set()


async def test_assigned_partitions_are_restored_and_their_agents_run(world: World) -> None:
    before = world.ownership.assigned
    await world.given(0, 1)
    assert world.ownership.coming == {0, 1}
    whole = [world.ownership.was_whole]
    await until(lambda: not world.ownership.coming, every_s=0)
    await asyncio.sleep(0)
    assert world.app.delivering == {0: {TP("raw", 0): 0}, 1: {TP("raw", 1): 0}}
    assert [*whole, world.ownership.was_whole] == [False, True]
    assert [world.state_of(part) for part in world.parts] == ["owned", "owned"]
    assert (before, world.ownership.assigned) == (None, frozenset({0, 1}))
    assert world.ownership.restoring == frozenset()


async def test_who_is_being_restored_is_told(world: World) -> None:
    goes_on = asyncio.Event()

    async def wait() -> None:
        await goes_on.wait()

    world.restoring = wait
    assigning = asyncio.create_task(world.assign(0, 1))
    await until(lambda: world.ownership.restoring == {0, 1}, every_s=0)
    goes_on.set()
    await assigning
    assert world.ownership.restoring == frozenset()


async def test_a_released_partition_that_comes_back_goes_on_as_it_was(world: World) -> None:
    await world.assign(0)
    (part,) = world.parts
    await world.release(0)
    assert world.state_of(part) == "parked"
    assert part.said == ["hand over", "flush", "leave"]
    world.app.delivering.clear()
    await world.assign(0)
    assert world.app.delivering == {0: {TP("raw", 0): 0}}
    assert world.parts == [part]
    assert world.state_of(part) == "owned"
    assert part.said[3:] == ["take back", "flush"]
    assert world.sources == ["0 changelog", "0 parked"]


async def test_a_released_partition_that_goes_elsewhere_is_given_up_first(world: World) -> None:
    await world.assign(0, 1)
    away = next(part for part in world.parts if part.number == 0)
    await world.release(0, 1)

    async def look() -> None:
        assert world.state_of(away) == "given up"

    world.restoring = look
    await world.assign(1, 2)
    assert world.state_of(away) == "given up"
    assert sorted(world.ownership.owned) == [1, 2]


async def test_what_is_not_assigned_again_is_released_first(world: World) -> None:
    await world.assign(0, 1)
    away = next(part for part in world.parts if part.number == 0)
    await world.assign(1)
    assert world.state_of(away) == "given up"
    assert away.said == ["hand over", "flush", "leave", "give up"]


@pytest.mark.parametrize("error", [Fenced("a newer owner"), RuntimeError("as from any defect")])
async def test_a_parked_partition_that_cannot_go_on_is_restored(
    world: World, error: Exception
) -> None:
    await world.assign(0)
    await world.release(0)
    (part,) = world.parts

    async def fail() -> None:
        raise error

    part.flushing = fail
    await world.assign(0)
    assert world.state_of(part) == "given up"
    assert world.state_of(world.parts[1]) == "owned"


async def test_a_parked_partition_that_no_restore_mends_ends_the_worker(world: World) -> None:
    await world.assign(0)
    await world.release(0)
    (part,) = world.parts

    async def fail() -> None:
        raise StackError("only by hand")

    part.flushing = fail
    await world.assign(0)
    assert [type(error) for error in world.crashed] == [StackError]
    assert world.state_of(part) == "given up"
    assert world.parts == [part]


async def test_a_last_flush_that_fails_gives_the_partition_up(world: World) -> None:
    await world.assign(0)
    (part,) = world.parts

    async def fail() -> None:
        raise RuntimeError("as from any defect")

    part.flushing = fail
    await world.release(0)
    assert world.state_of(part) == "given up"


async def test_a_flush_that_the_brokers_do_not_take_stays_with_the_parked(world: World) -> None:
    await world.assign(0)
    (part,) = world.parts
    async with standing(part):
        part.failing = True
        await world.release(0)
        assert world.state_of(part) == "parked"
    assert "flush" not in part.said


@pytest.mark.parametrize(
    ("between_flushes", "waits_for_definitions", "state"),
    [(True, False, "parked"), (False, False, "given up"), (True, True, "given up")],
)
async def test_a_last_flush_that_takes_long_holds_nobody_up(
    world: World, between_flushes: bool, waits_for_definitions: bool, state: str
) -> None:
    await world.assign(0, 1)
    slow = next(part for part in world.parts if part.number == 0)
    slow.between_flushes = between_flushes
    async with standing(slow):
        releasing = asyncio.create_task(world.release(0, 1))
        slow.waits_for_definitions = waits_for_definitions
        await asyncio.wait_for(releasing, PATIENCE_S)
    assert world.state_of(slow) == state
    assert sorted(world.ownership.parked) == ([0, 1] if state == "parked" else [1])


async def test_a_partition_that_fails_is_mended_and_the_others_go_on(world: World) -> None:
    await world.assign(0, 1)
    failed, other = sorted(world.parts, key=lambda part: part.number)
    world.ownership.fail(failed, RuntimeError("as from any defect"))
    assert 0 not in world.ownership.owned
    assert (world.app.held, failed.said) == ([0], ["abandoned"])
    await until(lambda: 0 in world.ownership.owned, every_s=0)
    await asyncio.sleep(0)
    assert world.state_of(failed) == "given up"
    assert [world.state_of(part) for part in (other, world.parts[2])] == ["owned", "owned"]
    assert world.app.delivering[0] == {TP("raw", 0): 1}
    # Told once more, as by a second agent, it changes nothing.
    world.ownership.fail(failed, RuntimeError("as from any defect"))
    assert world.state_of(world.parts[2]) == "owned"


async def test_an_agent_that_fails_ends_its_partition_here(world: World) -> None:
    fails = asyncio.Event()

    async def fail() -> None:
        await fails.wait()
        fails.clear()
        raise RuntimeError("as from any defect")

    world.agents.append(fail)
    await world.assign(0)
    fails.set()
    await until(lambda: len(world.parts) == 2 and 0 in world.ownership.owned, every_s=0)
    await asyncio.sleep(0)
    assert [world.state_of(part) for part in world.parts] == ["given up", "owned"]
    assert not world.crashed


async def test_what_no_restore_mends_ends_the_worker(world: World) -> None:
    await world.assign(0)
    (part,) = world.parts
    error = StackError("only by hand")
    world.ownership.fail(part, error)
    await until(lambda: world.crashed == [error], every_s=0)
    assert not world.ownership.owned
    assert world.app.held == []
    await part.give_up()


async def test_a_failure_while_a_partition_is_mended_ends_the_worker(world: World) -> None:
    await world.assign(0)
    error = RuntimeError("no restore ends")

    async def fail() -> None:
        raise error

    world.restoring = fail
    world.ownership.fail(world.parts[0], RuntimeError("as from any defect"))
    await until(lambda: world.crashed == [error], every_s=0)


async def test_a_failure_while_partitions_are_restored_ends_the_worker(world: World) -> None:
    async def fail() -> None:
        raise StackError("only by hand")

    world.restoring = fail
    await world.assign(0, 1)
    await until(lambda: len(world.crashed) == 2, every_s=0)
    assert {type(error) for error in world.crashed} == {StackError}
    assert not world.ownership.owned


async def test_a_rebalance_in_the_middle_of_a_restore(world: World) -> None:
    """What is restored by then is released, and nothing else is."""
    begun = asyncio.Event()

    async def stand() -> None:
        if world.parts:
            begun.set()
            await asyncio.sleep(3_600)

    world.restoring = stand
    await world.given(0, 1)
    await begun.wait()
    (taken,) = world.parts
    assert world.state_of(taken) == "owned"
    assert world.ownership.restoring == {1}
    await world.release(0, 1)
    assert world.ownership.coming == frozenset()
    assert world.state_of(taken) == "parked"
    world.restoring = nothing
    await world.assign(0, 1)
    assert world.state_of(taken) == "owned"
    assert sorted(world.ownership.owned) == [0, 1]


async def test_a_rebalance_in_the_middle_of_coming_back(world: World) -> None:
    await world.assign(0)
    await world.release(0)
    (part,) = world.parts
    async with standing(part):
        await world.given(0)
        await until(lambda: part.said[-1] == "take back", every_s=0)
        await world.release(0)
        assert world.state_of(part) == "parked"
    await world.assign(1)
    assert world.state_of(part) == "given up"


async def test_a_rebalance_ends_the_mending(world: World) -> None:
    await world.assign(0)
    goes_on = asyncio.Event()

    async def wait() -> None:
        await goes_on.wait()

    world.restoring = wait
    world.ownership.fail(world.parts[0], RuntimeError("as from any defect"))
    await until(lambda: "give up" in world.parts[0].said, every_s=0)
    await world.release(0)
    goes_on.set()
    await asyncio.sleep(0.01)
    assert (world.ownership.owned, world.ownership.parked) == ({}, {})
    assert len(world.parts) == 1
    await world.assign(0)
    assert len(world.parts) == 2
    assert world.state_of(world.parts[1]) == "owned"


@pytest.mark.parametrize("begun", [False, True])
async def test_who_failed_is_given_up_though_a_rebalance_ends_the_mending(
    world: World, *, begun: bool
) -> None:
    """Also before it has begun, or while its agents end: others may wait for a flush of it."""
    goes_on = asyncio.Event()

    async def ends_late() -> None:
        try:
            await asyncio.sleep(3_600)
        finally:
            await goes_on.wait()

    world.agents.append(ends_late)
    await world.assign(0)
    await asyncio.sleep(0)
    (part,) = world.parts
    world.ownership.fail(part, RuntimeError("as from any defect"))
    if begun:
        await asyncio.sleep(0)
    releasing = asyncio.create_task(world.release(0))
    await asyncio.sleep(0)
    goes_on.set()
    await releasing
    await until(lambda: "give up" in part.said, every_s=0)
    assert world.ownership.owned == {}


async def test_who_is_mended_when_a_rebalance_has_begun_is_parked(world: World) -> None:
    await world.assign(0)
    world.app.rebalancing = True
    world.ownership.fail(world.parts[0], RuntimeError("as from any defect"))
    await until(lambda: 0 in world.ownership.parked, every_s=0)
    assert world.state_of(world.parts[1]) == "parked"
    await world.release(0)
    world.app.rebalancing = False
    await world.assign(0)
    assert world.state_of(world.parts[1]) == "owned"
    assert world.sources[-1] == "0 parked"


async def test_memory_is_divided_among_the_partitions_that_are_here(world: World) -> None:
    await world.assign(1, 2)
    await world.release(1, 2)
    await world.assign(2, 3, 4)
    assert world.divided == [(2, []), (3, [2])]


async def test_what_is_at_hand_waits_for_nothing_that_is_restored(world: World) -> None:
    """However much that is."""
    await world.assign(9)
    await world.release(9)
    may_restore = asyncio.Event()
    world.restoring = may_restore.wait  # type: ignore[assignment]
    await world.given(*range(10))
    await until(lambda: list(world.ownership.owned) == [9], every_s=0)
    assert world.ownership.coming == frozenset(range(9))
    may_restore.set()
    await until(lambda: not world.ownership.coming, every_s=0)
    assert world.app.delivering.keys() == set(range(10))


async def test_a_partition_that_cannot_be_flushed_keeps_no_other_waiting(world: World) -> None:
    """Its changelogs have no leader: the flush ends when they have one."""
    await world.assign(0, 1)
    sick, sound = sorted(world.parts, key=lambda part: part.number)
    async with standing(sick):
        sick.failing = True
        await world.release(0, 1)
        assigning = asyncio.create_task(world.given(0, 1))
        await until(lambda: 1 in world.ownership.owned)
        await assigning
        assert world.ownership.coming == {0}
        assert world.app.delivering.keys() == {0, 1}
        sick.failing = False
    await until(lambda: not world.ownership.coming, every_s=0)
    await asyncio.sleep(0)
    assert [world.state_of(part) for part in (sick, sound)] == ["owned", "owned"]


@pytest.mark.parametrize("parked", [False, True])
async def test_a_partition_whose_log_has_no_leader_waits_alone(
    world: World, monkeypatch: pytest.MonkeyPatch, *, parked: bool
) -> None:
    """It goes on by itself once there is one, and the worker never ends of it."""
    monkeypatch.setattr(module, "_DELIVERED_AFTER_S", 0.001)
    if parked:
        await world.assign(0, 1)
        await world.release(0, 1)
        world.app.delivering.clear()
    world.app.leaderless, tries = {0}, world.app.tries
    await world.given(0, 1)
    await until(lambda: 1 in world.ownership.owned and world.app.tries > tries + 3)
    assert world.ownership.coming == {0}
    assert world.app.delivering.keys() == {1}
    assert not world.crashed
    world.app.leaderless.clear()
    await until(lambda: not world.ownership.coming)
    assert list(world.ownership.owned) == [1, 0]
    assert len(world.parts) == 2


async def test_hundreds_that_wait_for_a_leader_are_one_line(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # A worker that another test ran in this process may have turned lines of rebalances on.
    caplog.set_level(logging.WARNING, "app.runtime.ownership")
    monkeypatch.setattr(waiting, "TOLD_AFTER_S", 0.01)
    world.app.leaderless = set(range(256))
    await world.given(*range(256))
    await until(lambda: world.app.tries >= 256)
    await until(lambda: bool(caplog.messages))
    (line,) = caplog.messages
    assert line.startswith("256 partitions wait for brokers: 0, 1, 2, 3, ")
    await world.release(*range(256))


async def test_the_collector_walks_nothing_while_partitions_are_restored(world: World) -> None:
    may_restore = asyncio.Event()
    world.restoring = may_restore.wait  # type: ignore[assignment]
    await world.given(0, 1)
    during = gc.isenabled()
    await world.release(0, 1)
    assert (during, gc.isenabled()) == (False, True)
    await world.given(0, 1)
    may_restore.set()
    await until(lambda: not world.ownership.coming, every_s=0)
    assert gc.isenabled()


async def test_the_collector_rests_no_longer_than_a_while(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restore may wait for brokers for hours, while others fold."""
    monkeypatch.setattr("app.runtime.ownership._UNCOLLECTED_S", 0.05)
    world.restoring = asyncio.Event().wait  # type: ignore[assignment]
    await world.given(0)
    assert not gc.isenabled()
    await until(gc.isenabled)
    await world.release(0)


async def test_who_was_cancelled_in_ending_a_restore_leaves_it_to_the_next(world: World) -> None:
    """It would be restored twice at once otherwise, and the one would fence the other."""
    running = 0
    ends = asyncio.Event()

    async def restore() -> None:
        nonlocal running
        running += 1
        assert running == 1
        try:
            await asyncio.sleep(3_600)
        finally:
            try:
                await ended(asyncio.create_task(ends.wait()))
            finally:
                running -= 1

    world.restoring = restore
    await world.given(0)
    await asyncio.sleep(0)
    assigning = asyncio.create_task(world.given(0))
    await asyncio.sleep(0.01)
    assigning.cancel()
    await asyncio.wait([assigning])
    releasing = asyncio.create_task(world.release(0))
    await asyncio.sleep(0.01)
    waits = not releasing.done()
    ends.set()
    await releasing
    assert waits
    assert running == 0
