"""Cuts that look at the cells which changed publish what cuts publish that look at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival, CorrectionArrival
from app.wire.events import Correction
from tests.laws.test_partition import END_MS, GRACES, few
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SETTINGS, CommandAt, definitions_of, grouped_by_g
from tests.world.events import arrived
from tests.world.partition import Live
from tests.world.repaired import NAME, Repaired

CODES = ("sum", "seats")
ALL_LOOKED_AT = 1_000_000
DUE_MS = START_MS + 2 * WEEK_MS
"""When the second week is due, but for its grace: what comes around it is on time, or late."""
APART_MS = (1, 20 * 60_000, HOUR_MS)
"""From one append to the next."""


class Step(NamedTuple):
    """An event after the one before it, and whether cuts are taken and changes flushed between."""

    after_ms: int
    code: str
    weeks_ago: int
    group: str
    closes: bool
    flushes: bool


STEPS = st.builds(
    Step,
    st.sampled_from(APART_MS),
    st.sampled_from(CODES),
    st.sampled_from([0, 0, 1]),
    st.sampled_from("xxy"),
    st.booleans(),
    st.booleans(),
)


def played(
    definitions: Sequence[CommandAt], begins_ms: int, steps: Sequence[Step], few_cells: int
) -> Live:
    """Both logs by append time; flushes come before some of the events alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tables.cells.cell.FEW_CELLS", few_cells)
        live, at_ms = Live(definitions), begins_ms
        for offset, step in enumerate(steps):
            at_ms += step.after_ms
            if step.closes:
                live.close_until(at_ms - 1)
            live.define_until(at_ms)
            if step.flushes:
                live.flush()
            dated_ms = DUE_MS - step.weeks_ago * WEEK_MS - 1
            properties: dict[str, Any] = {"v": "1", "u": step.group, "g": step.group}
            live.deliver([arrived(step.code, offset, dated_ms, at_ms, **properties)])
        live.define_all()
        live.close_until(END_MS)
    return live


@few
@given(GRACES, st.sampled_from([1, 3, 5]), st.lists(STEPS, min_size=3, max_size=10))
def test_cuts_that_look_at_what_changed_are_those_that_look_at_all(
    settings: SettingsRecord, hours: int, steps: list[Step]
) -> None:
    definitions = definitions_of(CODES, settings)
    begins_ms = DUE_MS - hours * HOUR_MS
    noted, whole = (played(definitions, begins_ms, steps, few) for few in (0, ALL_LOOKED_AT))
    assert noted.values() == whole.values()
    assert noted.cells() == whole.cells()


class DayStep(NamedTuple):
    """An event, or the end of the one some steps before it, an hour or a day after the step before.

    And whether changes are flushed first.
    """

    after_ms: int
    code: str
    group: str
    cancels: int
    flushes: bool

    def arrival(self, offset: int, at_ms: int) -> Arrival:
        """Return its event, dated when it is appended."""
        properties: dict[str, Any] = {"v": "1", "u": self.group, "g": self.group}
        return arrived(self.code, offset, at_ms, at_ms, **properties)


DAY_CODES = ("count", "filtered", "sum", "max")
DAY_STEPS = st.builds(
    DayStep,
    st.sampled_from([1, HOUR_MS, DAY_MS]),
    st.sampled_from(DAY_CODES),
    st.sampled_from("xyz"),
    st.sampled_from([0, 0, 1, 2]),
    st.booleans(),
)
DAILY = msgspec.structs.replace(SETTINGS, daily_records=True)


