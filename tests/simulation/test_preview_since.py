"""Who previews a change reads what its periods may hold, however much came before."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Never

import pytest

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.outcome import Rejected
from app.meter.evidence import PreviewedCell
from app.queries.gateway import Gateway
from tables.partition.left_out import FROM_THE_FIRST
from tables.partition.refold import Refold
from tables.reading.preview import Preview
from tests.simulation.by_hand import append, begin
from tests.simulation.loop import run
from tests.simulation.play import Player, in_simulation
from tests.simulation.process import PROCESS
from tests.simulation.script import Event, Pass, Script
from tests.simulation.test_beyond_retention import defined
from tests.simulation.test_read_since import (
    CODES,
    EARLY_MS,
    LAGS_MS,
    event_of,
    four_weeks,
    rows_read,
)
from tests.world.clock import WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, metric_body, plan_body
from tests.world.profiles import sized
from tests.world.topics import no_topics

Told = tuple[list[PreviewedCell], list[tuple[str, str]], int]
"""Cells that would differ, what nothing can be said of, and how many meter keys were folded."""


@contextmanager
def from_the_first() -> Iterator[None]:
    """Read all that there is, of all codes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Preview, "_dated_from", lambda *_: FROM_THE_FIRST)
        patch.setattr(Refold, "sought", lambda job: (job._names, None))
        yield


def regrouped(player: Player, codes: list[str], *keys: str) -> Command:
    """Every charge grouped otherwise."""
    plan = player.workers[0].engine.definitions.plan(ORG, "plan")
    assert plan is not None
    ids = {charge.code: charge.id for charge in plan.charges}
    charges = plan_body(codes)["charges"]
    for charge in charges:
        charge["id"] = ids[charge.pop("code")]
        charge["properties"]["pricing_group_keys"] = list(keys)
    return commands.update_plan(ORG, "plan", {"charges": charges})


def refiltered() -> Command:
    body = metric_body("filtered", filters=[{"key": "g", "values": ["x"]}])
    return commands.update_billable_metric(ORG, "filtered", body)


async def previewed(player: Player, command: Command, from_ms: int, to_ms: int) -> Told:
    """What all reports of a preview tell."""
    PROCESS.set(player.workers[0].process)
    gateway = Gateway(player.workers[0].engine, no_topics)
    reports = await gateway.evidence.preview(ORG, [command], from_ms, to_ms)
    assert not isinstance(reports, Rejected)
    cells, skipped, pairs = list[PreviewedCell](), list[tuple[str, str]](), 0
    async for report in reports:
        cells += report.cells
        skipped += report.skipped
        pairs = report.pairs
    return cells, skipped, pairs


async def all_previewed(player: Player, now_ms: int) -> list[Told]:
    """Previews of what begins in each week, also in none that is published."""
    starts_ms = [now_ms + (week - 4) * WEEK_MS for week in range(6)]
    ranges = [(from_ms, max(now_ms, from_ms) + 1) for from_ms in starts_ms]
    ranges += [(0, now_ms - 2 * WEEK_MS), (now_ms - 3 * WEEK_MS, now_ms - WEEK_MS)]
    changes = [regrouped(player, CODES, "u"), refiltered()]
    return [await previewed(player, change, *each) for each in ranges for change in changes]


@pytest.mark.parametrize("seed", range(sized(16, 4)))
def test_what_is_previewed_is_as_from_all_events(tmp_path: Path, seed: int) -> None:
    choose, partitions, corrects = random.Random(seed), 1 + seed % 2, seed % 4 == 3
    lags_ms = LAGS_MS + EARLY_MS if seed % 4 == 2 else LAGS_MS

    def named() -> str:
        return choose.choice([SUBSCRIPTION] * 7 + ["nobody"])

    def drawn(number: int) -> Event:
        return event_of(choose, number, partitions, lags_ms, named)

    async def act(player: Player) -> None:
        await four_weeks(player, choose, drawn, partitions, corrects=corrects)
        now_ms = player.clock.now_ms()
        told = await all_previewed(player, now_ms)
        assert any(cells for cells, *_ in told)
        assert not any(skipped for _, skipped, _ in told)
        with from_the_first():
            assert told == await all_previewed(player, now_ms)

    settings = {"max_groups": 1} if seed % 3 == 1 else {}
    run(in_simulation(Script(partitions, 1, defined(CODES, **settings)), 0, tmp_path, act))


@pytest.mark.parametrize(("weeks_back", "own_rows"), [(0, 1), (2, 6)])
def test_the_same_is_read_after_ever_more_weeks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weeks_back: int, own_rows: int
) -> None:
    """Of the week that runs, and of one before it; and of the code alone that shows otherwise."""

    def read(weeks: int) -> tuple[int, int]:
        async def act(player: Player) -> tuple[int, int]:
            # Of a file that is sorted by name all is read.
            monkeypatch.setattr("app.ledger.ledger.MERGED_CHUNKS", 1_000)
            await begin(player)
            await player.workers[0].assign(frozenset({0}))
            for week in range(weeks):
                for code in codes:
                    events = [Event(code, f"{code}-{week}-{n}", properties={}) for n in range(5)]
                    await append(player, *events, pause_s=2)
                player._leap(Pass(WEEK_MS))
                await asyncio.sleep(5)
            await append(player, Event("count", "last", properties={}), pause_s=5)
            now_ms, before = player.clock.now_ms(), rows_read(player)
            # Those of the other charge are its groups already.
            asked = regrouped(player, codes, "g"), now_ms - weeks_back * WEEK_MS, now_ms + 1
            told = await previewed(player, *asked)
            assert told[0]
            since = rows_read(player)
            with from_the_first():
                assert told == await previewed(player, *asked)
            return since - before, rows_read(player) - since

        return run(in_simulation(Script(1, 1, defined(codes)), 0, tmp_path / str(weeks), act))

    codes = ["count", "sum"]
    few, more = read(3), read(12)
    assert few[0] == more[0] == own_rows < few[1] < more[1]


def test_all_is_read_where_no_broker_tells_where_a_week_begins(tmp_path: Path) -> None:
    async def act(player: Player) -> None:
        await begin(player)
        await player.workers[0].assign(frozenset({0}))
        await append(player, Event("count", "before", properties={"g": "x"}), pause_s=5)
        player._leap(Pass(WEEK_MS))
        await append(player, Event("count", "since", properties={"g": "x"}), pause_s=5)
        now_ms = player.clock.now_ms()
        asked = regrouped(player, ["count"], "g"), now_ms, now_ms + 1
        told, before = await previewed(player, *asked), rows_read(player)

        async def silent(*_: object) -> Never:
            await asyncio.sleep(60)
            raise AssertionError("it was waited for")

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(player.workers[0].engine.offsets, "logs_since", silent)
            assert told == await previewed(player, *asked)
        assert rows_read(player) == before + 2
        assert len(told[0]) == 2

    run(in_simulation(Script(1, 1, defined()), 0, tmp_path, act))
