"""Cells that tell days go with the others of a final period, once no day of it is to be told."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from app.definitions import commands
from tests.tables.closing.test_forgetting import (
    CODES,
    FINAL_MS,
    IN_ADVANCE,
    NAME,
    SETTINGS,
    live,
    pass_until,
)
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

BY_DAY = replace(SETTINGS, daily_records=True)
SHOWN_MS = 61 * HOUR_MS
"""After it no cut shows a day of a period that is over."""


@pytest.mark.parametrize("rests", [False, True])
@pytest.mark.parametrize("code", [*CODES, *IN_ADVANCE])
def test_cells_that_tell_days_go_once_no_day_is_shown(code: str, rests: bool) -> None:
    one = live(1, code, settings=BY_DAY)
    pass_until(one, FINAL_MS)
    if rests:
        one.partition.packing.pack(NAME)
    assert not one.forget(NAME)
    pass_until(one, START_MS + WEEK_MS + SHOWN_MS)
    assert one.forget(NAME)
    one.flush()
    assert (one.changelog.cells, one.partition.checkpoint.cells) == ({}, 0)
    assert (one.changelog.members, one.changelog.store) == ({}, {})
    assert not one.partition.daily, "what their records said is of no use any more"


def test_the_last_day_of_a_final_period_is_told_of_all_cells() -> None:
    """The subscription ends at noon: its period is final before its last day is over."""
    settings = replace(BY_DAY, revise_every_s=60, late_window_s=60)
    one = Live(definitions_of(["sum", "count"], settings))
    one.define_all()
    one.deliver([arrived("sum", 0, START_MS + HOUR_MS, v="3", g="x")])
    ends_ms = START_MS + DAY_MS + 12 * HOUR_MS
    pass_until(one, ends_ms - 1)
    one.deliver([arrived("count", 1, ends_ms - HOUR_MS)])
    one.append(ends_ms, commands.terminate_subscription(ORG, SUBSCRIPTION))
    pass_until(one, ends_ms + HOUR_MS)
    one.restart()
    assert not one.forget(NAME)
    pass_until(one, START_MS + 2 * DAY_MS)
    told = [body for body in one.bodies() if body["type"] == "usage.daily"]
    assert [(body["day"], body["units"]) for body in told] == [
        ("2024-01-01", "3.0"),
        ("2024-01-02", "1.0"),
    ]
    pass_until(one, ends_ms + SHOWN_MS)
    assert one.forget(NAME)


@pytest.mark.parametrize(("codes", "cells"), [(("count", "sum"), 4), (("balance", "unique"), 6)])
def test_however_many_periods_there_were_as_many_cells_tell_days(
    codes: tuple[str, ...], cells: int
) -> None:
    """What recurs is carried on in a cell more."""
    kept = []
    for weeks in (2, 12, 60):
        one = live(weeks, *codes, settings=BY_DAY)
        pass_until(one, START_MS + weeks * WEEK_MS)
        one.forget(NAME)
        one.flush()
        kept.append((len(one.changelog.cells), one.partition.checkpoint.cells))
    assert kept == [(cells, cells)] * 3
