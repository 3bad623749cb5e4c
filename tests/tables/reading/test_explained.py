"""Explained figures of periods that are closed to late events: those of their records."""

from __future__ import annotations

from typing import Any

import pytest

from tables.partition.revised import Counted
from tables.reading.explained import ExplainedPeriod
from tables.reading.shown_last import turned_by
from tables.reading.tracing import Tracer, verdict
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import cancel
from tests.world.story import Story

AT = "2024-05-02"
METER_KEY = (ORG, SUBSCRIPTION, "m")


def story(aggregation_type: str = "sum_agg", **charge: Any) -> Story:
    """A recurring metric by months, open to late events for 40 days."""
    made = Story(close_grid_s=1).metric("m", aggregation_type, recurring=True)
    return made.plan(charge).subscribe()


def explained(told: Story, at: str = AT) -> list[tuple[str, str | None]]:
    """Live and published units of every ended period; the events must give the live ones."""
    state = told.meter(at).partition
    tracer, turned = Tracer(state, METER_KEY), list[Counted]()
    for one in told.arrivals():
        turned += turned_by(state, one)
        standing = verdict(state, one)
        if standing.counted is not None:
            tracer.trace(standing.counted, standing.corrected_ms)
    (live,), (raw,) = state.views.route_of(METER_KEY).spans, tracer.route.spans
    found = []
    for period in raw.timeline.until(ms(at)):
        of_period = ExplainedPeriod(state, raw.key.subscription_id, period, {"m": turned})
        for cell in raw.cells_of(period) if period.end_ms < ms(at) else ():
            figures = of_period.figures(live, raw, cell)
            if figures is not None:
                assert figures.live == figures.recomputed
                entry = figures.published
                found.append((figures.live.units, None if entry is None else entry.units))
    return found


def late(aggregation_type: str = "sum_agg", **charge: Any) -> Story:
    """5 in time, and 3 that came after January and February were closed to late events."""
    told = story(aggregation_type, **charge).send("2024-01-02", v="5")
    return told.send("2024-01-05", appended="2024-04-20T10:15", v="3")


def alike(*units: str) -> list[tuple[str, str | None]]:
    return [(each, each) for each in units]


def test_what_came_too_late_for_a_period_is_not_live_there() -> None:
    assert explained(late()) == alike("5.0", "5.0", "8.0", "8.0")


@pytest.mark.parametrize("at", ["2024-03-20", "2024-04-20T10:20"])
def test_nor_before_the_next_cut(at: str) -> None:
    assert explained(late(), at)[:2] == alike("5.0", "5.0")


def test_it_waits_for_the_revision_of_an_open_period() -> None:
    assert explained(late(), "2024-04-20T10:20")[2:] == [("8.0", "5.0")]


def test_a_correction_shows_everything() -> None:
    told = late().append("2024-04-25T09:30", cancel("t0"))
    assert explained(told) == alike("3.0", "3.0", "3.0", "3.0")
    assert explained(told, "2024-04-25T09:40")[:1] == [("3.0", "5.0")]
    told.send("2024-01-07", appended="2024-04-26T09:30", v="1")
    assert explained(told) == alike("3.0", "3.0", "4.0", "4.0")


def test_a_cell_that_only_later_periods_show_is_none_of_the_period() -> None:
    told = late(properties={"amount": "1", "pricing_group_keys": ["g"]})
    told.send("2024-01-06", appended="2024-04-21T10:15", v="2", g="new")
    assert explained(told) == alike("5.0", "5.0", "8.0", "2.0", "8.0", "2.0")


@pytest.mark.parametrize("aggregation_type", ["unique_count_agg", "weighted_sum_agg"])
def test_other_balances_alike(aggregation_type: str) -> None:
    found = explained(late(aggregation_type))
    assert [live for live, _ in found] == [published for _, published in found]
    assert found[0] != found[-1]


def test_a_share_of_what_was_billed_at_once_is_renewed_in_full() -> None:
    told = late(prorated=True, pay_in_advance=True)
    assert explained(told) == alike("5.0", "5.0", "8.0", "8.0")
