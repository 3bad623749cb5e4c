"""The law of days: a daily record is the fold of what was appended by then and dated before."""

from __future__ import annotations

import json
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.instants import iso_seconds
from app.definitions import commands
from app.definitions.periods import Period, ceil_to
from app.wire.arrivals import Arrival
from tests.laws.lives import first_instant_ms
from tests.world import naive
from tests.world.clock import DAY_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    GROUPED,
    METRICS,
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    CommandAt,
    definitions_of,
    lines,
)
from tests.world.events import arrivals, event
from tests.world.partition import Live
from tests.world.profiles import examples

MINUTE_MS = 60_000
END_MS = START_MS + 5 * WEEK_MS
DAILY = msgspec.structs.replace(SETTINGS, daily_records=True)
ZONES = ("UTC", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Kiritimati")
Told = dict[tuple[str, str | None], list[dict[str, Any]]]


def world(codes: list[str], timezone: str) -> list[CommandAt]:
    customer = commands.upsert_customer(ORG, {"external_id": "customer", "timezone": timezone})
    return lines(
        (line.append_time_ms, customer if line.command.type == "upsert_customer" else line.command)
        for line in definitions_of(codes, DAILY, presents=True)
    )


def daily(live: Live) -> list[bytes]:
    return [record.value for record in live.records if record.topic == "usage-daily"]


def days_of(period: Period) -> list[tuple[str, int, int]]:
    """(day, instant that its events lie before, cut) of each day of a period."""
    day = date.fromisoformat(iso_seconds(period.start_ms - 2 * DAY_MS)[:10])
    found = []
    while (start_ms := first_instant_ms(day, period.timezone)) < period.end_ms:
        end_ms = first_instant_ms(day + timedelta(days=1), period.timezone)
        if end_ms > period.start_ms:
            cut_ms = ceil_to(end_ms, MINUTE_MS)
            found.append((day.isoformat(), min(end_ms, period.end_ms), cut_ms))
        assert start_ms < end_ms
        day += timedelta(days=1)
    return found


@examples(160)
@given(st.sampled_from([code for code in METRICS if code != "filtered"]), st.data())
def test_a_day_shows_what_is_known_and_dated_before_its_end(code: str, data: st.DataObject) -> None:
    events = data.draw(arrivals([code], max_events=10))
    live = Live(world([code], data.draw(st.sampled_from(ZONES))))
    live.define_until(END_MS)
    live.deliver(events)
    live.close_until(END_MS)
    told: Told = {}
    for value in daily(live):
        record = json.loads(value)
        group = (record["grouped_by"] or {}).get("g")
        told.setdefault((record["period"]["from"], group), []).append(record)
    ((_, timeline),) = live.partition.timelines.of((ORG, SUBSCRIPTION))
    for period in timeline.until(END_MS):
        for group in [None, "x", "y"] if code in GROUPED else [None]:
            records = {r["day"]: r for r in told.get((iso_seconds(period.start_ms), group), [])}
            assert_days(code, group, events, period, records)


def assert_days(
    code: str,
    group: str | None,
    events: list[Arrival],
    period: Period,
    records: dict[str, dict[str, Any]],
) -> None:
    """Compare each day's record, or that there is none, with the naive fold."""
    before = ("0.0", "0.0", 0)
    for day, until_ms, cut_ms in days_of(period):
        if cut_ms > END_MS:
            break
        rows = [
            row
            for row in naive.winners(events, cut_ms)
            if row.timestamp_ms < until_ms and (row.group == group or code not in GROUPED)
        ]
        expected, record = naive.cell(code, rows, period).shown, records.get(day)
        shown = (expected.units, expected.total_aggregated_units, expected.events_count)
        if code == "balance" and expected.prorated_units is not None:
            # A share below 0 is what a closing record leaves out, not a day.
            units = naive.shown_number(naive.total(rows))
            shown = (units, units, expected.events_count)
        assert (record is None) == (shown == before), (day, shown, before)
        if record is not None:
            fields = ("units", "total_aggregated_units", "events_count")
            assert tuple(record[name] for name in fields) == shown
            assert Decimal(record["delta_units"]) == Decimal(shown[0]) - Decimal(before[0])
            assert record["delta_events_count"] == shown[2] - before[2]
            assert record["presentation_breakdowns"] == naive.presented(code, rows, period)
        before = shown


CODES = ["sum", "balance", "seats", "level", "passes", "filtered"]


@examples(40)
@given(st.data())
def test_restarts_refolds_and_batches_change_no_byte(data: st.DataObject) -> None:
    definitions = world(CODES, data.draw(st.sampled_from(ZONES)))
    events = data.draw(arrivals(CODES, ids=12))
    whole = Live(definitions)
    whole.define_until(END_MS)
    whole.deliver(events)
    whole.close_until(END_MS)
    live, at = Live(definitions), 0
    live.define_until(START_MS)
    for until_ms in sorted(data.draw(st.lists(st.integers(START_MS, END_MS), max_size=6))):
        most = at
        while most < len(events) and events[most].append_time_ms <= until_ms:
            most += 1
        live.deliver(events[at:most])
        at = most
        if data.draw(st.booleans()):
            live.close_until(until_ms)
        data.draw(st.sampled_from([live.restart, live.refold_all, live.flush]))()
    live.deliver(events[at:])
    live.define_until(END_MS)
    live.close_until(END_MS)
    assert daily(live) == daily(whole)


def test_a_definition_shows_at_the_end_of_its_day_after_a_restart() -> None:
    live = Live(world(["sum"], "UTC"))
    live.define_until(START_MS)
    noon_ms = START_MS + DAY_MS // 2
    live.deliver([Arrival(event("sum", "t", START_MS, v="5"), ORG, START_MS, 0, 0, 0)])
    live.close_until(START_MS + DAY_MS)
    live.append(
        noon_ms + DAY_MS, commands.update_plan(ORG, "plan", {"code": "plan", "charges": []})
    )
    live.close_until(noon_ms + DAY_MS + MINUTE_MS)
    live.restart()
    live.close_until(START_MS + 3 * DAY_MS)
    told = [json.loads(value) for value in daily(live)]
    assert [(record["day"][-2:], record["delta_units"]) for record in told] == [
        ("01", "5.0"),
        ("02", "-5.0"),
    ]
