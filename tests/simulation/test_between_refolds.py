"""A worker that is killed between two refolds: one is flushed, the other was queued meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.runtime.restoring import restore
from tests.simulation.by_hand import append, defining, hold, slow_scans
from tests.simulation.check import Outcome
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.script import Script
from tests.simulation.steps import Event, Pass
from tests.world.clock import DAY_MS, HOUR_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SUBSCRIPTION,
    definitions_of,
    metric_body,
    subscription_body,
)

SETTINGS = SettingsRecord(grace_s=0, default_organization_id=ORG)
BASE = [line.command for line in definitions_of(["max"], SETTINGS)]


async def ended(player: Player) -> Outcome:
    """Restore all, and let the week and its revisions be over."""
    await player._heal()
    await asyncio.sleep(20)
    player._leap(Pass(1, WEEK_MS))
    player._leap(Pass(HOUR_MS))
    await asyncio.sleep(5)
    return await player.end()


def killed_between(
    directory: Path,
    name: str,
    first: Command,
    later: Sequence[Command] = (),
) -> Outcome:
    """Of subscription `name`, that `first` has refolded when `later` is defined.

    The other refold is of sub-b, of an event whose first copy comes late.
    """
    base = [*BASE, commands.create_subscription(ORG, subscription_body(external_id="sub-b"))]
    steps = defining((*base, first, *later))

    async def act(player: Player) -> Outcome:
        home = player._place("sub-b", None)
        assert player._place(name, None) == home

        def event(of: str, transaction_id: str, v: str, place: int, **more: str) -> Event:
            properties = {"v": v, **more}
            return Event("max", transaction_id, 0, of, properties, place)

        defined = len(base)
        await player.begin()
        await append(player, *steps[:defined], pause_s=3)
        player._leap(Pass(2 * HOUR_MS))
        await asyncio.sleep(5)
        twice = event(name, "a", "5", home, g="x"), event(name, "b", "7", home, g="y")
        await append(player, *twice, pause_s=3)
        away = (home + 1) % 3
        hold(player, away)
        await append(player, event("sub-b", "c", "1", away), pause_s=0.1)
        await append(player, event("sub-b", "c", "1", home), pause_s=3)
        with pytest.MonkeyPatch.context() as patch:
            slow_scans(patch, by_s=10)
            await append(player, steps[defined], pause_s=4)
            # Its refold reads; now the first copy comes, and then the swap and a flush.
            hold(player)
            await asyncio.sleep(9)
            (worker,) = player.workers
            worker.process.kill()
        await append(player, *steps[defined + 1 :], pause_s=1)
        return await ended(player)

    return run(in_simulation(Script(3, 1, []), 0, directory, act))


def grouped(keys: list[str]) -> Command:
    made = next(command for command in BASE if command.type == "create_plan")
    (charge,) = made.payload["plan"]["charges"]
    properties = {"amount": "1", **({"pricing_group_keys": keys} if keys else {})}
    kept = {name: value for name, value in charge.items() if name != "new_id"}
    changed = {**kept, "id": charge["new_id"], "properties": properties}
    return commands.update_plan(ORG, "plan", {"charges": [changed]})


def test_a_definition_that_is_taken_back_meanwhile_leaves_no_cell_of_its_own(
    tmp_path: Path,
) -> None:
    """Compared to the definitions before both, it seems that nothing has changed."""
    outcome = killed_between(tmp_path, "sub", grouped(["g"]), [grouped([])])
    assert outcome.check() == []


def test_cells_that_a_definition_has_made_meanwhile_are_not_taken_for_torn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The subscription was not there at the definitions of the flush."""
    said: list[str] = []
    monkeypatch.setattr(restore.log, "error", lambda text, *_, **__: said.append(text))
    late = commands.create_subscription(ORG, subscription_body(external_id="sub-d"))
    outcome = killed_between(tmp_path, "sub-d", late)
    assert outcome.check() == []
    assert said == []


def test_cuts_before_what_is_queued_meanwhile_do_not_wait_for_it(tmp_path: Path) -> None:
    """Definitions that never end would hold all cuts else: one is always queued."""
    first, later = defining([grouped(["g"]), grouped([])])

    async def act(player: Player) -> Outcome:
        await player.begin()
        await append(player, *defining(BASE), pause_s=3)
        player._leap(Pass(2 * HOUR_MS))
        await asyncio.sleep(5)
        sent = Event("max", "a", 0, SUBSCRIPTION, {"v": "5", "g": "x"}, 0)
        await append(player, sent, pause_s=3)
        player._leap(Pass(5 * DAY_MS, DAY_MS))
        with pytest.MonkeyPatch.context() as patch:
            slow_scans(patch, by_s=10)
            await append(player, first, pause_s=4)
            player._leap(Pass(DAY_MS, DAY_MS))
            # The refold of the first one reads yet.
            other = Event("max", "b", 0, SUBSCRIPTION, {"v": "7", "g": "x"}, 0)
            await append(player, other, later, pause_s=4)
            assert not closed(player)
            await asyncio.sleep(9)
            (worker,) = player.workers
            (owned,) = worker.engine.owned.values()
            assert owned.refold_queue.since_ms is not None
            assert closed(player) == [{"g": "x"}]
            worker.process.kill()
        return await ended(player)

    assert run(in_simulation(Script(1, 1, []), 0, tmp_path, act)).check() == []


def closed(player: Player) -> list[Any]:
    """Return the groups of the cells that are published."""
    entries = player.broker.log("usage-records", 0).entries
    bodies = [msgspec.json.decode(entry.value) for entry in entries if entry.value]
    return [body["grouped_by"] for body in bodies if body["type"] == "usage.recorded"]


@pytest.mark.parametrize("killed", [False, True], ids=["goes on", "killed"])
def test_a_renamed_metric_counts_no_event_of_its_code_before_though_nothing_comes_after_its_refold(
    killed: bool, tmp_path: Path
) -> None:
    """An event of the new code takes the cells over while the refold of the old one reads."""
    settings = msgspec.structs.replace(SETTINGS, implicit_plan=True)
    made, metric = [line.command for line in definitions_of(["sum"], settings)[:2]]
    body = metric_body("sum") | {"code": "renamed"}
    renamed = commands.update_billable_metric(ORG, "sum", body)
    *base, rename = defining([made, metric, renamed])

    def event(code: str, transaction_id: str) -> Event:
        return Event(code, transaction_id, 0, SUBSCRIPTION, {"v": "2"}, 0)

    async def act(player: Player) -> Outcome:
        await player.begin()
        await append(player, *base, event("sum", "a"), pause_s=3)
        with pytest.MonkeyPatch.context() as patch:
            slow_scans(patch, by_s=10)
            await append(player, rename, pause_s=4)
            # Its refold reads yet.
            await append(player, event("renamed", "b"), pause_s=9)
            (worker,) = player.workers
            if killed:
                worker.process.kill()
        return await ended(player)

    outcome = run(in_simulation(Script(1, 1, []), 0, tmp_path, act))
    assert outcome.check() == []
