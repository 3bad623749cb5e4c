"""How many partitions are restored at once: of small ones nearly all the time is waiting."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.runtime.progress import ProgressTable
from app.runtime.restoring import restorer
from app.runtime.restoring.restorer import RESTORED_AT_ONCE, Restorer
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
