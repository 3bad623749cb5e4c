"""How many partitions are restored at once: of small ones nearly all the time is waiting."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.definitions.state import Definitions
from app.runtime.partition.owned import OwnedPartition
from app.runtime.progress import ProgressTable
from app.runtime.restoring import restorer
from app.runtime.restoring.restorer import RESTORED_AT_ONCE, Restorer
from tables.changelogged.members import MEMBERS_AT_HAND, Members
from tests.app.runtime.alone import context_of
from tests.world.waiting import until


async def test_no_more_large_partitions_are_in_memory_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that wait for their turn are forwarded, too."""
    begun, forwarding, may_restore = list[int](), set[int](), asyncio.Event()

    async def restored(_: object, number: int) -> Any:
        begun.append(number)
        await may_restore.wait()
        return SimpleNamespace(note_forwarded=lambda *_: None)

    async def go(coming: Any) -> None:
        forwarding.add(coming.number)
        await asyncio.sleep(3_600)

    monkeypatch.setattr(Restorer, "_restored_at_last", restored)
    monkeypatch.setattr(
        restorer, "Coming", lambda number, _: SimpleNamespace(number=number, forwarded=(-1, -1))
    )
    nobody, ahead = cast(Any, None), cast(Any, SimpleNamespace(go=go))
    made = Restorer(nobody, nobody, nobody, ProgressTable(), ahead)
    numbers = range(RESTORED_AT_ONCE + 3)
    restoring = [asyncio.create_task(made.restore(number)) for number in numbers]
    await until(lambda: forwarding == set(numbers) and len(begun) == RESTORED_AT_ONCE, every_s=0)
    may_restore.set()
    await asyncio.gather(*restoring)
    assert sorted(begun) == list(numbers)


@pytest.mark.parametrize("partitions", [1, 4, 64])
async def test_members_at_hand_are_those_of_a_worker(partitions: int) -> None:
    shared = context_of(Definitions())
    made = Restorer(shared, cast(Any, None), cast(Any, None), ProgressTable(), cast(Any, None))
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
