"""Vectors of expressions and timestamps in shapes that the published ones do not have."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.wire import check_expression_vector, check_timestamp_vector

EVENT = {"transaction_id": "t", "code": "c", "timestamp": 1741007009, "properties": {"a": 2}}


@pytest.mark.parametrize(
    ("expression", "event", "expect"),
    [
        pytest.param("", EVENT, {"error": "value_is_mandatory"}, id="empty"),
        pytest.param("  ", EVENT, {"error": "value_is_mandatory"}, id="blank"),
        pytest.param(None, EVENT, {"error": "value_is_mandatory"}, id="null"),
        pytest.param("1 + 1", {"transaction_id": "t"}, {"value": 2}, id="bare-event"),
        pytest.param("event.properties.a * 3", EVENT, {"value": "6.0"}, id="value"),
        pytest.param("9" * 39 + " + 1", EVENT, {"value": "1" + "0" * 39}, id="many-digits"),
    ],
)
def test_expressions(expression: str | None, event: Any, expect: Any) -> None:
    vector = {"metric": {"expression": expression}, "events": [event], "expect": expect}
    assert check_expression_vector(vector) == []
    wrong = {"value": "7"} if "value" in expect else {"error": "invalid_expression"}
    assert check_expression_vector({**vector, "expect": wrong})


@pytest.mark.parametrize(
    ("timestamp", "expect"),
    [
        pytest.param(True, {"error": "invalid_format"}, id="boolean"),
        pytest.param([1741007009], {"error": "invalid_format"}, id="list"),
        pytest.param({}, {"error": "invalid_format"}, id="object"),
        pytest.param("", {"error": "invalid_format"}, id="empty"),
        pytest.param("2025-03-03T14:03:29.3449+01:00", {"epoch": "1741007009.344"}, id="zone"),
        pytest.param(1741007009, {"epoch": 1741007009}, id="integer"),
    ],
)
def test_timestamps(timestamp: Any, expect: Any) -> None:
    vector = {"events": [{"timestamp": timestamp}], "expect": expect}
    assert check_timestamp_vector(vector) == []
    wrong = {"epoch": 1} if "error" in expect else {"error": "invalid_format"}
    assert check_timestamp_vector({**vector, "expect": wrong})
