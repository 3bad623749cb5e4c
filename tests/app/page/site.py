"""A worker's API with something to look at, over the ledger."""

from __future__ import annotations

from aiohttp import ClientSession

from app.meter.overview import ClosingView, DeadLetterView, RecordView
from tests.app.api.conftest import NOW_MS, Running, start
from tests.app.api.ledger import ORGANIZATION
from tests.world import bodies

LONG = "12345.67890123456789012345678"
REVISION = {
    "id": "id-1",
    "cell_id": "cell-1",
    "type": "usage.revised",
    "revision": 1,
    "organization_id": ORGANIZATION,
    "external_subscription_id": "sub_1",
    "units": "55.75",
    "delta_units": "5.0",
    "revision_reason": "late_events",
    "closed_at": "2024-03-01T07:00:00.000Z",
    "events_count": 37,
    "charge": {"code": "storage"},
    "billable_metric": {"code": "storage"},
    "period": {"from": "2024-02-01T00:00:00Z"},
}
"""A record that a closed period was revised by."""


async def send_event(
    api: Running,
    subscription: str,
    code: str,
    key: str = "full",
    *,
    properties: dict[str, str] | None = None,
    transaction_id: str = "",
) -> None:
    event = {
        "transaction_id": transaction_id or f"{subscription}-{code}",
        "external_subscription_id": subscription,
        "code": code,
        "properties": properties or {},
    }
    answer = await api.call("POST", "/api/v1/events", {"event": event}, key=key)
    assert answer.status == 200


def letter(offset: int, value: str, organization_id: str | None = ORGANIZATION) -> DeadLetterView:
    return DeadLetterView(
        organization_id=organization_id,
        partition=0,
        offset=offset,
        code="invalid_timestamp",
        message="timestamp 'noon' is no time",
        failed_at_ms=NOW_MS,
        source="events-raw/0/17",
        value=value,
    )


async def filled(session: ClientSession, *, open_page: bool) -> Running:
    """A worker that two organizations use, one of them with a plan that groups and filters."""
    api = await start(session, open_page=open_page)
    await defined(api)
    await send_event(api, "sub_1", "storage", properties={"gb": LONG, "region": "eu"})
    await send_event(api, "sub_2", "<img src=x onerror=alert(1)>")
    await send_event(api, "sub_9", "private", key="other")
    api.meter.closing.append(
        ClosingView(
            partition=0,
            cut_ms=NOW_MS,
            blocked_by="partition 3 has not reached the cut",
            since_ms=NOW_MS - 90_000,
        )
    )
    api.meter.records.append(
        RecordView(
            organization_id=ORGANIZATION,
            external_subscription_id="sub_1",
            type="usage.recorded",
            billable_metric_code="storage",
            revision=0,
            units="12.5",
            from_datetime="2024-02-01T00:00:00Z",
            closed_at="2024-03-01T00:00:00.000Z",
            id="r",
        )
    )
    api.meter.letters.append(letter(5, "{}"))
    return api


async def defined(api: Running) -> None:
    """Define a metric, a plan, a customer in Tokyo and its subscription."""
    regions = [{"key": "region", "values": ["eu", "us"]}]
    await api.make_metric("storage", "sum_agg", field_name="gb", filters=regions)
    european = {"values": {"region": ["eu"]}, "properties": {"amount": "1"}}
    await api.make_plan("pro", [bodies.charge("storage", filters=[european])])
    await api.post("/customers", {"customer": {"external_id": "acme", "timezone": "Asia/Tokyo"}})
    await api.subscribe("sub_1", "pro", "acme", subscription_at="2023-11-01T00:00:00Z")
