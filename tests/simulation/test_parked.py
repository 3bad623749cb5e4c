"""What a definition comes to for one subscription fails: it is parked, and the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.definitions import commands
from app.kafka.topics import METER_DEFINITIONS
from tables.closing.schedule import Schedule
from tables.fold import fold_run
from tables.partition.cooling import Cooling
from tables.partition.route_table import RouteTable
from tables.reading.usage import current_usage
from tests.simulation.by_hand import append, begin
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.script import Define, Event, Script, Step
from tests.simulation.test_beyond_retention import defined
from tests.world.definitions import ORG, plan_body, subscription_body

BROKEN = (ORG, "sub-b")


def with_six() -> list[Step]:
    names = ("sub-a", "sub-b", "sub-c", "sub-d", "sub-e")
    bodies = [subscription_body(external_id=name) for name in names]
    made = [commands.create_subscription(ORG, body) for body in bodies]
    return [*defined(), *(Define(each.type, each.encode()) for each in made)]


def groups(player: Player, external_id: str) -> list[tuple[str | None, ...]]:
    """Group values of what is shown of a subscription."""
    owned = player.workers[0].engine.owned[0]
    usage = current_usage(owned.state, (ORG, external_id), player.clock.now_ms())
    assert usage is not None
    return [tuple(value for _, value in row.grouped_by) for row in usage.rows]


def compiling(planted: Callable[[], bool]) -> Any:
    compiled = RouteTable.compile

    def compile_(table: RouteTable, meter_key: Any, *more: Any, **named: Any) -> Any:
        if planted() and meter_key[:2] == BROKEN:
            raise ZeroDivisionError("no route leads there")
        return compiled(table, meter_key, *more, **named)

    return compile_


@pytest.mark.parametrize("where", ["compile", "fold"])
def test_the_others_are_refolded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    # A reading compiles what is packed: here that would fail as well.
    monkeypatch.setattr(Cooling, "has_work", False)

    async def act(player: Player) -> None:
        await begin(player)
        await player.workers[0].assign(frozenset({0}))
        names = ["sub", "sub-a", "sub-b", "sub-c", "sub-d", "sub-e"]
        for name in names:
            await append(player, Event("count", f"t-{name}", 0, name, {"g": "x"}), pause_s=2)
        engine = player.workers[0].engine
        restores = engine.brokers.restores
        if where == "compile":
            monkeypatch.setattr(RouteTable, "compile", compiling(lambda: True))
        else:

            def fold(route: Any, *more: Any) -> Any:
                if route.meter_key[:2] == BROKEN:
                    raise ZeroDivisionError("no fold ends")
                return fold_run(route, *more)

            monkeypatch.setattr("tables.partition.refold.fold_run", fold)
        await _group_by(player, "g")
        assert (engine.failure, engine.brokers.restores) == (None, restores)
        owned = engine.owned[0]
        assert list(owned.state.stale.parked) == [BROKEN]
        assert owned.state.refolding(*BROKEN)
        assert [groups(player, name) for name in names] == [
            [()] if name == "sub-b" else [("x",)] for name in names
        ]
        assert not owned.refold_queue.meter_keys
        # Mended, the next definition finds what was left to do.
        monkeypatch.undo()
        await _group_by(player, "h")
        assert not owned.state.stale.parked
        assert not owned.state.refolding(*BROKEN)
        assert groups(player, "sub-b") == [(None,)]

    run(in_simulation(Script(1, 1, with_six()), 0, tmp_path, act))


async def _group_by(player: Player, key: str) -> None:
    plan = player.workers[0].engine.definitions.plan(ORG, "plan")
    assert plan is not None
    (body,) = plan_body(["count"])["charges"]
    properties = {"amount": "1", "pricing_group_keys": [key]}
    charge = {**body, "id": plan.charges[0].id, "properties": properties}
    command = commands.update_plan(ORG, "plan", {"charges": [charge]})
    player.broker.append(METER_DEFINITIONS, 0, None, command.encode())
    await asyncio.sleep(60)


def test_a_next_cut_that_cannot_be_told_keeps_nobody_from_a_restore(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    updated = Schedule.update

    def update(schedule: Schedule, name: Any, *known: Any) -> int:
        if name == BROKEN:
            raise ZeroDivisionError("no cut comes")
        return updated(schedule, name, *known)

    async def act(player: Player) -> None:
        await begin(player)
        await player.workers[0].assign(frozenset({0}))
        monkeypatch.setattr(Schedule, "update", update)
        player.workers[0].process.kill()
        await player._heal()
        engine = player.workers[0].engine
        assert list(engine.owned[0].state.stale.parked) == [BROKEN]
        assert engine.owned[0].cuts.schedule.next_ms() > 0
        assert engine.failure is None
        monkeypatch.undo()

    run(in_simulation(Script(1, 1, with_six()), 0, tmp_path, act))
