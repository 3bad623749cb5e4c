"""What is asked about leaves the tables as they are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.periods import NEVER_MS
from app.meter.evidence import ExplainQuery, Status
from app.queries.explain import LATER, _explained_cells, _is_asked_for, _Selection
from app.queries.trace import fate_of, judged
from tables.reading.tracing import Tracer
from tests.world import bodies
from tests.world.clock import START_MS, WEEK_MS, ms
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live
from tests.world.story import Story


def test_a_question_about_a_later_period_makes_no_timeline_longer() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    live.deliver([arrived("count", 0, START_MS, transaction_id="t")])
    ((_, timeline),) = live.partition.timelines.of((ORG, SUBSCRIPTION))
    known = len(timeline._first.periods)
    for code in ("count", "of no charge"):
        tracer = Tracer(live.partition, (ORG, SUBSCRIPTION, code))
        query = ExplainQuery(
            external_subscription_id=SUBSCRIPTION,
            metric_code=code,
            at_ms=START_MS + 500 * WEEK_MS + 1,
        )
        period = _Selection(tracer, query).period
        assert period is not None
        assert period.start_ms == START_MS + 500 * WEEK_MS
        assert len(timeline._first.periods) == known


async def test_an_event_that_came_too_late_for_a_balance_is_said_to_count_later() -> None:
    told = Story(close_grid_s=1).metric("m", "sum_agg", recurring=True).plan({}).subscribe()
    told.send("2024-01-02", v="5").send("2024-01-05", appended="2024-04-20T10:15", v="3")
    state, meter_key = told.meter("2024-05-02").partition, (ORG, SUBSCRIPTION, "m")
    tracer = Tracer(state, meter_key)
    arrivals = told.arrivals()
    found = [judged(state, arrival, lambda _: tracer) for arrival in arrivals]
    for month, reason in (("2024-01-10", LATER), ("2024-03-10", None)):
        query = ExplainQuery(
            external_subscription_id=SUBSCRIPTION, metric_code="m", at_ms=ms(month)
        )
        selection = _Selection(tracer, query)
        assert selection.period is not None
        (_,) = _explained_cells(state, meter_key, selection, selection.period, (NEVER_MS, {}), None)
        fates = [await selection.fate_of(state, one, _NO_LOG) for one in found if one is not None]
        assert [fate.reason for fate in fates] == [None, reason]


@pytest.mark.parametrize(
    ("at", "published", "added"),
    [
        (
            "2024-02-10T10:20",
            "5.0",
            (ms("2024-02-10T11:00"), Decimal(3), 1, "late_events"),
        ),
        ("2024-02-10T11:20", "8.0", None),
    ],
)
def test_what_the_next_revision_adds_is_told_beside_what_is_published(
    at: str, published: str, added: tuple[int, Decimal, int, str] | None
) -> None:
    told = Story(revise_every_s=3_600).metric("m", "sum_agg").plan({}).subscribe()
    told.send("2024-01-02", v="5").send("2024-01-05", appended="2024-02-10T10:15", v="3")
    state, meter_key = told.meter(at).partition, (ORG, SUBSCRIPTION, "m")
    query = ExplainQuery(
        external_subscription_id=SUBSCRIPTION, metric_code="m", at_ms=ms("2024-01-10")
    )
    tracer = Tracer(state, meter_key)
    for arrival in told.arrivals():
        judged(state, arrival, lambda _: tracer)
    selection = _Selection(tracer, query)
    assert selection.period is not None
    pending = drained(selection.pending(state, meter_key, selection.period))
    ((cell, _),) = _explained_cells(state, meter_key, selection, selection.period, pending, None)
    assert cell.published is not None
    assert (cell.published.units, cell.live.units) == (published, "8.0")
    assert cell.pending == added


async def test_an_event_that_only_a_later_charge_is_asked_about_has_its_reason() -> None:
    told = Story(close_grid_s=1).metric("m", "sum_agg", recurring=True)
    told.metric("calls", "count_agg").plan({"code": "calls"}).subscribe().send("2024-01-02")
    charges = [bodies.charge(code=code) for code in ("calls", "m")]
    told.define("2024-02-10", commands.update_plan(ORG, "plan", {"charges": charges}))
    state, meter_key = told.meter("2024-03-02").partition, (ORG, SUBSCRIPTION, "m")
    tracer = Tracer(state, meter_key)
    (arrival,) = told.arrivals()
    found = judged(state, arrival, lambda _: tracer)
    query = ExplainQuery(
        external_subscription_id=SUBSCRIPTION, metric_code="m", at_ms=ms("2024-01-10")
    )
    assert found is not None
    narrowed = _Selection(tracer, query).narrowed(found)
    assert narrowed is not None
    fate = await fate_of(state, narrowed, _NO_LOG)
    assert (fate.status, fate.reason, fate.charges) == ("ignored", "missing_property", ())


@pytest.mark.parametrize(
    ("group", "units"),
    [({"cloud": ""}, ["3.0"]), ({"cloud": "a"}, ["5.0"]), ({}, ["3.0", "5.0"]), ({"x": ""}, [])],
)
def test_the_null_group_is_explained_by_itself(group: dict[str, str], units: list[str]) -> None:
    grouped = {"properties": {"pricing_group_keys": ["cloud"]}}
    told = Story().metric("m", "sum_agg").plan(grouped).subscribe()
    told.send("2024-01-02", v="5", cloud="a").send("2024-01-05", v="3")
    state, meter_key = told.meter("2024-01-10").partition, (ORG, SUBSCRIPTION, "m")
    query = ExplainQuery(
        external_subscription_id=SUBSCRIPTION, metric_code="m", at_ms=ms("2024-01-10"), group=group
    )
    tracer = Tracer(state, meter_key)
    for arrival in told.arrivals():
        judged(state, arrival, lambda _: tracer)
    selection = _Selection(tracer, query)
    assert selection.period is not None
    cells = _explained_cells(state, meter_key, selection, selection.period, (NEVER_MS, {}), None)
    assert sorted(cell.live.units for cell, _ in cells) == units


@pytest.mark.parametrize(
    ("status", "reason", "asked_for"),
    [
        (None, None, ["t0", "t1"]),
        ("counted", None, ["t0"]),
        ("ignored", None, ["t1"]),
        ("duplicate", None, []),
        (None, "missing_property", ["t1"]),
        ("counted", "missing_property", []),
    ],
)
def test_events_are_chosen_by_status_and_reason(
    status: Status | None, reason: str | None, asked_for: list[str]
) -> None:
    told = Story(close_grid_s=1).metric("m", "sum_agg").plan({}).subscribe()
    told.send("2024-01-02", v="5").send("2024-01-05")
    state = told.meter("2024-01-20").partition
    tracer = Tracer(state, (ORG, SUBSCRIPTION, "m"))
    query = ExplainQuery(
        external_subscription_id=SUBSCRIPTION,
        metric_code="m",
        at_ms=ms("2024-01-10"),
        status=status,
        reason=reason,
    )
    found = [judged(state, arrival, lambda _: tracer) for arrival in told.arrivals()]
    chosen = [one is not None and _is_asked_for(one, query) for one in found]
    assert [f"t{number}" for number, each in enumerate(chosen) if each] == asked_for


_NO_LOG: Any = None
"""No event is a copy, and so none is read again."""
