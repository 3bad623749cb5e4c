"""Past usage while a cut is taken: rows are all of before it, or all of after it."""

from __future__ import annotations

from itertools import islice

import pytest

from app.bounds.turns import STEP_ITEMS, Steps, drained
from app.meter.usage import PeriodUsage
from tables.closing.close import closing, next_cut, settle
from tables.reading.usage import past_periods, past_usage_steps
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)
GROUPS = 4 * STEP_ITEMS


def revised() -> tuple[Live, int]:
    """A published week of many groups, each with an event that came late, and their cut."""
    live = Live(definitions_of(["sum"], SETTINGS))
    live.define_all()
    at_ms = START_MS + HOUR_MS
    live.deliver([arrived("sum", n, at_ms, v="1", g=str(n)) for n in range(GROUPS)])
    live.close_until(START_MS + WEEK_MS + HOUR_MS)
    came_ms = START_MS + WEEK_MS + 2 * HOUR_MS + 1
    live.deliver(
        [arrived("sum", GROUPS + n, at_ms, came_ms, v="9", g=str(n)) for n in range(GROUPS)]
    )
    live.flush()
    cut_ms = next_cut(live.partition, NAME)
    live.define_until(cut_ms + 1)
    return live, cut_ms


def asked(live: Live, at_ms: int) -> Steps[PeriodUsage]:
    (past,) = past_periods(live.partition, NAME, at_ms)
    return past_usage_steps(live.partition, NAME, past)


STEPS = sum(1 for _ in asked(*revised()))


@pytest.mark.parametrize("after", range(1, STEPS + 1))
def test_a_cut_between_two_steps_is_in_all_rows(after: int) -> None:
    live, cut_ms = revised()
    steps = asked(live, cut_ms)
    assert len(list(islice(steps, after))) == after
    for _ in closing(live.partition, NAME, cut_ms):
        pass
    settle(live.partition, cut_ms)
    usage = drained(steps)
    assert usage == drained(asked(live, cut_ms))
    assert len(usage.rows) == GROUPS
    assert {(row.revision, int(row.units), row.pending) for row in usage.rows} == {(1, 10, None)}


def test_a_cut_half_taken_between_two_steps_makes_it_stale() -> None:
    live, cut_ms = revised()
    steps = asked(live, cut_ms)
    list(islice(steps, STEPS))
    list(islice(closing(live.partition, NAME, cut_ms), GROUPS // 2))
    # As whoever takes the cut notes it.
    live.partition.stale.half_closed.add(NAME)
    assert drained(steps).stale


def test_what_waits_for_several_cuts_is_pending_as_the_last_of_them_shows_it() -> None:
    live = Live(definitions_of(["sum"], SETTINGS))
    live.define_all()
    live.deliver([arrived("sum", 0, START_MS, v="1")])
    due_ms = START_MS + WEEK_MS
    live.close_until(due_ms)
    for hours in (1, 2):
        came_ms = due_ms + hours * HOUR_MS + 1
        live.deliver([arrived("sum", hours, START_MS, came_ms, v="9")])
    usage = drained(asked(live, due_ms + 2 * HOUR_MS + 1))
    assert usage.publication.pending_cut_ms == due_ms + 3 * HOUR_MS
    (row,) = usage.rows
    assert row.pending is not None
    assert (int(row.units), int(row.pending.units)) == (1, 19)
