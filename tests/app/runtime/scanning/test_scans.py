"""Scans have places, organizations take turns at them, and each has a budget of time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Generator

import pytest

from app.bounds.limits import SCANS_WAITING, SCANS_WAITING_OF_ORGANIZATION
from app.bounds.turns import Turns, drained
from app.meter.errors import TimeBudgetExceeded, TooManyScans
from app.queries.listing import First
from app.runtime.scanning import scans as scans_module
from app.runtime.scanning.scans import Scans


class Asking:
    """Scans that go on until they are told to end."""

    def __init__(self) -> None:
        self.scans = Scans(Turns())
        self.began: list[str] = []
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._ends: dict[str, asyncio.Event] = {}

    async def ask(self, name: str, *, endless: bool = False) -> None:
        """`name`: the organization, and which of its scans."""
        self._ends[name] = asyncio.Event()
        self._tasks[name] = asyncio.create_task(self._scan(name, endless))
        await asyncio.sleep(0)

    async def _scan(self, name: str, endless: bool) -> None:
        async with self.scans.place("explain", name[0], endless=endless):
            self.began.append(name)
            await self._ends[name].wait()

    async def end(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await asyncio.sleep(0)

    async def cancel(self, name: str) -> None:
        self._tasks[name].cancel()
        await asyncio.wait([self._tasks[name]])
        await asyncio.sleep(0)

    async def end_all(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.wait(self._tasks.values())


@pytest.fixture
async def asking() -> AsyncIterator[Asking]:
    asked = Asking()
    yield asked
    await asked.end_all()


async def test_two_run_and_the_second_of_an_organization_comes_after_those_of_others(
    asking: Asking,
) -> None:
    for name in ("a1", "a2", "a3", "a4", "b1"):
        await asking.ask(name)
    assert asking.began == ["a1", "a2"]
    assert (asking.scans.running, asking.scans.waiting) == (2, 3)
    await asking.end("a1")
    assert asking.began == ["a1", "a2", "b1"]
    await asking.end("b1")
    assert asking.began[3:] == ["a3"]
    await asking.cancel("a2")
    await asking.end("a3")
    await asking.end("a4")
    assert (asking.scans.running, asking.scans.waiting) == (0, 0)


async def test_one_that_is_cancelled_while_it_waits_has_no_place(asking: Asking) -> None:
    for name in ("a1", "b1", "c1", "d1"):
        await asking.ask(name)
    await asking.cancel("c1")
    await asking.end("a1")
    assert asking.began == ["a1", "b1", "d1"]


async def test_of_those_without_end_but_one_runs(asking: Asking) -> None:
    for name in ("a1", "b1"):
        await asking.ask(name, endless=True)
    await asking.ask("b2")
    assert asking.began == ["a1", "b2"]
    await asking.end("a1")
    assert asking.began[2:] == ["b1"]


async def test_who_finds_too_many_waiting_is_refused(asking: Asking) -> None:
    for n in range(2 + SCANS_WAITING_OF_ORGANIZATION):
        await asking.ask(f"a{n}")
    with pytest.raises(TooManyScans):
        asking.scans.check("a")
    with pytest.raises(TooManyScans):
        async with asking.scans.place("explain", "a"):
            pass
    for n in range(SCANS_WAITING - SCANS_WAITING_OF_ORGANIZATION):
        await asking.ask(f"{chr(ord('b') + n)}")
    with pytest.raises(TooManyScans):
        async with asking.scans.place("explain", "z"):
            pass
    assert asking.scans.waiting == SCANS_WAITING


async def test_a_scan_has_so_much_time_on_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans_module, "SCAN_TURNS_S", 0.05)
    closed = asyncio.Event()

    def endless() -> Generator[None, None, None]:
        try:
            while True:
                time.sleep(0.002)
                yield
        finally:
            closed.set()

    scans = Scans(Turns())
    with pytest.raises(TimeBudgetExceeded):
        async with scans.place("explain", "a") as turn:
            await turn.run(endless())
    assert closed.is_set()
    assert scans.running == 0


async def test_a_scan_has_so_much_time_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scans_module, "SCAN_S", 0.05)
    scans = Scans(Turns())
    with pytest.raises(TimeBudgetExceeded):
        async with scans.place("explain", "a"):
            await asyncio.Event().wait()
    assert scans.running == 0


@pytest.mark.parametrize("most", [1, 7, 5_000, 30_000])
def test_the_first_of_many_are_those_of_a_sorted_list(most: int) -> None:
    draw = random.Random(most)
    added = [(draw.randrange(100), number) for number in range(20_000)]
    first = First[tuple[int, int]](most)
    for one in added:
        drained(first.add(one))
    offset = most // 2
    assert drained(first.listed(offset)) == sorted(added)[offset:most]
    assert first.count == len(added)