def told(
    definitions: list[CommandAt],
    steps: Sequence[DayStep | LateStep | BalanceStep],
    few_cells: int,
    since_ms: int,
    after_ms: int,
) -> Repaired:
    """What days and periods tell of steps from an instant on, until a while after the last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tables.cells.cell.FEW_CELLS", few_cells)
        live, at_ms = Repaired(definitions, repairs=True), since_ms
        for offset, step in enumerate(steps):
            at_ms += step.after_ms
            live.close_until(at_ms - 1)
            if step.flushes:
                live.flush()
            if step.cancels:
                cancelled = f"t{offset - step.cancels}"
                body = Correction(*NAME, cancelled, "cancel", None, f"c{offset}", b"")
                live.correct(CorrectionArrival(body, ORG, at_ms, 0, offset, 0))
            else:
                live.deliver([step.arrival(offset, at_ms)])
        live.close_until(at_ms + after_ms)
    return live


@few
@given(st.lists(DAY_STEPS, min_size=4, max_size=14))
def test_days_that_look_at_what_changed_are_those_that_look_at_all(steps: list[DayStep]) -> None:
    definitions = definitions_of(DAY_CODES, DAILY)
    noted, whole = (
        told(definitions, steps, few, START_MS, 2 * WEEK_MS) for few in (0, ALL_LOOKED_AT)
    )
    for outcome in noted.outcomes:
        event(outcome)
    assert noted.values() == whole.values()
    assert noted.cells() == whole.cells()


BESIDE_CODES = ("sum", "latest", "max", "filtered", "fees")


class LateStep(NamedTuple):
    """An event of the first week, or the end of the one some steps before it."""

    after_ms: int
    code: str
    group: str
    text: str
    cancels: int
    flushes: bool

    def arrival(self, offset: int, at_ms: int) -> Arrival:
        """Return its event, dated in the first week."""
        properties: dict[str, Any] = {"v": "1", "u": self.text, "g": self.group}
        return arrived(self.code, offset, START_MS + DAY_MS + offset, at_ms, **properties)


LATE_STEPS = st.builds(
    LateStep,
    st.sampled_from([1, HOUR_MS, 3 * HOUR_MS]),
    st.sampled_from(BESIDE_CODES),
    st.sampled_from("xxyz"),
    st.sampled_from("ab"),
    st.sampled_from([0, 0, 0, 1, 2]),
    st.booleans(),
)


TOO_MANY_ROWS = [
    LateStep(1, "sum", "x", "a", 0, True),
    LateStep(1, "sum", "y", "a", 0, True),
    LateStep(HOUR_MS, "fees", "x", "a", 0, True),
    LateStep(3 * HOUR_MS, "fees", "x", "a", 0, True),
    LateStep(HOUR_MS, "sum", "x", "b", 0, True),
]
"""The last is of `x`, and takes the rows of `y` away as well: that was flushed before its cut."""


@few
@example(2, TOO_MANY_ROWS)
@given(st.sampled_from([2, 3, 1_000]), st.lists(LATE_STEPS, min_size=4, max_size=16))
def test_what_is_said_beside_figures_is_told_of_all_that_it_changed_for(
    max_groups: int, steps: list[LateStep]
) -> None:
    settings = msgspec.structs.replace(SETTINGS, max_groups=max_groups)
    definitions = definitions_of(BESIDE_CODES, settings, presents=True)
    since_ms = START_MS + WEEK_MS - 2 * HOUR_MS
    noted, whole = (told(definitions, steps, few, since_ms, WEEK_MS) for few in (0, ALL_LOOKED_AT))
    assert noted.values() == whole.values()
    assert noted.cells() == whole.cells()


BALANCE_CODES = ("balance", "seats", "level", "prepaid", "passes", "spent")
"""What recurs, what is paid in advance, and what does both."""


class BalanceStep(NamedTuple):
    """An event of the third week or of one before it, or the end of one some steps before."""

    after_ms: int
    code: str
    weeks_ago: int
    group: str
    value: str
    cancels: int
    flushes: bool

    def arrival(self, offset: int, at_ms: int) -> Arrival:
        """Return its event, dated so many weeks before it is appended."""
        properties: dict[str, Any] = {"v": self.value, "u": self.group, "g": self.group}
        properties["operation_type"] = "remove" if self.value == "-1" else "add"
        dated_ms = max(START_MS, at_ms - self.weeks_ago * WEEK_MS)
        return arrived(self.code, offset, dated_ms, at_ms, **properties)


BALANCE_STEPS = st.builds(
    BalanceStep,
    st.sampled_from([1, 60_000, HOUR_MS, HOUR_MS, DAY_MS, 3 * DAY_MS]),
    st.sampled_from(BALANCE_CODES),
    st.sampled_from([0, 0, 1, 1, 2]),
    st.sampled_from("xxy"),
    st.sampled_from(["1", "-1", "5"]),
    st.sampled_from([0, 0, 0, 0, 1, 2, 3]),
    st.booleans(),
)


@few
@given(GRACES, st.booleans(), st.lists(BALANCE_STEPS, min_size=4, max_size=14))
def test_balances_and_what_is_paid_in_advance_are_told_of_all_that_they_changed_for(
    settings: SettingsRecord, grouped: bool, steps: list[BalanceStep]
) -> None:
    definitions = definitions_of(BALANCE_CODES, settings)
    grouped_by_g(definitions if grouped else ())
    since_ms = DUE_MS - HOUR_MS
    noted, whole = (
        told(definitions, steps, few, since_ms, 3 * WEEK_MS) for few in (0, ALL_LOOKED_AT)
    )
    assert noted.values() == whole.values()
    assert noted.cells() == whole.cells()
