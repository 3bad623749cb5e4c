"""A law of expressions: what one makes of properties is kept by their literals, of any event.

Its events go straight where the properties alone decide, at little cost; all others one by one.
"""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.limits import EXPRESSION_UNITS
from app.definitions import commands
from app.definitions.aggregation_types import AggregationType
from app.definitions.command import Command
from app.definitions.input_limits import NO_LIMITS, InputLimits
from app.definitions.model import Metric
from app.expressions import parse
from app.wire.properties import read_properties
from tables import values
from tables.values import CHEAP_UNITS, Value, reading_of, value_reader
from tests.world.clock import HOUR_MS, START_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    CommandAt,
    lines,
    metric_body,
    plan_body,
    subscription_body,
)
from tests.world.events import arrived
from tests.world.partition import Live
from tests.world.profiles import examples

STRAIGHT = (
    "event.properties.v * 2",
    "event.properties.v",
    "ceil(event.properties.v / 3) + event.properties.w",
    "round(least(event.properties.w, 5), 1) - event.properties.v",
    "concat(event.properties.v, '0', event.code)",
    "concat(event.properties.v, event.properties.w)",
    "event.properties.v / event.properties.w",
    "greatest(event.properties.v, event.properties.w, 1.0)",
)
CLOSELY = (
    "event.properties.v + event.timestamp",
    "concat(greatest(1.0, 1), event.properties.v)",
    "1 + 1",
    "event.properties.v" + " + 1" * CHEAP_UNITS,
    " + ".join(f"event.properties.v{number}" for number in range(9)),
)
LITERALS = st.sampled_from(
    [
        *("1", "2.50", "-0.0", "1e5", "1E-3", "0", "9" * 70, "null", "true", "[1,2]", "{}", '""'),
        *('"7"', '"x"', '"1e3"', '" 1"', '"\\u0031"', '"東"', '"1,2"', '".5"', "1" * 200),
        '"' + "9" * 3_000 + '"',
    ]
)
LIMITS = st.sampled_from(
    [NO_LIMITS, InputLimits(-1), InputLimits(-1, -1), InputLimits(-1, -1, -1, -1)]
)
AT_MS = START_MS + HOUR_MS


def metric_of(expression: str, aggregation_type: AggregationType = "sum_agg") -> Metric:
    """Return a metric with an expression."""
    return Metric(
        id="m",
        organization_id=ORG,
        code="c",
        name="c",
        aggregation_type=aggregation_type,
        field_name="v",
        expression=expression,
        created_at_ms=0,
    )


@examples(1_000)
@given(text=st.sampled_from(STRAIGHT), v=LITERALS, w=LITERALS, limits=LIMITS)
def test_what_is_kept_is_what_each_event_brings(
    text: str, v: str, w: str, limits: InputLimits
) -> None:
    metric = metric_of(text)
    reading = reading_of(metric, None, ordered=False)
    assert reading is not None
    assert isinstance(reading.field, tuple)
    properties = read_properties(f'{{"v":{v},"w":{w}}}'.encode())
    joined = ",".join({"v": v, "w": w}[name] for name in reading.field)
    read = value_reader(metric, limits)
    brought = read(metric.code, AT_MS, properties, AT_MS)
    for _ in range(2):
        found = reading.number_of(joined)
        assert found is None or found == brought
    assert reading.numbers is not None
    assert reading.numbers.get(joined) in (None, found)
    # Only what costs much, or is rounded, is left to whoever looks closely.
    if found is None and isinstance(brought, Value):
        assert max(len(v), len(w)) > 64 or brought.number.as_tuple().exponent == -38


@pytest.mark.parametrize("text", CLOSELY)
def test_what_more_than_a_few_properties_decide_is_looked_at(text: str) -> None:
    assert parse(text).units < EXPRESSION_UNITS
    assert reading_of(metric_of(text), None, ordered=False) is None
    assert reading_of(metric_of(STRAIGHT[0], "count_agg"), None, ordered=False) is None


def defined(text: str) -> list[CommandAt]:
    """Return definitions of a metric with an expression."""
    made: list[Command] = [
        commands.set_settings(SETTINGS),
        commands.create_billable_metric(ORG, metric_body("level", expression=text)),
        commands.create_plan(ORG, plan_body(["level"])),
        commands.create_subscription(ORG, subscription_body()),
    ]
    return lines((START_MS - HOUR_MS, command) for command in made)


def played(definitions: list[CommandAt], sent: list[dict[str, Any]]) -> Live:
    """Return a partition that took an event, and then all others at once."""
    live = Live(definitions)
    live.define_all()
    came = [arrived("level", number, AT_MS + number, **each) for number, each in enumerate(sent)]
    live.deliver(came[:1])
    live.deliver(came[1:])
    return live


@pytest.mark.parametrize(("text", "straight"), [*((t, 8) for t in STRAIGHT[:3]), (CLOSELY[0], 0)])
def test_events_of_an_expression_go_straight(text: str, straight: int) -> None:
    sent = [{"v": number % 3 + 1, "w": "4"} for number in range(9)]
    definitions = defined(text)
    live = played(definitions, sent)
    assert (live.accepted, live.straight) == (9, straight)
    with patch("tables.charge.ChargeFold._reading", lambda _: None):
        close = played(definitions, sent)
    assert (close.accepted, close.straight) == (9, 0)
    assert live.cells() == close.cells()
    assert live.values() == close.values()


def test_of_all_expressions_only_so_many_values_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "_MAX_NUMBERS", 3)
    made = [reading_of(metric_of(t), None, ordered=False) for t in STRAIGHT]
    readings = [each for each in made if each is not None]
    for number in range(20):
        reading = readings[number % 2]
        assert reading.number_of(f"{number}.25") is not None
        assert sum(len(each.numbers or ()) for each in readings) <= 3
