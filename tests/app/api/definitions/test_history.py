"""`POST /history` and `POST /preview`: what is appended, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from app.api.schemas.operations import PreviewLine
from app.billing_periods.instants import parse_iso8601_ms
from app.definitions.model import HistoryRecord
from tests.app.api.conftest import Running
from tests.app.api.ledger import ORGANIZATION

HISTORY = "/api/v1/history"
PREVIEW = "/api/v1/preview"
METRIC = {"name": "Storage", "code": "storage", "aggregation_type": "sum_agg", "field_name": "gb"}


async def storage(api: Running) -> str:
    """Id of a metric."""
    answer = await api.must("POST", "/api/v1/billable_metrics", {"billable_metric": METRIC})
    return str(answer["billable_metric"]["lago_id"])


async def test_a_history_record_is_appended(api: Running) -> None:
    metric_id = await storage(api)
    given = {"from": "2024-01-01", "to": "2024-03-01T00:00:00Z", "charge_ids": ["c"]}
    answer = await api.must(
        "POST", HISTORY, {"history": {"billable_metric_codes": ["storage"], **given}}
    )
    (record,) = api.meter.definitions.history_records
    assert record == HistoryRecord(
        organization_id=ORGANIZATION,
        metric_ids=(metric_id,),
        charge_ids=("c",),
        from_ms=parse_iso8601_ms("2024-01-01") or 0,
        to_ms=parse_iso8601_ms("2024-03-01") or 0,
        append_time_ms=record.append_time_ms,
        offset=record.offset,
    )
    assert answer["history"] == {
        "billable_metric_ids": [metric_id],
        "charge_ids": ["c"],
        "from": "2024-01-01T00:00:00.000Z",
        "to": "2024-03-01T00:00:00.000Z",
        "definitions_offset": record.offset,
    }


async def test_without_a_range_it_is_about_everything_until_now(api: Running) -> None:
    await storage(api)
    await api.must("POST", HISTORY, {"history": {"billable_metric_codes": ["storage"]}})
    (record,) = api.meter.definitions.history_records
    assert (record.from_ms, record.to_ms) == (0, api.meter.now_ms())


@pytest.mark.parametrize(
    ("history", "status", "said"),
    [
        ({"billable_metric_codes": ["none"]}, 404, "billable_metric_not_found"),
        ({"charge_ids": []}, 422, {"history": ["value_is_invalid"]}),
        ({"charge_ids": "c"}, 422, {"charge_ids": ["value_is_invalid"]}),
        ({"charge_ids": [1]}, 422, {"charge_ids": ["value_is_invalid"]}),
        ({"billable_metric_codes": {}}, 422, {"billable_metric_codes": ["value_is_invalid"]}),
        ({"charge_ids": ["c"], "from": "soon"}, 422, {"from": ["value_is_invalid"]}),
        ({"charge_ids": ["c"], "to": 5}, 422, {"to": ["value_is_invalid"]}),
        (
            {"charge_ids": ["c"], "from": "2024-03-01", "to": "2024-03-01"},
            422,
            {"history": ["value_is_invalid"]},
        ),
    ],
    ids=str,
)
async def test_what_cannot_be_is_refused(
    api: Running, history: dict[str, Any], status: int, said: object
) -> None:
    answer = await api.call("POST", HISTORY, {"history": history})
    assert answer.status == status
    assert said in (answer.body["code"], answer.body.get("error_details"))
    assert api.meter.definitions.history_records == []


async def test_a_preview_reports_line_by_line_and_defines_nothing(api: Running) -> None:
    await storage(api)
    offset = api.meter.definitions.offset
    changed = {"billable_metric": {**METRIC, "filters": [{"key": "r", "values": ["eu"]}]}}
    plan = {"plan": {"name": "p", "code": "p", "interval": "monthly", "amount_cents": 0}}
    body = {"changes": [changed, {"plan": {**plan["plan"], **PRICED}}], "from": "2024-01-01"}
    async with api.session.post(
        api.base_url + PREVIEW, json=body, headers={"Authorization": f"Bearer {api.key}"}
    ) as answer:
        assert answer.status == 200
        first, *reports = [json.loads(line) for line in (await answer.text()).splitlines()]
    assert first == {"peers": []}
    assert reports[-1]["done"]
    for line in (first, *reports):
        PreviewLine.model_validate(line)
    assert api.meter.definitions.offset == offset


PRICED = {"amount_currency": "EUR", "pay_in_advance": False}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, {"changes": ["value_is_invalid"]}),
        ({"changes": {}}, {"changes": ["value_is_invalid"]}),
        ({"changes": [5]}, {"changes": ["value_is_invalid"]}),
        ({"changes": [{"customer": {"code": "c"}}]}, {"changes": ["value_is_invalid"]}),
        ({"changes": [{"plan": {"code": 5}}]}, {"changes": ["value_is_invalid"]}),
        ({"changes": [{"billable_metric": METRIC}], "from": []}, {"from": ["value_is_invalid"]}),
        (
            {"changes": [{"billable_metric": {**METRIC, "aggregation_type": "median"}}]},
            {"aggregation_type": ["value_is_invalid"]},
        ),
    ],
    ids=str,
)
async def test_what_cannot_be_previewed_is_refused(
    api: Running, body: dict[str, Any], said: object
) -> None:
    answer = await api.call("POST", PREVIEW, body)
    assert (answer.status, answer.body["error_details"]) == (422, said)


@pytest.mark.parametrize("path", [HISTORY, PREVIEW])
async def test_a_key_that_reads_may_do_neither(api: Running, path: str) -> None:
    answer = await api.call("POST", path, {}, key="reader")
    assert answer.status == 403
