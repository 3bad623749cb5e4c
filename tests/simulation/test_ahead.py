"""A partition that folds late, or is restored for minutes, holds back no cut of the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.runtime.apart import Failed
from app.runtime.partition import ahead
from app.runtime.restoring.restore import restore
from app.wire.keys import home_partition, message_key
from tests.simulation.by_hand import begin, hold
from tests.simulation.check import Outcome
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.script import Event, Script
from tests.simulation.steps import Pass
from tests.simulation.test_mending import defined
from tests.world.clock import START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION

HOME = home_partition(message_key(ORG, SUBSCRIPTION), 2, "crc32")
LATE = 1 - HOME
DUE_MS = START_MS + WEEK_MS
SOON_S = 2 * ahead.LOOKS_S + 10
"""A partition is late after two looks; then it is read, and ticked until it is past the cut."""
LONG_S = 200.0


def played(tmp_path: Path, act: Callable[[Player], Awaitable[None]]) -> list[str]:
    """Violations at the end; the partition that will be late is of a worker of its own."""

    async def begun(player: Player) -> Outcome:
        await begin(player, workers=2)
        await assign(player, HOME, LATE)
        await asyncio.sleep(3)
        player._append(Event("sum", "here", 0, properties={"v": "3"}))
        await asyncio.sleep(5)
        await act(player)
        return await player.end()

    return run(in_simulation(Script(2, 2, defined()), 0, tmp_path, begun)).check()


async def assign(player: Player, *numbers: int) -> None:
    for worker, number in zip(player.workers, numbers, strict=True):
        await worker.assign(frozenset({number}))


async def pass_the_cut(player: Player) -> None:
    """An event at home elsewhere lies in the late partition when the period becomes due."""
    player._append(Event("sum", "misplaced", 0, properties={"v": "4"}, place=LATE))
    player._leap(Pass(DUE_MS + 1 - player.clock.now_ms()))
    await asyncio.sleep(SOON_S)


def published(player: Player) -> list[str]:
    """Units of the usage records there are."""
    entries = player.broker.log("usage-records", HOME).entries
    values = [msgspec.json.decode(entry.value or b"{}") for entry in entries]
    return [value["units"] for value in values if value.get("type") == "usage.recorded"]


def slow_restores(monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(*told: Any) -> Any:
        await asyncio.sleep(LONG_S)
        return await restore(*told)

    monkeypatch.setattr("app.runtime.restoring.restorer.restore", slow)


def test_a_fold_that_is_late_holds_back_no_other_partition(tmp_path: Path) -> None:
    async def act(player: Player) -> None:
        hold(player, LATE)
        await pass_the_cut(player)
        assert published(player) == ["7.0"]
        hold(player)
        await asyncio.sleep(5)

    assert played(tmp_path, act) == []


def test_a_partition_that_is_restored_holds_back_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing else is appended to its log; its new owner passes it on."""

    async def act(player: Player) -> None:
        player.workers[1].process.kill()
        await player._start(1)
        slow_restores(monkeypatch)
        restoring = asyncio.create_task(player.workers[1].assign(frozenset({LATE})))
        await asyncio.sleep(1)
        await pass_the_cut(player)
        assert published(player) == ["7.0"]
        assert player.workers[1].engine.owned == {}
        await restoring
        player._append(Event("sum", "after", 0, properties={"v": "5"}, place=LATE))
        await asyncio.sleep(5)

    assert played(tmp_path, act) == []


def test_what_may_end_the_process_is_not_read_ahead(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its owner ended without handing it over: the fold finds out with care why."""

    async def failing(attempts: object) -> Failed:
        return Failed(0, "it ends the process")

    async def act(player: Player) -> None:
        player.workers[1].process.kill()
        await player._start(1)
        slow_restores(monkeypatch)
        shared = player.workers[1].engine.shared
        with monkeypatch.context() as patch:
            patch.setattr(shared, "first_failure", failing)
            restoring = asyncio.create_task(player.workers[1].assign(frozenset({LATE})))
            await asyncio.sleep(1)
            await pass_the_cut(player)
            assert published(player) == []
        await restoring
        await asyncio.sleep(5)
        assert published(player) == ["7.0"]

    assert played(tmp_path, act) == []
