"""Expressions read properties as Lago reads them, and trace says why one failed."""

from __future__ import annotations

from typing import Any

import pytest

from app.definitions.judging import Judging
from app.wire.arrivals import Arrival, arrivals_of
from tables.reading.tracing import Tracer
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

AT = "2024-01-10"
DOUBLED = "event.properties.a * 2"
JOINED = "concat(event.properties.a, '-', event.properties.b)"


def story(expression: str, aggregation_type: str = "sum_agg") -> Story:
    return Story().metric("m", aggregation_type, expression=expression).plan({}).subscribe()


@pytest.mark.parametrize(
    ("a", "units"),
    [
        ("1e3", "2000.0"),
        ("+5", "10.0"),
        (".5", "1.0"),
        ("5.", "10.0"),
        ("-2.5E-2", "0.0"),
        (1.5, "3.0"),
    ],
)
def test_a_number_counts_in_any_spelling(a: Any, units: str) -> None:
    (usage,) = story(DOUBLED).send(AT, a=a).usage("2024-01-20")["charges_usage"]
    assert (usage["units"], usage["events_count"]) == (units, 1)


def test_a_computed_number_of_digits_is_truncated() -> None:
    told = story("round(event.properties.a, 1.5)").send(AT, a="2.345")
    (usage,) = told.usage("2024-01-20")["charges_usage"]
    assert usage["units"] == "2.3"


def test_null_is_the_empty_text_and_absence_ignores_the_event() -> None:
    told = story(JOINED, "unique_count_agg")
    told.send(AT, a="x", b=None).send(AT, a="x", b="").send(AT, a="x").send(AT, a="x", b="y")
    (usage,) = told.usage("2024-01-20")["charges_usage"]
    assert usage["units"] == "2.0"


@pytest.mark.parametrize(
    ("expression", "properties", "why"),
    [
        (JOINED, {"a": "x"}, "Variable: b not found"),
        (DOUBLED, {"a": "1_000"}, "Expected a decimal"),
        (DOUBLED, {"a": "1" + "0" * 38}, "Expected a decimal"),
        (DOUBLED, {"a": {}}, "Expected a decimal"),
        (DOUBLED, {"a": [1]}, "Expected a decimal"),
        ("1 / event.properties.a", {"a": "0"}, "Division by zero"),
        (DOUBLED, {"a": 2}, None),
        ("event.properties.a", {"a": "x"}, "not_numeric"),
    ],
)
def test_trace_says_why_an_expression_failed(
    expression: str, properties: dict[str, Any], why: str | None
) -> None:
    told = story(expression).send(AT, **properties)
    partition = told.meter("2024-01-20").partition
    line = told.events[0]
    place = (line.append_time_ms, line.partition, line.offset)
    (arrival,) = arrivals_of(line.value, (), *place, Judging())
    assert isinstance(arrival, Arrival)
    (traced,) = Tracer(partition, (ORG, SUBSCRIPTION, "m")).trace(arrival)
    assert traced.reason == why
    counted_as = why if why in (None, "not_numeric") else "expression_failed"
    assert list(partition.ignored) == ([counted_as] if counted_as else [])
