"""Laws of full usage: it is a fold of all counted events since the start, however it is read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from app.bounds.turns import drained
from app.definitions.aggregation_types import AGGREGATION_TYPES
from app.meter.usage import PeriodUsage, Regrouping
from app.numbers import plain
from tables.cells.full_usage import full_figures_steps
from tables.closing.presented import spans_of
from tables.reading.regrouping import Regrouped
from tables.reading.tracing import verdict
from tables.reading.usage import current_usage, period_shown
from tests.laws.test_partition import in_order
from tests.world import naive
from tests.world.clock import START_MS, WEEK_MS
from tests.world.definitions import (
    METRICS,
    ORG,
    PRORATED,
    SUBSCRIPTION,
    changing_definitions,
    definitions_of,
)
from tests.world.events import arrivals, slices
from tests.world.partition import AtOnce, Live
from tests.world.profiles import examples
from tests.world.regrouped import answered, merged

NAME = (ORG, SUBSCRIPTION)
CODES = tuple(
    code
    for code, metric in METRICS.items()
    if code not in PRORATED and not AGGREGATION_TYPES[metric["aggregation_type"]].over_time
)
few = examples(80)

Figures = dict[tuple[str, str | None, Any], tuple[Decimal, Decimal, int, Any]]


def full_usage(live: Live, at_ms: int) -> tuple[PeriodUsage, Regrouped] | None:
    """Usage, and what it was made of."""
    usage = current_usage(live.partition, NAME, at_ms)
    if usage is None:
        return None
    regrouped = merged(live.partition, usage, Regrouping(full=True), at_ms)
    traced = [verdict(live.partition, a) for a in live.arrived() if a.name == NAME]
    return answered(regrouped, traced), regrouped


def figures(live: Live, at_ms: int) -> Figures | None:
    """What cells show that is not 0."""
    found = full_usage(live, at_ms)
    if found is None:
        return None
    return {
        (row.charge_id, row.filter_id, row.grouped_by): (
            row.units,
            row.total_aggregated_units,
            row.events_count,
            row.presented,
        )
        for row in found[0].rows
        if row.units or row.events_count
    }


@few
@given(st.data())
def test_it_is_the_naive_figure_of_all_events(data: st.DataObject) -> None:
    events = data.draw(arrivals(CODES))
    live = Live(definitions_of(CODES))
    live.define_all()
    for batch in data.draw(slices(events)):
        live.deliver(batch)
    at_ms = START_MS + data.draw(st.integers(0, 5)) * WEEK_MS
    found = full_usage(live, at_ms)
    assert found is not None
    usage, _ = found
    whole = period_shown(live.partition, usage)._replace(start_ms=START_MS)
    whole = whole._replace(end_ms=usage.end_ms)
    counted = [c for a in live.arrived() if (c := verdict(live.partition, a).counted)]
    for in_force in usage.charges:
        code = in_force.metric.code
        if code == "filtered":
            continue
        rows = [naive.row(arrival) for arrival in counted if arrival.event.code == code]
        shown = [row for row in usage.rows if row.charge_id == in_force.charge.id]
        grouped = any(row.grouped_by for row in shown)
        for row in shown:
            group = row.grouped_by[0][1] if grouped else None
            some = [each for each in rows if not grouped or each.group == group]
            expected = naive.cell(code, some, whole).shown
            assert (plain(row.units), row.events_count) == (expected.units, expected.events_count)
        inside = [each for each in rows if START_MS <= each.timestamp_ms < usage.end_ms]
        assert shown or not inside


@few
@given(st.data())
def test_cells_tell_what_the_events_do(data: st.DataObject) -> None:
    """Also where definitions change, in any order of delivery, and after a refold."""
    definitions = data.draw(changing_definitions(CODES))
    events = data.draw(arrivals(CODES))
    live = AtOnce(definitions)
    for batch in data.draw(slices(events)):
        live.define(data.draw(st.integers(0, 4)))
        live.deliver(batch)
    live.define_all()
    if data.draw(st.booleans()):
        live.refold_all()
    at_ms = START_MS + data.draw(st.integers(0, 6)) * WEEK_MS
    told = figures(live, at_ms)
    with patch("tables.reading.regrouping.holds_since", lambda *_: False):
        assert figures(live, at_ms) == told
    assert figures(in_order(definitions, events, AtOnce), at_ms) == told


@few
@given(st.data())
def test_the_figures_of_cells_alone_are_those(data: st.DataObject) -> None:
    live = Live(definitions_of(CODES))
    live.define_all()
    live.deliver(data.draw(arrivals(CODES)))
    at_ms = START_MS + data.draw(st.integers(0, 5)) * WEEK_MS
    found = full_usage(live, at_ms)
    assert found is not None
    usage, regrouped = found
    running = current_usage(live.partition, NAME, at_ms)
    assert running is not None
    period = period_shown(live.partition, running)
    for in_force in usage.charges:
        for span in spans_of(live.partition, NAME, usage.subscription.id, in_force, period):
            told = drained(full_figures_steps(span, period, START_MS))
            assert (told is None) == (in_force.metric.code in regrouped.to_read)
            rows = [row for row in usage.rows if row.charge_id == in_force.charge.id]
            if told is not None:
                assert [f.units for f in told.values()] == [row.units for row in rows]
