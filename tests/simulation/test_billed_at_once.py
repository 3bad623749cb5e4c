"""An event that is billed when it comes is billed at its grid cut, though nothing else comes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tables.changelogged.members import Members
from tests.simulation.by_hand import append, begin
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.script import Event, Script
from tests.simulation.test_beyond_retention import defined

GRID_S = 60


def test_each_event_that_goes_straight_is_billed_at_its_cut(tmp_path: Path) -> None:
    async def act(player: Player) -> list[str]:
        await begin(player)
        await player.workers[0].assign(frozenset({0}))
        for number in range(4):
            await append(player, Event("spent", f"t{number}", properties={"v": "1"}), pause_s=0)
            await asyncio.sleep(2 * GRID_S)
        entries = player.broker.log("usage-records", 0).entries
        records = [json.loads(entry.value or b"") for entry in entries]
        return [each["event_transaction_id"] for each in records if "instant" in each["type"]]

    told = run(
        in_simulation(Script(1, 1, defined(["spent"], close_grid_s=GRID_S)), 0, tmp_path, act)
    )
    assert told == ["t0", "t1", "t2", "t3"]


def test_a_flush_in_the_midst_of_a_cut_leaves_the_members_that_it_asks_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few are kept at hand. Without them the partition would begin again."""
    monkeypatch.setattr("app.runtime.context.MEMBERS_AT_HAND", 1)
    monkeypatch.setattr("agents.close.FLUSH_USAGE_RECORDS", 1)
    monkeypatch.setattr("tables.closing.instants.STEPS_AT_ONCE", 1)
    missed, absent = list[str](), Members._absent

    def noted(members: Members, key: bytes, text: str) -> bytes:
        try:
            return absent(members, key, text)
        except LookupError:
            missed.append(text)
            raise

    async def act(player: Player) -> list[str]:
        await begin(player)
        await player.workers[0].assign(frozenset({0}))
        for number in range(4):
            sent = Event("passes", f"t{number}", properties={"u": f"u{number}"})
            await append(player, sent, pause_s=0)
        await asyncio.sleep(2 * GRID_S)
        entries = player.broker.log("usage-records", 0).entries
        records = [json.loads(entry.value or b"") for entry in entries]
        return [each["event_transaction_id"] for each in records if "instant" in each["type"]]

    monkeypatch.setattr(Members, "_absent", noted)
    script = Script(1, 1, defined(["passes"], close_grid_s=GRID_S))
    told = run(in_simulation(script, 0, tmp_path, act))
    assert (told, missed) == (["t0", "t1", "t2", "t3"], [])
