"""Lists of definitions: their order, their pages, and what selects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.api.http.pagination import PageRequest, numbered
from app.bounds.turns import drained
from tests.app.api.conftest import Running


async def make(api: Running, code: str) -> None:
    """A metric, a plan, a customer and a subscription."""
    await api.make_metric(code, "count_agg")
    await api.make_plan(code)
    await api.post("/customers", {"customer": {"external_id": code}})
    await api.subscribe(code, code, code)


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


async def test_pages_of_some_statuses_hold_what_all_pages_together_hold(api: Running) -> None:
    await make(api, "0")
    for number in range(1, 9):
        starts = {"subscription_at": "2024-05-01T00:00:00Z"} if number % 3 == 0 else {}
        await api.subscribe(f"{number}", "0", "0", **starts)
        if number % 3 == 1:
            await api.must("DELETE", f"/api/v1/subscriptions/{number}")
    wanted = {
        "": "8520",
        "status[]=pending": "63",
        "status[]=terminated": "741",
        "status[]=active&status[]=terminated": "875421" + "0",
        "status[]=active&status[]=terminated&status[]=pending&status[]=canceled": "876543210",
        "status[]=active&plan_code=0": "8520",
        "status[]=pending&plan_code=other": "",
    }
    for query, ids_of in wanted.items():
        shown, pages = "", -(-len(ids_of) // 2)
        for page in range(1, pages + 2):
            path = f"/api/v1/subscriptions?{query}&per_page=2&page={page}"
            answer = await api.must("GET", path)
            shown += "".join(each["external_id"] for each in answer["subscriptions"])
            assert answer["meta"]["total_count"] == len(ids_of), query
        assert shown == ids_of, query

    async def all_of(*statuses: str) -> str:
        query = "&".join(f"status[]={status}" for status in statuses)
        answer = await api.must("GET", f"/api/v1/subscriptions?{query}")
        return "".join(each["external_id"] for each in answer["subscriptions"])

    await api.must("DELETE", "/api/v1/subscriptions/8")
    await api.must("DELETE", "/api/v1/subscriptions/6?status=pending")
    assert [await all_of(status) for status in ("active", "terminated")] == ["520", "8741"]
    assert [await all_of(status) for status in ("pending", "canceled")] == ["3", "6"]
    await api.must("DELETE", "/api/v1/plans/0")
    assert await all_of("active") == ""
    assert await all_of("terminated", "canceled") == "876543210"


async def test_who_was_looked_at_once_is_not_looked_at_again_until_it_changes(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in "abc":
        await make(api, code)
    await api.must("DELETE", "/api/v1/subscriptions/b")
    index, looked_at = api.meter.definitions.subscription_index, list[int]()
    numbered = index.numbered

    def noted(number: int) -> Any:
        looked_at.append(number)
        return numbered(number)

    monkeypatch.setattr(index, "numbered", noted)
    path = "/api/v1/subscriptions?status[]=pending"
    for seen in ([2, 1, 0], []):
        looked_at.clear()
        assert (await api.must("GET", path))["meta"]["total_count"] == 0
        assert looked_at == seen
    await api.must("DELETE", "/api/v1/subscriptions/a")
    await api.must("GET", path)
    assert looked_at == [0]
    await api.subscribe("d", "c", "c", ending_at="2024-04-01T00:00:00Z")
    for ahead_ms, found in ((90 * 86_400_000, 3), (-90 * 86_400_000, 2)):
        # A clock that was wrong is set right.
        api.meter.clock.now_ms += ahead_ms
        answer = await api.must("GET", "/api/v1/subscriptions?status[]=terminated")
        assert answer["meta"]["total_count"] == found


async def test_only_who_may_be_listed_is_looked_at(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    for code in "abcde":
        await make(api, code)
    for number in range(9):
        await api.subscribe(f"a{number}", "a", "a")
    index, looked_at = api.meter.definitions.subscription_index, Counter[int]()
    numbered = index.numbered

    def counted(number: int) -> Any:
        looked_at[number] += 1
        return numbered(number)

    monkeypatch.setattr(index, "numbered", counted)

    async def looks(path: str) -> int:
        looked_at.clear()
        await api.must("GET", f"/api/v1/{path}")
        return looked_at.total()

    # One that is shown and was never looked at; then one of a page, and none that is counted.
    assert await looks("subscriptions?plan_code=b&currency=EUR") == 2
    assert await looks("subscriptions?plan_code=b&currency=USD") == 0
    assert await looks("subscriptions?external_customer_id=a") > 10
    assert await looks("subscriptions?external_customer_id=a&per_page=2&page=3") == 2
    assert await looks("customers/a/subscriptions?per_page=1&page=10") == 1
    assert await looks("plans/a") == 0
    assert await looks("plans/c") == 0


async def test_who_is_on_a_plan_of_a_code_is_listed(api: Running) -> None:
    await make(api, "a")
    await make(api, "b")
    more = {"plan_overrides": {"amount_cents": 5}}
    await api.subscribe("c", "a", "b")
    await api.subscribe("d", "a", "b", **more)

    async def listed(query: str) -> str:
        every = "status[]=active&status[]=terminated"
        answer = await api.must("GET", f"/api/v1/subscriptions?{every}&{query}")
        shown = "".join(each["external_id"] for each in answer["subscriptions"])
        assert answer["meta"]["total_count"] == len(shown)
        return shown

    assert await listed("plan_code=a") == "dca"
    assert await listed("plan_code=a&overridden=true") == "d"
    assert await listed("plan_code=a&overridden=false") == "ca"
    # One that changes its plan for its own stands where it stood.
    await api.must("PUT", "/api/v1/subscriptions/a", {"subscription": more})
    assert await listed("plan_code=a&overridden=true") == "da"
    await api.must("DELETE", "/api/v1/plans/a")
    assert await listed("plan_code=a&overridden=true") == "da"
    await api.make_plan("x")
    await api.must("PUT", "/api/v1/plans/x", {"plan": {"code": "a"}})
    await api.subscribe("e", "a", "b")
    assert await listed("plan_code=a") == "edca"
    assert await listed("plan_code=a&external_customer_id=b") == "edc"
    assert await listed("plan_code=a&external_customer_id=b&external_id=c") == "c"
    assert await listed("plan_code=x") == await listed("plan_code=y") == ""
    await api.must("DELETE", "/api/v1/customers/b")
    assert await listed("external_customer_id=b") == "edcb"
    await api.must("POST", "/api/v1/customers", {"customer": {"external_id": "b"}})
    assert await listed("external_customer_id=b") == ""
    assert await listed("external_customer_id=b&external_id=c") == "c"


@pytest.mark.parametrize(
    ("page", "shown", "looked_at"),
    [(1, [0, 1], 2), (2, [2, 3], 4), (3, [4], 5), (4, [], 5), (90, [], 5)],
)
def test_of_a_known_number_only_what_is_shown_is_looked_at(
    page: int, shown: list[int], looked_at: int
) -> None:
    taken: list[int] = []

    def blocks() -> Iterator[NDArray[np.uint32]]:
        for number in range(1_000):
            taken.append(number)
            yield np.array([number], np.uint32)

    answer = drained(numbered("numbers", blocks(), PageRequest(page, 2), int, 5))
    assert answer["numbers"] == shown
    assert answer["meta"]["total_count"] == 5
    assert len(taken) == looked_at
