"""Events that are billed when they come go straight into their cells, and wait for their cut."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from app.billing_periods.instants import iso_milliseconds
from app.definitions import commands
from app.definitions.periods import ceil_to
from app.wire.arrivals import Position
from app.wire.usage_records import PublishedRecord
from tests.laws.test_straight import late
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    definitions_of,
    lines,
    metric_body,
    plan_body,
    subscription_body,
)
from tests.world.events import arrived
from tests.world.partition import Live


def waiting(live: Live) -> set[Position]:
    """Return the positions of events that wait for the cut that bills them."""
    return {each for some in live.partition.instants.undecided.values() for each in some}


@pytest.mark.parametrize("code", ["spent", "calls", "prepaid"])
def test_events_that_are_billed_when_they_come_go_straight(code: str) -> None:
    live = Live(definitions_of([code]))
    live.define_all()
    for number in range(3):
        name, at_ms = f"t{number}", START_MS + number
        live.deliver([arrived(code, number, at_ms, transaction_id=name, v="1")])
    assert live.straight > 0
    assert waiting(live) == {each.position for each in live.arrived()}


def test_late_events_of_two_charges_are_billed_at_once_by_either() -> None:
    plan = plan_body(["spent"])
    (at_once,) = plan["charges"]
    plan["charges"] = [at_once | {"code": "a", "pay_in_advance": False}, at_once]
    made = [
        commands.set_settings(SETTINGS),
        commands.create_billable_metric(ORG, metric_body("spent")),
        commands.create_plan(ORG, plan),
        commands.create_subscription(ORG, subscription_body()),
    ]
    live = Live(lines((START_MS - HOUR_MS, command) for command in made))
    live.define_all()
    for number in range(3):
        live.deliver([late("spent", number, START_MS + WEEK_MS + DAY_MS + number)])
    assert live.straight > 0
    assert waiting(live) == {each.position for each in live.arrived()}


@pytest.mark.parametrize("restarts", [True, False])
def test_an_empty_text_is_billed_until_settings_say_otherwise_whenever_they_are_learnt(
    *, restarts: bool
) -> None:
    made = definitions_of(["passes"], replace(SETTINGS, close_grid_s=60, input_limits=2))
    other = commands.set_settings(replace(SETTINGS, close_grid_s=60, input_limits=3))
    settings_ms = START_MS + 30_000
    sent = [
        arrived("passes", number, settings_ms + after_ms, u=text, operation_type=operation)
        for number, (after_ms, text, operation) in enumerate(
            [
                (-1, "", "add"),
                (0, "", "remove"),
                (1, "", "add"),
                (2, "a", "add"),
                (70_000, "", "remove"),
                (70_001, "b", "add"),
            ]
        )
    ]

    def told(*, after: bool) -> list[PublishedRecord]:
        live = Live(made)
        live.define_all()
        if not after:
            live.append(settings_ms, other)
        live.deliver(sent)
        if restarts:
            live.restart()
        if after:
            live.append(settings_ms, other)
        live.close_until(START_MS + DAY_MS)
        return live.records

    records = told(after=True)
    assert records == told(after=False)
    assert [json.loads(each.value)["units"] for each in records] == ["1.0", "0.0", "0.0", "1.0"]


@pytest.mark.parametrize(("before_s", "after_s"), [(60, 1), (1, 60), (60, 3600)])
def test_settings_of_before_an_event_say_when_it_is_billed_though_they_come_in_after_it(
    before_s: int, after_s: int
) -> None:
    append_time_ms = START_MS + 3_250
    made = definitions_of(["passes"], replace(SETTINGS, close_grid_s=before_s))
    other = commands.set_settings(replace(SETTINGS, close_grid_s=after_s))
    event = arrived("passes", 0, append_time_ms, u="a", operation_type="add")

    def told(*, after: bool) -> list[PublishedRecord]:
        live = Live(made)
        live.define_all()
        if after:
            live.deliver([event])
        # At another grid cut: whoever is watched is looked at when settings show.
        live.append(START_MS - HOUR_MS // 2, other)
        if not after:
            live.deliver([event])
        live.close_until(START_MS + DAY_MS)
        return live.records

    records = told(after=True)
    assert records == told(after=False)
    assert [json.loads(each.value)["closed_at"] for each in records] == [
        iso_milliseconds(ceil_to(append_time_ms, after_s * 1000))
    ]
