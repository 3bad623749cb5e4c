"""`GET /usage_records`: who sees what was published, by which query, in which form."""

from __future__ import annotations

import csv
from typing import Any

import msgspec
import pytest

from app.meter.records import RecordQuery
from tests.app.api.conftest import Running
from tests.app.api.ledger import ORGANIZATION, OTHER_ORGANIZATION

PATH = "/api/v1/usage_records"


def value(number: int, organization_id: str = ORGANIZATION, name: str = "s") -> bytes:
    record: dict[str, Any] = {
        "id": f"id-{number}",
        "cell_id": f"cell-{number}",
        "type": "usage.recorded",
        "revision": 0,
        "organization_id": organization_id,
        "external_subscription_id": name,
        "units": "1.50",
    }
    return msgspec.json.encode(record)


@pytest.fixture
def records(api: Running) -> Running:
    values = [value(2), value(1), value(3, OTHER_ORGANIZATION), value(4, name="a")]
    api.meter.published.values = values
    return api


async def test_the_answer_has_the_bytes_that_were_published(records: Running) -> None:
    answer = await records.call("GET", f"{PATH}?external_subscription_id=s", key="reader")
    assert answer.status == 200
    assert answer.text.startswith(
        '{"usage_records":[' + f"{value(1).decode()},{value(2).decode()}]"
    )
    assert answer.body["meta"]["total_count"] == 2


async def test_no_organization_sees_another_s_records(records: Running) -> None:
    of_one = await records.call("GET", PATH)
    assert [one["id"] for one in of_one.body["usage_records"]] == ["id-4", "id-1", "id-2"]
    of_other = await records.call("GET", PATH, key="other")
    assert [one["id"] for one in of_other.body["usage_records"]] == ["id-3"]
    assert (await records.call("GET", PATH, key=None)).status == 401


async def test_csv_has_a_row_for_each_record(records: Running) -> None:
    answer = await records.call("GET", f"{PATH}?format=csv&per_page=2")
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(answer.text.splitlines()))
    assert [(row["id"], row["units"]) for row in rows] == [("id-4", "1.50"), ("id-1", "1.50")]


async def test_choices_reach_the_meter(records: Running) -> None:
    await records.must(
        "GET",
        f"{PATH}?external_customer_id=c&billable_metric_code=m&type=usage.instant&revisions=true"
        "&from=2026-10-01&to=2026-11-01T01:00:00Z",
    )
    (asked,) = records.meter.published.asked
    assert (asked.external_customer_id, asked.metric_code, asked.type) == (
        "c",
        "m",
        "usage.instant",
    )
    assert asked.revisions
    zurich = "Europe/Zurich"
    october_ms, november_ms, second_ms = 1_790_805_600_000, 1_793_487_600_000, 1_000
    assert asked.wants_period(october_ms, november_ms - second_ms, zurich)
    assert not asked.wants_period(october_ms - 30 * 86_400_000, october_ms - second_ms, zurich)
    assert asked.wants_period(november_ms, november_ms + 1, zurich)
    assert not asked.wants_period(1_793_494_800_000, 1_800_000_000_000, zurich)
    assert RecordQuery().wants_period(0, 1, "UTC")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("type=usage.daily", "type"),
        ("type=usage.instant", "type"),
        ("from=yesterday", "from"),
        ("to=x", "to"),
        ("format=parquet", "format"),
        ("page=999999999", "page"),
    ],
)
async def test_what_cannot_be_asked_is_named(records: Running, query: str, field: str) -> None:
    answer = await records.call("GET", f"{PATH}?{query}")
    assert (answer.status, list(answer.body["error_details"])) == (422, [field])
