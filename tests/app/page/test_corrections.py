"""Views that read events again, and the correction of an event, without a browser."""

from __future__ import annotations

from html import unescape
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest

from app.api.pages import page_events
from app.billing_periods.instants import parse_iso8601_ms
from app.meter.evidence import ExplainQuery
from app.wire.timestamps import parse_timestamp
from tests.app.api.conftest import Running
from tests.app.api.ledger import OTHER_ORGANIZATION
from tests.app.page.site import send_event

HEADERS = {"Meter-Page": "1"}
EVENT = {"subscription": "sub_1", "transaction_id": "sub_1-storage"}


async def correct(api: Running, key: str = "full", sent: Any = None, **fields: str) -> Any:
    body = urlencode({**EVENT, **fields}).encode()
    headers = HEADERS if sent is None else sent
    return await api.call("POST", "/page/events/correct", body, key=key, headers=headers)


async def test_an_event_shows_its_amendment_as_it_would_be_sent(
    closed_api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_events, "_OUTCOME_S", 0.0)
    address = "/page/view/events/sub_1-storage?subscription=sub_1"
    text = (await closed_api.call("GET", address, key="full")).text
    assert "Cancel sub_1-storage? It is taken out of all that it counted in." in text
    shown = unescape(text.partition("<textarea")[2].partition(">")[2].partition("<")[0])
    assert "12345.67890123456789012345678" in shown
    await correct(closed_api, operation="amend", event=shown)
    (sent,) = closed_api.meter.corrections
    known = (await closed_api.must("GET", "/api/v1/events/sub_1-storage"))["event"]
    amended = msgspec.json.decode(sent)["event"]
    assert parse_timestamp(amended["timestamp"]) == parse_iso8601_ms(known["timestamp"])
    assert amended["properties"] == known["properties"]
    large = {"p": "x" * 70_000}
    await send_event(closed_api, "sub_1", "storage", transaction_id="l", properties=large)
    address = "/page/view/events/l?subscription=sub_1"
    text = (await closed_api.call("GET", address, key="full")).text
    assert "<textarea" not in text
    assert "meter events amend sub_1 l" in text


async def test_what_came_of_a_correction_is_told(
    closed_api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (await correct(closed_api, operation="cancel")).text
    assert "The event is cancelled." in text
    monkeypatch.setattr(page_events, "_OUTCOME_S", 0.0)
    event = '{"code": "storage", "timestamp": 1709251200, "properties": {"gb": 1.50}}'
    text = (await correct(closed_api, operation="amend", event=event)).text
    assert "The correction is in the log. What came of it is not known yet" in text
    sent = [msgspec.json.decode(value) for value in closed_api.meter.corrections]
    assert [each["operation"] for each in sent] == ["cancel", "amend"]
    assert b'"gb": 1.50' in closed_api.meter.corrections[1]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"operation": "amend", "event": "{"}, "event: no JSON object"),
        ({"operation": "amend", "event": "[]"}, "event: no JSON object"),
        ({"operation": "amend", "event": "{}"}, "code: value is mandatory"),
        ({"operation": "merge"}, "operation: value is invalid"),
        ({"operation": "cancel", "transaction_id": ""}, "transaction_id: value is mandatory"),
    ],
)
async def test_what_is_no_correction_is_not_sent(
    closed_api: Running, fields: dict[str, str], told: str
) -> None:
    text = (await correct(closed_api, **fields)).text
    assert "Nothing was sent." in text
    assert told in text
    assert closed_api.meter.corrections == []


async def test_only_who_may_write_corrects(
    closed_api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_events, "_OUTCOME_S", 0.0)
    assert (await correct(closed_api, sent={}, operation="cancel")).status == 403
    assert (await correct(closed_api, "reader", operation="cancel")).status == 403
    assert closed_api.meter.corrections == []
    assert (await correct(closed_api, "other", operation="cancel")).status == 200
    (sent,) = closed_api.meter.corrections
    assert msgspec.json.decode(sent)["organization_id"] == OTHER_ORGANIZATION


async def test_a_view_that_reads_events_again_is_made_at_no_tick(
    closed_api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain, asked = closed_api.meter.explain, list[ExplainQuery]()

    async def counted(organization_id: str, query: ExplainQuery) -> Any:
        asked.append(query)
        return await explain(organization_id, query)

    monkeypatch.setattr(closed_api.meter, "explain", counted)
    address = "/page/view/subscriptions/sub_1/explain/storage"
    first = await closed_api.call("GET", address, key="full")
    assert "Read up to " in first.text
    held = {"HX-PTag": first.headers["HX-PTag"]}
    for _ in range(3):
        assert (await closed_api.call("GET", address, key="full", headers=held)).status == 304
    assert len(asked) == 1
    for changed in ("?status=counted", "?page=1"):
        answer = await closed_api.call("GET", address + changed, key="full", headers=held)
        assert answer.status == 200
    assert (await closed_api.call("GET", address, key=None, headers=held)).status == 401
    other = await closed_api.call("GET", address, key="other", headers=held)
    assert other.status == 404


async def test_an_explanation_of_what_nobody_defined_says_so(closed_api: Running) -> None:
    address = "/page/view/subscriptions/sub_1/explain/nope"
    answer = await closed_api.call("GET", address, key="full")
    assert answer.status == 404
    assert "There is no metric of this code." in answer.text
