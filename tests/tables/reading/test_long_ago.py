"""Usage of a subscription that began long ago is read by small steps."""

from __future__ import annotations

from typing import Any

import pytest

from app.bounds.turns import STEP_ITEMS, Steps, drained
from app.definitions import periods
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tables.reading.usage import current_usage_steps, past_periods, past_usage_steps
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

NAME = (ORG, SUBSCRIPTION)
AT = "2024-06-01"


def test_no_step_makes_the_periods_of_many_years(monkeypatch: pytest.MonkeyPatch) -> None:
    made = 0
    real = periods._next_period

    def counted(*given: Any) -> Any:
        nonlocal made
        made += 1
        return real(*given)

    monkeypatch.setattr(periods, "_next_period", counted)

    def most(steps: Steps[Any]) -> int:
        """Return the most periods that one step made."""
        nonlocal made
        found = []
        for _ in steps:
            found.append(made)
            made = 0
        return max([*found, made])

    story = Story().metric("m", "sum_agg").plan({}, interval="weekly")
    story.subscribe(subscription_at="1970-01-01T00:00:00Z")
    definitions = story.meter(AT).definitions

    def begun() -> Partition:
        """Return a partition that has made nothing yet."""
        nonlocal made
        made = 0
        return Partition(0, definitions, EventIndex())

    state = begun()
    assert most(state.views.walking(NAME)) == STEP_ITEMS
    made = 0
    past = past_periods(state, NAME, ms(AT))
    assert len(past) > 2_800
    assert made <= STEP_ITEMS
    # A few are found by arithmetic.
    assert most(past_usage_steps(begun(), NAME, past[0])) < 20
    assert most(current_usage_steps(begun(), NAME, ms(AT))) < 20
    assert drained(past_usage_steps(state, NAME, past[0])).from_ms == past[0].period.start_ms
