"""Timestamps of events: what is read, how it is floored, what is refused."""

import json
import math
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.wire.refusals import ElementRefused, RefusalCode, check_range
from app.wire.timestamps import JsonNumber, parse_timestamp
from tests.conformance.files import VECTORS
from tests.conformance.wire import check_timestamp_vector

APPEND_MS = 1_741_007_009_344
TEN_YEARS_MS = 3652 * 86_400_000


def timestamp_vectors() -> list[Any]:
    path = VECTORS / "aggregation" / "timestamps.json"
    return [pytest.param(each, id=each["id"]) for each in json.loads(path.read_text())]


@pytest.mark.parametrize("vector", timestamp_vectors())
def test_vectors(vector: dict[str, Any]) -> None:
    assert check_timestamp_vector(vector) == []


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1741007009, 1741007009000),
        (0, 0),
        ("1741007009", 1741007009000),
        ("1741007009.0", 1741007009000),
        ("1741007009.344", 1741007009344),
        ("1741007009.344999999999999999999", 1741007009344),
        ("+5", 5000),
        ("007", 7000),
        ("-0.0001", -1),
        ("-1.5", -1500),
        ("-0", 0),
        (JsonNumber("1.741007009344E9"), 1741007009344),
        (JsonNumber("1741007009.3449"), 1741007009344),
        (JsonNumber("17e-1"), 1700),
        (JsonNumber("1e-999999999999"), 0),
        (JsonNumber("-1e-999999999999"), -1),
        (JsonNumber("0e999999999999"), 0),
        ("2025-03-03T13:03:29Z", 1741007009000),
        ("2025-03-03t13:03:29.3449z", 1741007009344),
        ("2025-03-03T14:03:29.5+01:00", 1741007009500),
        ("2025-03-03T08:33:29-04:30", 1741007009000),
        ("1969-12-31T23:59:59.9999Z", -1),
    ],
)
def test_read(value: str | int, expected: int) -> None:
    assert parse_timestamp(value) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "5.",
        ".5",
        "1e9",
        " 12 ",
        "1_000",
        "0x10",
        "١٢",
        "12\n",
        "NaN",
        "2025-03-03 13:03:29",
        "2025-03-03T13:03:29",
        "2025-03-03",
        "2025-02-30T00:00:00Z",
        "2025-03-03T24:00:00Z",
        "2025-03-03T13:03:29+25:00",
        "2025-03-03T13:03:29+01:60",
        "2025-03-03T13:03:29.Z",
        "1741007009.344.1",
    ],
)
def test_unreadable(text: str) -> None:
    with pytest.raises(ElementRefused) as refused:
        parse_timestamp(text)
    assert refused.value.code is RefusalCode.INVALID_TIMESTAMP
    # Once refused, always refused: nothing of it is remembered.
    with pytest.raises(ElementRefused):
        parse_timestamp(text)


@pytest.mark.parametrize(
    "value",
    [10**13, -(10**13), "9" * 5000, JsonNumber("1e400"), JsonNumber("-1e999999999999")],
)
def test_beyond_all_range(value: str | int) -> None:
    with pytest.raises(ElementRefused) as refused:
        parse_timestamp(value)
    assert refused.value.code is RefusalCode.TIMESTAMP_OUT_OF_RANGE


@pytest.mark.parametrize(
    ("timestamp_ms", "accepted"),
    [
        (-1, False),
        (0, True),
        (APPEND_MS + TEN_YEARS_MS, True),
        (APPEND_MS + TEN_YEARS_MS + 1, False),
        (APPEND_MS * 1000, False),
    ],
)
def test_range(timestamp_ms: int, accepted: bool) -> None:
    code = check_range(timestamp_ms, APPEND_MS)
    assert code is (None if accepted else RefusalCode.TIMESTAMP_OUT_OF_RANGE)


@given(st.from_regex(r"[+-]?[0-9]{1,12}(\.[0-9]{1,12})?", fullmatch=True))
def test_text_is_floored_exactly(text: str) -> None:
    expected = math.floor(Fraction(text) * 1000)
    assert parse_timestamp(text) == expected
    assert parse_timestamp(text) == expected


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,9})?[eE]-?[0-9]", fullmatch=True))
def test_json_numbers_are_floored_exactly(text: str) -> None:
    expected = math.floor(Fraction(text) * 1000)
    try:
        assert parse_timestamp(JsonNumber(text)) == expected
    except ElementRefused:
        assert abs(Fraction(text)) >= 10**13
