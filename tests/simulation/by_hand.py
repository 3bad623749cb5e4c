"""A cluster that a test drives itself, step by step."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable
from typing import Any

import pytest

from app.definitions.command import Command
from app.runtime.scanning.scan import Scan
from tests.simulation.play import Player
from tests.simulation.script import Script, with_own_ids
from tests.simulation.steps import Appended, Define, Pass
from tests.world.clock import HOUR_MS


def defining(commands: Iterable[Command]) -> list[Any]:
    """Steps that append them, whose ids do not hang on chance."""
    made = [Define(command.type, command.encode()) for command in commands]
    return with_own_ids(Script(1, 1, [*made]), random.Random(2)).steps


async def begin(player: Player, workers: int = 1) -> None:
    """Define everything that the script has and start the workers, which own nothing yet."""
    await append(player, *player.steps, pause_s=0)  # type: ignore[arg-type]
    player.steps.clear()
    player._leap(Pass(HOUR_MS))
    for slot in range(workers):
        await player._start(slot)


async def append(player: Player, *steps: Appended, pause_s: float) -> None:
    """Append them in this order, and let so much time pass."""
    for step in steps:
        player._append(step)
    await asyncio.sleep(pause_s)


def hold(player: Player, *partitions: int) -> None:
    """Deliver nothing of these partitions from now on, and of all others everything."""
    player.slow = set(partitions)
    player._spread_slowness()


def slow_scans(patch: pytest.MonkeyPatch, by_s: float) -> None:
    """As those of long logs are."""
    start = Scan.__aenter__

    async def slow(scan: Scan) -> Any:
        await asyncio.sleep(by_s)
        return await start(scan)

    patch.setattr(Scan, "__aenter__", slow)
