"""The checkpoint counts the take-overs since a flush moved an offset."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from app.kafka.topics import CELLS_CHANGELOG
from app.runtime.topics.changelogs import CHECKPOINT_KEY
from tables.changelogged.checkpoint import Checkpoint
from tests.simulation.by_hand import begin
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.script import Event, Script
from tests.simulation.test_mending import defined


def durable_checkpoint(player: Player) -> Checkpoint:
    """The newest that is committed of partition 0."""
    entries = player.broker.log(CELLS_CHANGELOG, 0).entries
    newest = next(e.value for e in reversed(entries) if e.key == CHECKPOINT_KEY)
    return msgspec.msgpack.decode(newest or b"", type=Checkpoint)


def test_attempts_are_counted_until_a_flush_moves_an_offset(tmp_path: Path) -> None:
    async def act(player: Player) -> None:
        await begin(player)
        await player.workers[0].assign(frozenset({0}))
        assert durable_checkpoint(player).attempt == 1
        found = []
        for event in (None, None, Event("count", "a"), None):
            if event is not None:
                player._append(event)
            await asyncio.sleep(5)
            found.append(durable_checkpoint(player).attempt)
            player.workers[0].process.kill()
            await player._heal()
            assert player.workers[0].engine.owned[0].care.attempt == found[-1] + 1
        assert found == [1, 2, 0, 1]

    run(in_simulation(Script(1, 1, defined()), 0, tmp_path, act))
