"""Lists of definitions: their order, their pages, and what selects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.api.http.pagination import PageRequest, listing
from tests.app.api.conftest import Running

PLAN = {
    "name": "p",
    "interval": "monthly",
    "amount_cents": 0,
    "amount_currency": "EUR",
    "pay_in_advance": False,
}


async def make(api: Running, code: str) -> None:
    """A metric, a plan, a customer and a subscription."""
    metric = {"name": code, "code": code, "aggregation_type": "count_agg"}
    await api.must("POST", "/api/v1/billable_metrics", {"billable_metric": metric})
    await api.must("POST", "/api/v1/plans", {"plan": {**PLAN, "code": code}})
    await api.must("POST", "/api/v1/customers", {"customer": {"external_id": code}})
    ids = {"external_id": code, "external_customer_id": code, "plan_code": code}
    await api.must("POST", "/api/v1/subscriptions", {"subscription": ids})


LISTS = (
    ("billable_metrics", "code"),
    ("plans", "code"),
    ("customers", "external_id"),
    ("subscriptions", "external_id"),
)


@pytest.mark.parametrize(("root", "name"), LISTS)
async def test_what_was_made_in_one_millisecond_comes_newest_first(
    api: Running, root: str, name: str
) -> None:
    codes = ["b", "d", "a", "e", "c"]
    for code in codes:
        await make(api, code)
    shown = [
        each[name]
        for page in (1, 2)
        for each in (await api.must("GET", f"/api/v1/{root}?page={page}&per_page=3"))[root]
    ]
    assert shown == codes[::-1]


async def test_a_page_past_the_last_has_one_before_it(api: Running) -> None:
    assert (await api.must("GET", "/api/v1/plans?page=4"))["meta"]["prev_page"] is None
    await make(api, "a")
    answer = await api.must("GET", "/api/v1/plans?page=4")
    assert answer["plans"] == []
    assert answer["meta"] == {
        "current_page": 4,
        "next_page": None,
        "prev_page": 3,
        "total_pages": 1,
        "total_count": 1,
    }


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("external_id=a", ["a"]),
        ("external_id=A", []),
        ("external_id=b%26c", ["b&c"]),
        ("external_id=nobody", []),
        ("external_id=", ["b&c", "ab", "a"]),
    ],
)
async def test_customers_are_selected_by_their_exact_id(
    api: Running, query: str, found: list[str]
) -> None:
    for external_id in ("a", "ab", "b&c"):
        await api.must("POST", "/api/v1/customers", {"customer": {"external_id": external_id}})
    answer = await api.must("GET", f"/api/v1/customers?{query}")
    assert [customer["external_id"] for customer in answer["customers"]] == found
    assert answer["meta"]["total_count"] == len(found)


async def test_plans_and_subscriptions_have_no_thresholds(api: Running) -> None:
    await make(api, "a")
    plan: Any = (await api.must("GET", "/api/v1/plans/a"))["plan"]
    subscription: Any = (await api.must("GET", "/api/v1/subscriptions/a"))["subscription"]
    for shown in (plan, subscription, subscription["plan"]):
        assert shown["applicable_usage_thresholds"] == []


@pytest.mark.parametrize(
    ("page", "shown", "looked_at"),
    [(1, [0, 1], 2), (2, [2, 3], 4), (3, [4], 5), (4, [], 5), (90, [], 5)],
)
def test_of_a_known_number_only_what_is_shown_is_looked_at(
    page: int, shown: list[int], looked_at: int
) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(1_000):
            taken.append(number)
            yield number

    steps = listing("numbers", items(), PageRequest(page, 2), lambda number: number, 5)
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            answer = ended.value
            break
    assert answer["numbers"] == shown
    assert answer["meta"]["total_count"] == 5
    # One more is drawn before it ends.
    assert len(taken) <= looked_at + 1
