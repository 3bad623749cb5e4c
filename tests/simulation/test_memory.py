"""A worker that lives for months gives back what partitions took that are not its own any more."""

from __future__ import annotations

import asyncio
import gc
import weakref
from pathlib import Path
from unittest.mock import patch

from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.script import Script
from tests.simulation.test_simulation import base, used
from tests.simulation.worker import Worker

BOTH = frozenset({0, 1})


def test_a_partition_given_up_is_forgotten(tmp_path: Path) -> None:
    async def rebalances(player: Player) -> list[bool]:
        await player.begin()
        await player.step(used("t", 0))
        one, other = player.workers
        tables = []
        with patch("app.runtime.ownership.gc", gc):
            for _ in range(4):
                await moved(one, BOTH, other)
                tables.append(weakref.ref(one.engine.owned[0].table))
                await moved(other, BOTH, one)
                await asyncio.sleep(60)
        return [table() is None for table in tables]

    try:
        gone = run(in_simulation(Script(2, 2, list(base())), 0, tmp_path, rebalances))
    finally:
        gc.unfreeze()
    # Of the last one the simulated process still holds an ended task.
    assert gone[:3] == [True, True, True]


async def moved(to: Worker, partitions: frozenset[int], away_from: Worker) -> None:
    """A rebalance."""
    for worker in (to, away_from):
        await worker.release()
    await away_from.assign(frozenset())
    await to.assign(partitions)
    await asyncio.sleep(2)
