"""Reading requests: queries, pages, paths, JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from app.api.answering.router import Router
from app.api.endpoints.table import ENDPOINTS
from app.api.http import json_text
from app.api.http.errors import ApiError
from app.api.http.pagination import PageRequest, listing
from app.api.http.query import Query
from app.api.usage.usage import regrouping
from app.bounds.turns import drained
from app.definitions.model import Customer


@pytest.mark.parametrize(
    ("raw", "default", "expected"),
    [
        ("x=true", False, True),
        ("x=True", False, True),
        ("x=1", False, True),
        ("x=false", True, False),
        ("x=False", True, False),
        ("x=off", True, False),
        ("x=", True, True),
        ("", False, False),
        ("x=maybe", True, True),
    ],
)
def test_flags(raw: str, default: bool, expected: bool) -> None:
    assert Query(raw).flag("x", default) is expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param("group[cloud]=aws", {"cloud": "aws"}, id="brackets"),
        pytest.param("group%5Bcloud%5D=aws", {"cloud": "aws"}, id="encoded-brackets"),
        pytest.param("group[a.b]=x&group[c]=y", {"a.b": "x", "c": "y"}, id="two-keys"),
        pytest.param("filter_by_group=%7B%22cloud%22%3A+%22aws%22%7D", {"cloud": "aws"}, id="json"),
        pytest.param(
            "group[cloud]=aws&filter_by_group[cloud]=gcp", {"cloud": "aws"}, id="newest-name-wins"
        ),
        pytest.param("filter_by_group[cloud]=gcp", {"cloud": "gcp"}, id="former-name"),
        pytest.param("group[]=x", {"": "x"}, id="empty-key"),
        pytest.param('group={"a":null,"b":true}', {"a": "", "b": "true"}, id="no text"),
        pytest.param("group[a]=&group[b]=x", {"a": "", "b": "x"}, id="blank"),
        pytest.param("", {}, id="absent"),
    ],
)
def test_groups(raw: str, expected: dict[str, str]) -> None:
    assert Query(raw).mapping(("group", "filter_by_group")) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param("group[cloud]=aws", {"cloud": {"aws"}}, id="brackets"),
        pytest.param("group[a][]=1&group[a][]=2", {"a": {"1", "2"}}, id="many"),
        pytest.param('group={"a":["1","2"],"b":3}', {"a": {"1", "2"}, "b": {"3"}}, id="json"),
        pytest.param('group={"a":null,"b":[]}', {"a": {""}, "b": {""}}, id="none"),
        pytest.param("group[a]=&group[b][]=&group[b][]=1", {"a": {""}, "b": {"", "1"}}, id="blank"),
        pytest.param("group[a]", {"a": {""}}, id="no value"),
        pytest.param("group=&group[]=&filter_by_group[a]=2", {"a": {"2"}}, id="no key"),
        pytest.param('group={"a":true}', {"a": {"true"}}, id="boolean"),
        pytest.param("group[a]=1&filter_by_group[a]=2", {"a": {"1"}}, id="newest-name-wins"),
        pytest.param("group={}", {}, id="empty"),
        pytest.param("", {}, id="absent"),
    ],
)
def test_groups_of_several_values(raw: str, expected: dict[str, set[str]]) -> None:
    assert Query(raw).choices(("group", "filter_by_group")) == expected


@pytest.mark.parametrize("read", [Query.choices, Query.mapping])
@pytest.mark.parametrize("text", ["notjson", "[1]", "1", "%7B"])
def test_groups_that_are_no_object_are_refused(
    read: Callable[[Query, Sequence[str]], object], text: str
) -> None:
    with pytest.raises(ApiError) as refused:
        read(Query(f"group={text}"), ("group", "filter_by_group"))
    assert refused.value.body["error_details"] == {"group": ["value_is_invalid"]}


def test_a_blank_text_asks_for_the_null_group() -> None:
    group = regrouping(Query("group[a][]=%E3%80%80&group[a][]=x&group[b]=%20y")).group
    assert group == {"a": {"", "x"}, "b": {" y"}}


def test_the_first_name_present_wins_and_the_last_of_its_values() -> None:
    query = Query("old=1&new=2&new=3&empty=")
    assert query.text("new", "old") == "3"
    assert query.text("empty", "old") == "1"
    assert query.text("none") is None


def test_what_is_given_empty_and_is_no_member_counts_as_absent() -> None:
    query = Query("status[]=&status=&page=&window&at=&group[a]=")
    assert query.texts("status") == []
    assert query.listed("status") is None
    assert query.positive("page", 7) == 7
    assert query.one_of("window", ("day",), {}) is None
    assert query.instant_ms("at", 5, {}) == 5
    assert query.to_depth("depth", 2) == "page=1&per_page=1&depth=2"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", 2),
        ("0", 1),
        ("-3", 7),
        ("abc", 7),
        ("1e3", 1),
        ("2abc", 2),
        ("000000000002", 2),
        ("1000000000", 999_999_999),
        pytest.param("9" * 5000, 999_999_999, id="more digits than Python reads"),
    ],
)
def test_a_number_of_many_digits_is_large_and_not_absent(text: str, expected: int) -> None:
    assert Query(f"page={text}").positive("page", 7) == expected


def test_lists_are_written_both_ways() -> None:
    raw = "status%5B%5D=active&status[]=pending&status=canceled"
    assert Query(raw).texts("status") == ["active", "pending", "canceled"]


@pytest.mark.parametrize(
    ("page", "per_page", "total", "expected"),
    [
        pytest.param(1, 1, 2, (1, 2, None, 2, 2), id="first-of-two"),
        pytest.param(2, 1, 2, (2, None, 1, 2, 2), id="last"),
        pytest.param(3, 10, 0, (0, None, None, 0, 0), id="nothing"),
        pytest.param(5, 10, 7, (5, None, 4, 1, 7), id="beyond"),
        pytest.param(1, 100, 100, (1, None, None, 1, 100), id="exactly-full"),
    ],
)
def test_meta(page: int, per_page: int, total: int, expected: tuple[Any, ...]) -> None:
    names = ("current_page", "next_page", "prev_page", "total_pages", "total_count")
    assert PageRequest(page, per_page).meta(total) == dict(zip(names, expected, strict=True))


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", (1, 100)),
        ("page=2&per_page=5", (2, 5)),
        ("page=0&per_page=0", (1, 1)),
        ("page=-1&per_page=x", (1, 100)),
        ("page=%C2%B2", (1, 100)),
        ("page=99999999999999999999&per_page=99999999999999999999", (999_999_999, 1000)),
    ],
)
def test_pages_asked_for(raw: str, expected: tuple[int, int]) -> None:
    page = PageRequest.of(Query(raw))
    assert (page.page, page.per_page) == expected


def test_listing_shows_one_page() -> None:
    made = {"d": 5, "b": 4, "c": 4, "a": 4, "e": 3}
    customers = [
        Customer(id=name, organization_id="o", external_id=name, created_at_ms=at, updated_at_ms=at)
        for name, at in made.items()
    ]
    items = [*customers[:2], None, *customers[2:]]
    pages = [
        drained(listing("items", items, PageRequest(number, 2), lambda customer: customer.id))
        for number in (1, 2, 3)
    ]
    assert [page["items"] for page in pages] == [["d", "b"], ["c", "a"], ["e"]]
    assert {page["meta"]["total_count"] for page in pages} == {5}


@pytest.mark.parametrize(
    ("method", "path", "pattern", "parameters"),
    [
        ("GET", "/api/v1/billable_metrics", "/api/v1/billable_metrics", {}),
        ("GET", "/api/v1/billable_metrics/", "/api/v1/billable_metrics", {}),
        (
            "GET",
            "/api/v1/billable_metrics/a.b%2Fc",
            "/api/v1/billable_metrics/{code}",
            {"code": "a.b/c"},
        ),
        ("GET", "/api/v1/events/a/b", "/api/v1/events/{transaction_id}", {"transaction_id": "a/b"}),
        ("GET", "/api/v1/events/a%2F", "/api/v1/events/{transaction_id}", {"transaction_id": "a/"}),
        (
            "GET",
            "/api/v1/events/batch",
            "/api/v1/events/{transaction_id}",
            {"transaction_id": "batch"},
        ),
        ("POST", "/api/v1/events/batch", "/api/v1/events/batch", {}),
        (
            "GET",
            "/api/v1/customers/a%2Fcurrent_usage/current_usage",
            "/api/v1/customers/{external_id}/current_usage",
            {"external_id": "a/current_usage"},
        ),
        (
            "GET",
            "/api/v1/customers/current_usage",
            "/api/v1/customers/{external_id}",
            {"external_id": "current_usage"},
        ),
        (
            "DELETE",
            "/api/v1/subscriptions/coker.com",
            "/api/v1/subscriptions/{external_id}",
            {"external_id": "coker.com"},
        ),
        ("HEAD", "/health/live", "/health/live", {}),
        ("GET", "/api/v1/plans/%FF", "/api/v1/plans/{code}", {"code": "\N{REPLACEMENT CHARACTER}"}),
    ],
)
def test_routes(method: str, path: str, pattern: str, parameters: dict[str, str]) -> None:
    endpoint, found = Router(ENDPOINTS).find(method, path)
    assert (endpoint.path, found) == (pattern, parameters)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "resource_not_found"),
        ("GET", "/api/v1", 404, "resource_not_found"),
        ("GET", "/api/v2/plans", 404, "resource_not_found"),
        ("GET", "/api/v1/plansX", 404, "resource_not_found"),
        ("DELETE", "/api/v1/plans", 405, "method_not_allowed"),
    ],
)
def test_no_route(method: str, path: str, status: int, code: str) -> None:
    with pytest.raises(ApiError) as raised:
        Router(ENDPOINTS).find(method, path)
    assert (raised.value.status, raised.value.body["code"]) == (status, code)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"{", id="cut-off"),
        pytest.param(b"NaN", id="nan"),
        pytest.param(b"\xef\xbb\xbf{}", id="byte-order-mark"),
        pytest.param(b'"\xff"', id="not-utf8"),
        pytest.param(b"1e99999999999999999999", id="exponent-out-of-range"),
        pytest.param(b"9" * 5000, id="integer-too-long"),
        pytest.param(b"[" * 18 + b"]" * 18, id="too-deep"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000, id="far-too-deep"),
    ],
)
def test_what_is_no_json_is_a_400(body: bytes) -> None:
    with pytest.raises(ApiError) as raised:
        json_text.decode(body)
    assert raised.value.status == 400


def test_numbers_stay_as_spelled() -> None:
    body = b'{"a":0.10,"b":1e6,"c":12345678901234567890123.5,"d":123456789012345678901234}'
    assert json_text.encode(json_text.decode(body)) == body
    assert json_text.decode(b"[" * 17 + b"]" * 17) is not None
