"""Laws of usage-changed: the two logs alone decide what is told, and a naive count agrees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.definitions.periods import ceil_to
from app.wire.arrivals import Arrival
from tables.closing import changed
from tests.world.clock import START_MS, WEEK_MS, ms
from tests.world.definitions import (
    METRICS,
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    CommandAt,
    changing_definitions,
    definitions_of,
    lines,
    plan_body,
    subscription_body,
)
from tests.world.events import arrivals, arrived, slices
from tests.world.partition import Live
from tests.world.profiles import examples

END_MS = START_MS + 11 * WEEK_MS
LONG_S = 400 * 86_400
GRIDS = st.sampled_from([1, 60, 3600])


def telling(grid_s: int) -> SettingsRecord:
    return msgspec.structs.replace(
        SETTINGS, usage_changed=True, close_grid_s=grid_s, late_window_s=LONG_S
    )


def told(live: Live) -> list[dict[str, Any]]:
    live.define_all()
    live.close_until(END_MS)
    return [
        msgspec.json.decode(record.value)
        for record in live.records
        if record.topic == "usage-changed"
    ]


def in_order(definitions: Sequence[CommandAt], events: Sequence[Arrival]) -> Live:
    live = Live(definitions)
    for arrival in sorted(events, key=lambda each: each.position):
        live.close_until(arrival.append_time_ms - 1)
        live.define_until(arrival.append_time_ms)
        live.deliver([arrival])
    return live


@pytest.mark.parametrize("code", ["count", "balance"])
@examples(30)
@given(st.data())
def test_what_is_told_is_what_counts(code: str, data: st.DataObject) -> None:
    grid_s = data.draw(GRIDS)
    events = data.draw(arrivals([code], ids=8))
    live = in_order(definitions_of([code], telling(grid_s)), events)
    known, moments_ms = set[str](), set[int]()
    for arrival in sorted(events, key=lambda each: each.position):
        transaction_id = arrival.event.transaction_id
        if transaction_id not in known:
            known.add(transaction_id)
            # A balance counts what lies before the subscription, too.
            if arrival.timestamp_ms >= START_MS or METRICS[code].get("recurring"):
                moments_ms.add(ceil_to(arrival.append_time_ms, max(10, grid_s) * 1000))
    found = told(live)
    assert [ms(message["as_of"]) for message in found] == sorted(moments_ms)
    assert all(message["codes"] == [code] for message in found)


@examples(40)
@given(st.data())
def test_any_delivery_restart_and_refold_tell_the_same(data: st.DataObject) -> None:
    settings = telling(data.draw(GRIDS))
    definitions = definitions_of(tuple(METRICS), settings, presents=True)
    events = data.draw(arrivals(tuple(METRICS), ids=6))
    live = Live(definitions)
    live.define_all()
    for batch in data.draw(slices(events)):
        live.deliver(batch)
        match data.draw(st.sampled_from(["restart", "refold", "nothing"])):
            case "restart":
                live.restart()
            case "refold":
                live.refold_all()
    assert told(live) == told(in_order(definitions, events))


@examples(40)
@given(st.data())
def test_any_interleaving_of_definitions_and_events_tells_the_same(data: st.DataObject) -> None:
    changing = data.draw(changing_definitions(tuple(METRICS)))
    settings, off = telling(data.draw(GRIDS)), data.draw(st.booleans())
    at = data.draw(st.integers(0, len(changing) - 1))
    logged = [(line.append_time_ms, line.command) for line in changing[1:]]
    record = msgspec.structs.replace(settings, usage_changed=not off)
    first = (changing[0].append_time_ms, commands.set_settings(record))
    switched = [(logged[at - 1][0], commands.set_settings(settings))] if at else []
    logged = [*logged[:at], *switched, *logged[at:]]
    again = data.draw(st.integers(at, len(logged) - 1))
    if data.draw(st.booleans()) and again:
        once_more = msgspec.structs.replace(settings, usage_changed=data.draw(st.booleans()))
        logged.insert(again, (logged[again - 1][0], commands.set_settings(once_more)))
    definitions = lines([first, *logged])
    events = data.draw(arrivals(tuple(METRICS)))
    live = Live(definitions)
    for arrival in events:
        live.define(data.draw(st.integers(0, 3)))
        live.deliver([arrival])
    assert told(live) == told(in_order(definitions, events))


def test_nobody_notes_once_the_last_moment_is_told() -> None:
    """What was appended before settings that ask no more is yet told."""
    off = msgspec.structs.replace(telling(60), usage_changed=False)
    base = definitions_of(["count"], telling(60))
    known = [(line.append_time_ms, line.command) for line in base]
    off_ms = START_MS + 150_000
    live = Live(lines([*known, (off_ms, commands.set_settings(off))]))
    live.define_all()
    live.deliver([arrived("count", 0, START_MS, START_MS + 10_000, transaction_id="t0")])
    notes = []
    for after_ms in (120_000, 180_000):
        live.close_until(START_MS + after_ms)
        notes.append(live.partition.changed.notes)
    assert notes == [True, False]
    assert [ms(message["as_of"]) for message in told(live)] == [START_MS + 60_000]


def test_a_cut_left_half_told_goes_on_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changed, "STEPS_AT_ONCE", 1)
    names = [f"sub-{number}" for number in range(5)]
    base = definitions_of(["count"], telling(60))
    since_ms = base[-1].append_time_ms
    more = [
        (since_ms, commands.create_subscription(ORG, subscription_body(external_id=name)))
        for name in names
    ]
    live = Live(lines([*((line.append_time_ms, line.command) for line in base), *more]))
    live.define_all()
    live.close_until(START_MS)
    live.deliver(
        [
            arrived("count", offset, START_MS + 1, external_id=name)
            for offset, name in enumerate(names)
        ]
    )
    cut_ms = START_MS + 60_000
    live.define_until(cut_ms + 1)
    found: list[str] = []
    for told_before in range(len(names)):
        for record in changed.changed_at(live.partition, cut_ms):
            if record is None and len(found) > told_before:
                break
            if record is not None:
                found.append(msgspec.json.decode(record.value)["external_subscription_id"])
        live.restart()
    assert found == names


@pytest.mark.parametrize("first", ["definitions", "events"])
def test_what_is_defined_after_a_moment_changes_nothing_of_it(first: str) -> None:
    base = definitions_of(["count", "sum"], telling(60))
    without = plan_body(["sum"])
    later = (START_MS + 61_000, commands.update_plan(ORG, "plan", without))
    live = Live(lines([*((line.append_time_ms, line.command) for line in base), later]))
    live.define_until(START_MS)
    live.close_until(START_MS)
    if first == "definitions":
        live.define_all()
    live.deliver([arrived("count", 0, START_MS + 1)])
    live.define_all()
    live.restart()
    live.refold_all()
    (message, *_) = told(live)
    assert (ms(message["as_of"]), message["codes"]) == (START_MS + 60_000, ["count"])


def test_a_longer_grid_has_the_next_event_told_at_its_own_moment() -> None:
    """Though the code has something to tell at the moment of before."""
    at_ms = START_MS + 1_000
    later = msgspec.structs.replace(telling(60), close_grid_s=3_600)
    made = [(line.append_time_ms, line.command) for line in definitions_of(["count"], telling(60))]
    live = Live(lines([*made, (at_ms + 1, commands.set_settings(later))]))
    events = [arrived("count", n, at_ms, at_ms + 2 * n, transaction_id=f"t{n}") for n in range(3)]
    for event in events:
        live.define_until(event.append_time_ms)
        live.deliver([event])
    moments_ms = [ms(message["as_of"]) for message in told(live)]
    assert moments_ms == [START_MS + 60_000, START_MS + 3_600_000]


def test_the_next_subscription_of_a_name_is_told_though_the_last_one_is() -> None:
    """Both have events between two moments: what is noted of one says nothing of the other."""
    at_ms = START_MS + 1_000
    made = [(line.append_time_ms, line.command) for line in definitions_of(["count"], telling(60))]
    ended = commands.terminate_subscription(ORG, SUBSCRIPTION)
    next_one = commands.create_subscription(ORG, subscription_body())
    live = Live(lines([*made, (at_ms + 1, ended), (at_ms + 2, next_one)]))
    live.define_until(at_ms)
    live.deliver([arrived("count", 0, at_ms, at_ms, transaction_id="t0")])
    live.define_all()
    for number in (1, 2):
        later_ms = at_ms + 1_000 * number
        live.deliver([arrived("count", number, later_ms, later_ms, transaction_id=f"t{number}")])
    entry = live.partition.event_ranges.find((ORG, SUBSCRIPTION), "count")
    assert entry is not None
    (touched,) = entry.touched.values()
    assert len(touched) == 2


@pytest.mark.parametrize(
    ("changes", "is_first", "is_missed"),
    [
        ({}, False, False),
        ({"grace_s": 90, "late_window_s": 86_400}, False, False),
        ({"close_grid_s": 3_600}, False, True),
        ({"usage_changed": False}, False, True),
        ({}, True, True),
    ],
)
def test_settings_come_too_late_for_nobody_if_they_ask_for_the_same(
    changes: dict[str, Any], is_first: bool, is_missed: bool
) -> None:
    made = definitions_of(["count"], telling(60))
    if is_first:
        made = lines((line.append_time_ms, line.command) for line in made[1:])
    live, at_ms = Live(made), START_MS + 1_000
    live.define_all()
    live.deliver([arrived("count", 0, at_ms + 1_000)])
    later = msgspec.structs.replace(telling(60), **changes)
    live.append(at_ms, commands.set_settings(later))
    missed = [*filter(None, live.partition.changed.missed(at_ms))]
    assert missed == [(ORG, SUBSCRIPTION, "count")] * is_missed
