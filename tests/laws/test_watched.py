"""A law of watched cells: events that count from one cut on are folded at once as one by one.

An alert has its cells watched, so that each of their events counts from its grid cut on.
"""

from __future__ import annotations

from collections.abc import Sequence
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from app.definitions import commands
from app.wire.arrivals import Arrival
from tables.cells.watch import Watch
from tables.changelogged.checkpoint import Checkpoint
from tests.laws.test_straight import PLAIN, Close, same
from tests.world.clock import DAY_MS, HOUR_MS, START_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    CommandAt,
    changing_definitions,
    definitions_of,
    lines,
)
from tests.world.events import arrivals, arrived, slices
from tests.world.partition import Live
from tests.world.profiles import examples

CODES = (*PLAIN, "balance")
MINUTE_MS = 60_000
TELLING = replace(SETTINGS, usage_changed=True)


class OneByOne(Close):
    """A partition that folds event by event whatever is watched."""

    def deliver(self, batch: Sequence[Arrival]) -> None:
        with (
            patch("tables.fold._fold_late", return_value=False),
            patch("tables.partition.changed.Changed._is_noted", return_value=False),
        ):
            super().deliver(batch)


def watching(made: Sequence[CommandAt], codes: Sequence[str], since_ms: int) -> list[CommandAt]:
    """Add an alert on each metric."""
    alerts = [
        {
            "alert_type": "billable_metric_current_usage_units",
            "code": code,
            "billable_metric_code": code,
            "thresholds": [{"value": "1", "recurring": True}],
        }
        for code in codes
    ]
    told = [(line.append_time_ms, line.command) for line in made]
    told += [(since_ms, commands.create_alert(ORG, SUBSCRIPTION, alert)) for alert in alerts]
    return lines(sorted(told, key=lambda line: line[0]))


@examples(150)
@given(st.data())
def test_events_of_a_cut_are_folded_at_once_as_one_by_one(data: st.DataObject) -> None:
    """Among cuts that are taken, definitions that change, and restarts."""
    codes = data.draw(st.sampled_from([CODES, PLAIN[-1:], ("balance", "sum")]))
    changing = data.draw(st.booleans())
    made = data.draw(changing_definitions(codes)) if changing else definitions_of(codes, TELLING)
    definitions = watching(made, codes, START_MS + data.draw(st.sampled_from([0, 1, HOUR_MS])))
    events = data.draw(arrivals(codes, ids=30, max_events=40))
    if data.draw(st.booleans()):
        # Most come within some minutes, in time.
        events = [
            replace(each, append_time_ms=START_MS + HOUR_MS + 7_000 * number)
            for number, each in enumerate(events)
        ]
    lives = Live(definitions), OneByOne(definitions)
    for batch in data.draw(slices(events)):
        defined, closes, restarts = data.draw(
            st.tuples(st.integers(0, 6), st.booleans(), st.integers(0, 7))
        )
        for live in lives:
            live.define(defined)
            live.deliver(batch)
            if closes and batch and not changing:
                live.close_until(min(each.append_time_ms for each in batch) - 1)
            if restarts == 0:
                live.restart()
    same(*lives, traces=False)
    assert [each.value for each in lives[0].records] == [each.value for each in lives[1].records]


def test_the_second_event_of_a_watched_cell_goes_straight_until_its_cut() -> None:
    definitions = definitions_of(CODES)
    live = Live(watching(definitions, CODES, START_MS))
    live.define_all()
    first_ms = START_MS + HOUR_MS

    def deliver(*appended_ms: int) -> int:
        before = live.straight
        for at_ms in appended_ms:
            for code in CODES:
                name = f"{code}{at_ms}"
                live.deliver([arrived(code, at_ms, at_ms, transaction_id=name, u="a", v="1")])
        return (live.straight - before) // len(CODES)

    assert deliver(first_ms + 1, first_ms + 2, first_ms + MINUTE_MS) == 2
    assert deliver(first_ms + MINUTE_MS + 1, first_ms + 2 * MINUTE_MS) == 1
    # Of the cut before, which is not taken yet; and of this one again.
    assert deliver(first_ms + 3, first_ms + MINUTE_MS + 2) == 0
    live.close_until(first_ms + 2 * MINUTE_MS)
    assert deliver(first_ms + MINUTE_MS + 3) == 0


def test_events_of_two_cuts_count_from_their_own_on() -> None:
    live = Live(watching(definitions_of(["count"]), ["count"], START_MS))
    live.define_all()
    at_ms = START_MS + HOUR_MS
    times_ms = (at_ms + 1, at_ms + 2, at_ms + MINUTE_MS + 1)
    live.deliver([arrived("count", n, ms, transaction_id=f"t{n}") for n, ms in enumerate(times_ms)])
    seen = []
    for cut_ms in (at_ms + MINUTE_MS, at_ms + 2 * MINUTE_MS):
        live.close_until(cut_ms)
        seen += [each.units for each in live.partition.evaluations.rows.values()]
    assert seen == ["2.0", "3.0"]


def test_how_far_ahead_the_next_event_is_dated_is_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where a period ends later than an event may be dated."""
    live = Live(watching(definitions_of(["count"]), ["count"], START_MS))
    live.define_all()
    monkeypatch.setattr("tables.routing.route.MAX_EVENT_AHEAD_MS", DAY_MS)
    for number in range(3):
        at_ms = START_MS + HOUR_MS
        live.deliver([arrived("count", number, at_ms, at_ms, transaction_id=f"t{number}")])
    assert (live.accepted, live.straight) == (3, 0)


def test_a_grid_that_begins_ends_what_has_the_same_cut() -> None:
    grids = ((0, MINUTE_MS), (30_001, 10_000))
    watch = Watch(5_000, grids, Checkpoint())
    for at_ms in (1, 5_000, 5_001, 30_000, 30_001, 40_000, 40_001):
        until_ms = watch.same_until(at_ms)
        assert watch.cut_of(until_ms) == watch.cut_of(at_ms)
        assert watch.cut_of(until_ms + 1) != watch.cut_of(at_ms)
    assert watch.same_until(20_000) == 30_000
