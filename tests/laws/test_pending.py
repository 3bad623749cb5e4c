"""What past usage calls pending is what the next cuts publish, no less and no more."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.instants import iso_seconds
from app.definitions.model import SettingsRecord
from app.numbers import plain
from tables.partition.partition import Partition
from tests.laws.test_partition import ALL, few
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, WEEKS, changing_definitions, definitions_of
from tests.world.events import arrivals
from tests.world.partition import Live
from tests.world.past import past_usage

END_MS = START_MS + (WEEKS + 3) * WEEK_MS
Told = dict[tuple[Any, ...], tuple[str, int, str | None]]
"""By cell (period start, charge, filter, groups): units, events and the reason of the revision."""


def pending_of(partition: Partition) -> tuple[Told, set[str]]:
    """What is pending of published periods, and which are published."""
    told: Told = {}
    published = set[str]()
    for usage in past_usage(partition, (ORG, SUBSCRIPTION), END_MS):
        if usage.publication.closed_at_ms is None:
            continue
        published.add(iso_seconds(usage.from_ms))
        rows = [row for row in usage.rows if row.pending is not None]
        assert bool(rows) == (usage.publication.pending_cut_ms is not None)
        for row in rows:
            assert row.pending is not None
            cell = (iso_seconds(usage.from_ms), row.charge_id, row.filter_id, dict(row.grouped_by))
            told[_hashable(cell)] = (
                plain(row.pending.units),
                row.pending.events_count,
                row.pending.reason,
            )
    return told, published


def _hashable(cell: tuple[Any, ...]) -> tuple[Any, ...]:
    *rest, groups = cell
    return (*rest, tuple(sorted((groups or {}).items())))


@few
@given(st.data())
def test_pending_is_what_the_next_cuts_publish(data: st.DataObject) -> None:
    every_s = data.draw(st.sampled_from([3_600, 86_400]))
    settings = SettingsRecord(close_grid_s=60, revise_every_s=every_s, late_window_s=30 * 86_400)
    definitions = definitions_of(ALL, settings, presents=data.draw(st.booleans()))
    if data.draw(st.booleans()):
        definitions = data.draw(changing_definitions(ALL))
    events = sorted(data.draw(arrivals(ALL)), key=lambda arrival: arrival.position)
    live = Live(definitions)
    closed_ms = START_MS + data.draw(st.integers(1, WEEKS * 7 * 24)) * HOUR_MS
    live.define_until(closed_ms)
    live.deliver([arrival for arrival in events if arrival.append_time_ms <= closed_ms])
    live.close_until(closed_ms)
    later = [arrival for arrival in events if arrival.append_time_ms > closed_ms]
    later = later[: data.draw(st.integers(0, len(later)))]
    live.define_until(max([closed_ms, *(arrival.append_time_ms for arrival in later)]))
    live.drop_definitions()
    live.deliver(later)
    told, published = pending_of(live.partition)
    written = len(live.bodies())
    live.close_until(END_MS)
    bodies = live.bodies()[written:]
    revised: Told = {}
    for body in bodies:
        start = body["period"]["from"]
        if start in published and body["type"] != "period.completed":
            cell = (start, body["lago_charge_id"], body["lago_charge_filter_id"])
            name = _hashable((*cell, body["grouped_by"]))
            reason = body["revision_reason"]
            if name in revised and revised[name][2] is None:
                # It was not published when it was told, whatever of it comes by two cuts.
                reason = None
            revised[name] = (body["units"], body["events_count"], reason)
    assert told == revised
