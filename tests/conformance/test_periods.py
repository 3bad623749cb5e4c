"""The conformance vectors, and that the checks notice a wrong figure."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.conformance.files import VECTORS
from tests.conformance.periods import (
    check_billing_day_vector,
    check_day_count_vector,
    check_period_mode_vector,
    check_period_vector,
)

Vector = dict[str, Any]
Check = Callable[[Vector], list[str]]

FORMATS: list[tuple[str, Check]] = [
    ("periods.json", check_period_vector),
    ("billing_days.json", check_billing_day_vector),
    ("day_counts.json", check_day_count_vector),
    ("aggregation/*.json", check_period_mode_vector),
]

FLAWED: list[tuple[str, Check, Vector]] = [
    (
        "period",
        check_period_vector,
        {
            "interval": "monthly",
            "billing_time": "calendar",
            "timezone": "UTC",
            "subscription_at": "2024-01-01T00:00:00Z",
            "started_at": "2024-01-01T00:00:00Z",
            "billing_at": "2024-03-01T00:00:00Z",
            "expect": {"from_datetime": "2024-02-02T00:00:00Z", "unheard_of": 1},
        },
    ),
    (
        "billing-day",
        check_billing_day_vector,
        {
            "interval": "monthly",
            "billing_time": "calendar",
            "timezone": "UTC",
            "subscription_at": "2024-01-01T00:00:00Z",
            "runs_at": ["2024-01-01T09:00:00Z", "2024-02-01T01:00:00Z"],
            "runs_on_a_billing_day": ["2024-02-01T01:00:00Z"],
            "idle_at": [],
            "expect": {"invoices_after_runs": 2},
        },
    ),
    (
        "day-count",
        check_day_count_vector,
        {
            "timezone": "UTC",
            "from": "2024-01-01T00:00:00Z",
            "to": "2024-01-02T00:00:00Z",
            "expect": {"days": 1, "nights": 1},
        },
    ),
    (
        "period-mode",
        check_period_mode_vector,
        {
            "subscription": {
                "started_at": "2024-01-01T00:00:00Z",
                "interval": "weekly",
                "billing_time": "calendar",
                "resolve_at": "2024-01-09T00:00:00Z",
            },
            "expect": {"from": "2024-01-09T00:00:00Z", "to": "2024-01-14T23:59:59Z"},
        },
    ),
]


def _cases() -> list[Any]:
    return [
        pytest.param(check, vector, id=vector["id"])
        for pattern, check in FORMATS
        for path in sorted(VECTORS.glob(pattern))
        for vector in json.loads(path.read_bytes())
        if check is not check_period_mode_vector or vector.get("mode") == "period"
    ]


@pytest.mark.parametrize(("check", "vector"), _cases())
def test_vector(check: Check, vector: Vector) -> None:
    assert check(vector) == []


@pytest.mark.parametrize(
    ("check", "vector", "differences"),
    [
        pytest.param(check, vector, count, id=name)
        for (name, check, vector), count in zip(FLAWED, [2, 2, 2, 1], strict=True)
    ],
)
def test_a_wrong_figure_is_reported(check: Check, vector: Vector, differences: int) -> None:
    assert len(check(vector)) == differences


def test_a_period_mode_vector_may_say_when_it_ended_and_leave_out_what_is_usual() -> None:
    subscription = {
        "interval": "monthly",
        "started_at": "2024-01-10T00:00:00Z",
        "ended_at": "2024-03-11T12:00:00Z",
        "resolve_at": "2024-03-20T00:00:00Z",
    }
    expect = {
        "from": "2024-03-01T00:00:00Z",
        "to": "2024-03-11T12:00:00Z",
        "duration_days": 31,
    }
    assert check_period_mode_vector({"subscription": subscription, "expect": expect}) == []
