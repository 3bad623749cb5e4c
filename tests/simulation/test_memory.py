"""A worker that lives for months gives back what partitions took that are not its own any more."""

from __future__ import annotations

import asyncio
import gc
import weakref
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.script import Script
from tests.simulation.test_simulation import base, used
from tests.simulation.worker import Worker

BOTH = frozenset({0, 1})


def test_a_partition_given_up_is_forgotten() -> None:
    # In a process of its own: the collector of the suite goes on.
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        gone = process.submit(forgotten).result()
    # Of the last one the simulated process still holds an ended task.
    assert gone[:3] == [True, True, True]


def forgotten() -> list[bool]:
    """Move partitions to and fro, and tell of each time whether nothing holds their state."""

    async def rebalances(player: Player) -> list[bool]:
        await player.begin()
        await player.step(used("t", 0))
        one, other = player.workers
        tables = []
        gc.collect()
        # To walk all that stays would hold the loop for seconds.
        gc.disable()
        for _ in range(4):
            await moved(one, BOTH, other)
            state = one.engine.owned[0].state
            parts = (state, state.snapshot, state.instants, state.corrections, state.index)
            tables.append([weakref.ref(part) for part in parts])
            del state, parts
            await moved(other, BOTH, one)
            await asyncio.sleep(60)
        return [all(part() is None for part in parts) for parts in tables]

    with TemporaryDirectory() as directory:
        script = Script(2, 2, list(base()))
        return run(in_simulation(script, 0, Path(directory), rebalances))


async def moved(to: Worker, partitions: frozenset[int], away_from: Worker) -> None:
    """A rebalance."""
    for worker in (to, away_from):
        await worker.release()
    await away_from.assign(frozenset())
    await to.assign(partitions)
    await asyncio.sleep(2)
