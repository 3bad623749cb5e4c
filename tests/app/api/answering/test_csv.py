"""CSV of past usage, explained events and series: who gets it, and that it has what JSON has."""

from __future__ import annotations

import csv
from typing import Any

import pytest

from tests.app.api.conftest import Running
from tests.app.page.site import defined, send_event

ASKED = "external_subscription_id=sub_1&billable_metric_code=storage"
PAST = f"/api/v1/customers/acme/past_usage?{ASKED}"
EXPLAIN = f"/api/v1/customers/acme/usage/explain?{ASKED}"
SERIES = f"/api/v1/customers/acme/usage/series?{ASKED}&window=month"


@pytest.fixture
async def used(api: Running) -> Running:
    await defined(api)
    gb = {"gb": "1.50", "region": "eu"}
    for number in range(3):
        await send_event(api, "sub_1", "storage", transaction_id=f"t{number}", properties=gb)
    event = {
        "transaction_id": "february",
        "external_subscription_id": "sub_1",
        "code": "storage",
        "timestamp": "1707300000",
        "properties": {"gb": "2.5", "region": "eu"},
    }
    await api.must("POST", "/api/v1/events", {"event": event})
    return api


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


async def both(api: Running, path: str) -> tuple[list[dict[str, str]], Any]:
    """Rows of the CSV, and the JSON."""
    answer = await api.call("GET", f"{path}&format=csv", key="reader")
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/csv; charset=utf-8")
    return rows_of(answer.text), (await api.call("GET", path)).body


async def test_past_usage_has_a_row_for_each_cell(used: Running) -> None:
    rows, answer = await both(used, PAST)
    periods = answer["usage_periods"]
    assert [row["units"] for row in rows if row["filters"] == "region=eu"] == ["2.5"]
    shown = [
        (period["from_datetime"], charge["billable_metric"]["code"], bucket["units"])
        for period in periods
        for charge in period["charges_usage"]
        for bucket in charge["filters"]
    ]
    assert shown == [
        (row["from_datetime"], row["billable_metric_code"], row["units"]) for row in rows
    ]


async def test_explained_events_have_a_row_for_each_charge(used: Running) -> None:
    rows, answer = await both(used, EXPLAIN)
    events = answer["explanation"]["events"]
    assert [row["transaction_id"] for row in rows] == [one["transaction_id"] for one in events]
    assert {row["status"] for row in rows} == {"counted"}
    assert [row["position"] for row in rows] == [f"0:{number}:0" for number in range(4)]


async def test_series_have_a_row_for_each_window(used: Running) -> None:
    rows, answer = await both(used, SERIES)
    (charge,) = answer["usage_series"]["charges"]
    assert [(row["from"], row["units"]) for row in rows] == [
        (value["from"], value["units"]) for value in charge["values"]
    ]


async def test_csv_says_which_page_comes_next(used: Running) -> None:
    seen: list[str] = []
    number: str | None = "1"
    while number is not None:
        path = f"{EXPLAIN}&format=csv&per_page=2&page={number}"
        answer = await used.call("GET", path)
        seen += [row["transaction_id"] for row in rows_of(answer.text)]
        number = answer.headers.get("Meter-Next-Page")
    assert seen == ["t0", "t1", "t2", "february"]


@pytest.mark.parametrize(
    ("accept", "query", "is_csv"),
    [
        ("text/csv", "", True),
        ("text/csv;q=0.9, application/json;q=0.1", "", True),
        ("application/json, text/csv", "", False),
        ("text/html, */*", "", False),
        ("text/csv;q=none", "", False),
        ("text/csv", "&format=json", False),
        ("application/json", "&format=csv", True),
    ],
)
@pytest.mark.parametrize("path", [PAST, EXPLAIN, SERIES, f"/api/v1/usage_records?{ASKED}"])
async def test_format_decides_before_accept(
    used: Running, path: str, accept: str, query: str, is_csv: bool
) -> None:
    answer = await used.call("GET", path + query, headers={"Accept": accept})
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/csv") is is_csv


@pytest.mark.parametrize("path", [PAST, EXPLAIN, SERIES])
async def test_a_format_that_there_is_not_is_named(used: Running, path: str) -> None:
    answer = await used.call("GET", f"{path}&format=parquet")
    assert (answer.status, list(answer.body["error_details"])) == (422, ["format"])
