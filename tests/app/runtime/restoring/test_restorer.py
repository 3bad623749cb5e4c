"""How many partitions are restored at once: of small ones nearly all the time is waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaTimeoutError

from app.definitions.state import Definitions
from app.runtime.partition.owned import OwnedPartition
from app.runtime.restoring import restorer
from app.runtime.restoring.restorer import RESTORED_AT_ONCE, Restorer
from tables.changelogged.members import MEMBERS_AT_HAND, Members
from tests.app.runtime.alone import context_of
from tests.world.waiting import until


class Restoring:
    """A restorer of which a test says how a partition is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, read: Callable[[int], Awaitable[None]]):
        self.forwarding = set[int]()
        self.paused = set[int]()
        self.given_up = set[int]()
        self.may_stop_forwarding = asyncio.Event()
        self.may_stop_forwarding.set()

        class Producer(SimpleNamespace):
            def __init__(self, _: object, number: int):
                super().__init__(number=number)

            async def start(self) -> None:
                await read(self.number)

            async def stop(self) -> None:
                restoring.paused.add(self.number)

        async def restored(_: object, number: int, __: object) -> Any:
            async def give_up() -> None:
                self.given_up.add(number)

            return SimpleNamespace(
                give_up=give_up,
                folds_anew=True,
                note_forwarded=lambda *_: None,
                state=SimpleNamespace(checkpoint=None),
            )

        async def go(coming: Any) -> None:
            self.forwarding.add(coming.number)
            try:
                await asyncio.sleep(3_600)
            finally:
                await self.may_stop_forwarding.wait()

        async def forever(_: int) -> None:
            await asyncio.sleep(3_600)

        restoring = self
        monkeypatch.setattr(Restorer, "_restored", restored)
        monkeypatch.setattr(Restorer, "tell_restored", lambda *_: None)
        monkeypatch.setattr(restorer, "PartitionProducer", Producer)
        monkeypatch.setattr(
            restorer,
            "RestoringPartition",
            lambda number, _: SimpleNamespace(number=number, forwarded=(-1, -1)),
        )
        brokers = SimpleNamespace(pause=forever, note_restored=lambda: None)
        shared = cast(Any, SimpleNamespace(settings=None, brokers=brokers))
        self.restorer = Restorer(shared, cast(Any, SimpleNamespace(go=go)))

    def begin(self, numbers: Iterable[int]) -> list[asyncio.Task[OwnedPartition]]:
        """Restore each for itself."""
        return [asyncio.create_task(self.restorer.restore(number)) for number in numbers]


async def test_no_more_large_partitions_are_in_memory_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that wait for their turn are forwarded, too."""
    begun, may_restore = list[int](), asyncio.Event()

    async def read(number: int) -> None:
        begun.append(number)
        await may_restore.wait()

    restoring, numbers = Restoring(monkeypatch, read), range(RESTORED_AT_ONCE + 3)
    tasks = restoring.begin(numbers)
    await until(
        lambda: restoring.forwarding == set(numbers) and len(begun) == RESTORED_AT_ONCE, every_s=0
    )
    may_restore.set()
    await asyncio.gather(*tasks)
    assert sorted(begun) == list(numbers)


async def test_who_cannot_be_restored_yet_keeps_no_other_waiting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As many as are restored at once have no leaders, for hours."""

    async def read(number: int) -> None:
        if number < RESTORED_AT_ONCE:
            raise KafkaTimeoutError

    restoring = Restoring(monkeypatch, read)
    sick = restoring.begin(range(RESTORED_AT_ONCE))
    await until(lambda: len(restoring.paused) == RESTORED_AT_ONCE, every_s=0)
    (sound,) = restoring.begin([RESTORED_AT_ONCE])
    await until(sound.done)
    assert not any(task.done() for task in sick)
    for task in sick:
        task.cancel()
    await asyncio.wait(sick)


async def test_one_that_a_rebalance_finds_restored_and_nobodys_is_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    restored = asyncio.Event()

    async def read(_: int) -> None:
        await until(lambda: bool(restoring.forwarding), every_s=0)
        restored.set()

    restoring = Restoring(monkeypatch, read)
    restoring.may_stop_forwarding.clear()
    (task,) = restoring.begin([0])
    await restored.wait()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    restoring.may_stop_forwarding.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert restoring.given_up == {0}


@pytest.mark.parametrize("partitions", [1, 4, 64])
async def test_members_at_hand_are_those_of_a_worker(partitions: int) -> None:
    shared = context_of(Definitions())
    made = Restorer(shared, cast(Any, None))
    index = SimpleNamespace(limit_memory=lambda _: None)
    instants = SimpleNamespace(at_rest=index)
    owned = SimpleNamespace(
        state=SimpleNamespace(index=index, members=Members(), instants=instants)
    )
    made.share_memory(partitions, [cast(OwnedPartition, owned)])
    capacity = owned.state.members.capacity
    assert capacity is not None
    assert MEMBERS_AT_HAND - partitions < partitions * capacity <= MEMBERS_AT_HAND
    assert shared.members_at_hand == capacity
