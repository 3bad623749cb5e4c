"""The law of cuts: what is published at T is the fold of the log prefix at T, computed naively."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.instants import iso_seconds
from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.definitions.periods import Period, ceil_to
from app.wire.arrivals import Arrival
from tests.world import naive
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS, ms
from tests.world.definitions import (
    GRACE_SETTINGS,
    GROUPED,
    METRICS,
    ORG,
    SUBSCRIPTION,
    CommandAt,
    definitions_of,
    lines,
)
from tests.world.events import arrivals
from tests.world.partition import Live
from tests.world.profiles import examples

END_MS = START_MS + 8 * WEEK_MS
WINDOW_MS = 5 * DAY_MS + HOUR_MS // 2
"""A period closes to late events between two of its cuts."""
SETTINGS = (
    GRACE_SETTINGS,
    msgspec.structs.replace(GRACE_SETTINGS, late_window_s=WINDOW_MS // 1000),
    msgspec.structs.replace(GRACE_SETTINGS, late_policy="refuse"),
)


def world(
    code: str, timezone: str, grace_days: int | None, settings: SettingsRecord
) -> list[CommandAt]:
    """The usual world with one metric and a customer of its own settings."""
    base = definitions_of([code], settings, presents=True)
    billing = {"invoice_grace_period": grace_days}
    customer = commands.upsert_customer(
        ORG, {"external_id": "customer", "timezone": timezone, "billing_configuration": billing}
    )
    return lines(
        (line.append_time_ms, customer if line.command.type == "upsert_customer" else line.command)
        for line in base
    )


@pytest.mark.parametrize("code", [code for code in METRICS if code != "filtered"])
@examples(50)
@given(st.data())
def test_published_at_a_cut_is_the_fold_of_the_prefix(code: str, data: st.DataObject) -> None:
    timezone = data.draw(st.sampled_from(["UTC", "America/Los_Angeles", "Europe/Paris"]))
    settings = data.draw(st.sampled_from(SETTINGS))
    grace_days = data.draw(st.sampled_from([None, None, 0, 2]))
    definitions = world(code, timezone, grace_days, settings)
    events = data.draw(arrivals([code], max_events=10))
    live = Live(definitions)
    live.define_until(END_MS)
    live.deliver(events)
    live.close_until(END_MS)
    ((_, timeline),) = live.partition.timelines.of((ORG, SUBSCRIPTION))
    published = newest_at(live.bodies())
    cuts = {ceil_to(arrival.append_time_ms, HOUR_MS) for arrival in events}
    periods = [period for period in timeline.until(END_MS) if period.due_at_ms <= END_MS]
    cuts |= {period.due_at_ms for period in periods}
    window_ms = 0 if settings.late_policy == "refuse" else settings.late_window_s * 1000
    if not METRICS[code].get("recurring"):
        events = [one for one in events if not comes_too_late(one, periods, window_ms)]
    for cut_ms in sorted(cut for cut in cuts if cut <= END_MS):
        for period in periods:
            # Its own cuts: when it is due, and every hour after that.
            hourly = cut_ms > period.due_at_ms and cut_ms % HOUR_MS == 0
            if cut_ms == period.due_at_ms or hourly:
                # A balance leaves out what came after its period was open: later ones show it.
                until_ms = min(cut_ms, period.due_at_ms + window_ms)
                assert_cut(code, events, period, cut_ms, published, until_ms)


def comes_too_late(arrival: Arrival, periods: list[Period], window_ms: int) -> bool:
    """Whether the period of an event had closed to it."""
    return any(
        period.start_ms <= arrival.timestamp_ms < period.end_ms
        and arrival.append_time_ms > period.due_at_ms + window_ms
        for period in periods
    )


Published = dict[tuple[str, str | None], list[tuple[int, naive.Shown, Any]]]


def newest_at(bodies: list[dict[str, Any]]) -> Published:
    """(printed period start, group) to (cut, what was shown, rows and lists), by cut."""
    published: Published = {}
    for body in bodies:
        if body["type"] == "period.completed":
            continue
        shown = naive.Shown(
            body["units"],
            body["prorated_units"],
            body["total_aggregated_units"],
            body["events_count"],
            body["digest"],
        )
        group = (body["grouped_by"] or {}).get("g")
        cell = published.setdefault((body["period"]["from"], group), [])
        assert body["revision"] == len(cell)
        assert body["previous_units"] == (cell[-1][1].units if cell else None)
        beside = (body["presentation_breakdowns"], body["per_event"])
        cell.append((ms(body["closed_at"]), shown, beside))
    return published


def assert_cut(
    code: str,
    events: list[Arrival],
    period: Period,
    cut_ms: int,
    published: Published,
    until_ms: int,
) -> None:
    """Compare what was shown at a cut with the fold of what was appended until a time."""
    rows = [row for row in naive.winners(events, until_ms) if row.code == code]
    groups = [None, "x", "y"] if code in GROUPED else [None]
    start = iso_seconds(period.start_ms)
    for group in groups:
        chosen = [row for row in rows if row.group == group or code not in GROUPED]
        expected = naive.cell(code, chosen, period)
        before = [entry for entry in published.get((start, group), []) if entry[0] <= cut_ms]
        shown = [entry[1] for entry in before]
        if not shown:
            assert not expected.used
        elif expected.used:
            assert shown[-1] == expected.shown
            assert before[-1][2] == (
                naive.presented(code, chosen, period),
                naive.single_events(code, chosen, period),
            )
        elif METRICS[code].get("recurring"):
            # Perhaps the one closing zero after a period that published something.
            assert shown[-1].units == "0.0"
        else:
            assert shown[-1] == naive.NOTHING
