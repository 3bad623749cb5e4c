"""A worker that cannot start says so; one that gave a partition away goes on with the others."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from agents.forward import Forwarder
from app.topics import METER_PROGRESS
from app.wire.raw import home_partition, message_key
from tests.laws.world import HOUR_MS, ORG, SUBSCRIPTION
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.script import Event, Script
from tests.simulation.steps import Pass
from tests.simulation.test_mending import defined
from tests.simulation.worker import Worker

BOTH = frozenset({0, 1})


def test_a_log_that_cannot_be_read_ends_the_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A process without partitions that nobody starts again would be worse."""

    async def goes_on(worker: Worker) -> None:
        """A real process does not end because something of it has failed."""

    async def act(player: Player) -> None:
        player.broker.append(METER_PROGRESS, 0, b"0", b"{}")
        with pytest.raises(KeyError, match="partition"):
            await player._start(0)

    monkeypatch.setattr(Worker, "_fail", goes_on)
    run(in_simulation(Script(1, 1, defined()), 0, tmp_path, act))


def test_a_batch_on_its_way_to_a_partition_that_went_elsewhere_ends_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It would find the members of the next owner, take them for lost, and die of that."""
    on_its_way, goes_on = asyncio.Event(), asyncio.Event()
    forward = Forwarder.forward

    async def slow(forwarder: Forwarder, *record: Any) -> Any:
        """The leader of the partition to which it goes takes its time."""
        on_its_way.set()
        await goes_on.wait()
        return await forward(forwarder, *record)

    async def act(player: Player) -> None:
        for step in player.steps:
            player._append(step)  # type: ignore[arg-type]
        player.steps.clear()
        player._leap(Pass(HOUR_MS))
        await player._start(0)
        await player._start(1)
        first, second = player.workers
        home = home_partition(message_key(ORG, SUBSCRIPTION), 2, "crc32")

        async def owned_by(one: frozenset[int], other: frozenset[int]) -> None:
            for worker in player.workers:
                await worker.release()
            await first.assign(one)
            await second.assign(other)

        def seat(name: str, **more: Any) -> None:
            properties = {"u": name, "operation_type": "add"}
            player._append(Event("seats", name, 0, properties=properties, **more))

        await owned_by(BOTH, frozenset())
        seat("a")
        await asyncio.sleep(5)
        # From here on the set is in Redis, and not at hand.
        await owned_by(frozenset(), BOTH)
        await owned_by(BOTH, frozenset())
        monkeypatch.setattr(Forwarder, "forward", slow)
        elsewhere = (f"sub-{n}" for n in range(99))
        away = next(e for e in elsewhere if home_partition(message_key(ORG, e), 2, "crc32") != home)
        seat("away", external_id=away, place=home)
        seat("b")
        await on_its_way.wait()
        await owned_by(BOTH - {home}, frozenset({home}))
        goes_on.set()
        await asyncio.sleep(5)
        assert (first.alive, first.engine.failure) == (True, None)
        assert second.engine.owned[home].folded_events == 1

    run(in_simulation(Script(2, 2, defined()), 0, tmp_path, act))
