"""The law of an ended period: past usage shows what the newest record of each cell says."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.instants import iso_seconds
from app.bounds.turns import drained
from app.numbers import plain
from tables.reading.usage import past_periods, past_usage_steps
from tests.world.clock import START_MS, WEEK_MS
from tests.world.definitions import METRICS, ORG, PRESENTED, SUBSCRIPTION, changing_definitions
from tests.world.events import arrivals
from tests.world.partition import Live
from tests.world.profiles import examples

NAME = (ORG, SUBSCRIPTION)
CODES = [code for code in METRICS if code in PRESENTED]
END_MS = START_MS + 8 * WEEK_MS
FIGURES = (
    "units",
    "prorated_units",
    "total_aggregated_units",
    "events_count",
    "precise_total_amount_cents",
)


def newest(live: Live) -> dict[Any, Any]:
    """The newest record of each cell, by what tells cells apart."""
    found: dict[Any, Any] = {}
    for body in live.bodies():
        if body["type"] != "period.completed":
            grouped_by = tuple((body["grouped_by"] or {}).items())
            place = (body["lago_subscription_id"], body["period"]["from"], body["lago_charge_id"])
            found[*place, body["lago_charge_filter_id"], grouped_by] = body
    return found


@examples(80)
@given(st.data())
def test_they_are_those_of_the_newest_record(data: st.DataObject) -> None:
    live = Live(data.draw(changing_definitions(CODES)))
    live.define_until(END_MS)
    events = data.draw(arrivals(CODES))
    live.deliver(events)
    # Some of what came last waits for a revision.
    last_ms = max((arrival.append_time_ms for arrival in events), default=END_MS)
    live.close_until(data.draw(st.sampled_from([END_MS, last_ms])))
    records = newest(live)
    for past in past_periods(live.partition, NAME, END_MS):
        usage = drained(past_usage_steps(live.partition, NAME, past))
        recurring = {c.charge.id for c in usage.charges if c.metric.recurring}
        for row in usage.rows:
            if row.revision is None:
                continue
            place = (usage.subscription.id, iso_seconds(usage.from_ms), row.charge_id)
            record = records[*place, row.filter_id, row.grouped_by]
            told = (record[name] for name in FIGURES)
            figures = (getattr(row, name) for name in FIGURES)
            assert [*told] == [plain(f) if isinstance(f, Decimal) else f for f in figures]
            said = record["presentation_breakdowns"]
            if row.presented is None:
                # What came too late for a period is in a balance all the same.
                assert said is None or row.charge_id in recurring
                continue
            shown = [(dict(part.presentation_by), plain(part.units)) for part in row.presented]
            assert shown == [(one["presentation_by"], one["units"]) for one in said or ()]
