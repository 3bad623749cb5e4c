"""Events that are billed when they come go straight into their cells, and wait for their cut."""

from __future__ import annotations

import pytest

from app.definitions import commands
from app.wire.arrivals import Position
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
