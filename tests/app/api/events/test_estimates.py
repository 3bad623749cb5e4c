"""`POST /events/estimate_fees`: what an event would bill at once."""

from __future__ import annotations

from typing import Any

import pytest

from app.webhooks.records import fee_json
from tests.app.api.conftest import Running
from tests.world import bodies

PATH = "/api/v1/events/estimate_fees"
EVENT = {"code": "ahead", "external_subscription_id": "s", "properties": {"gb": 5}}


async def subscribed(api: Running) -> None:
    """One charge of a sum paid in advance, one in arrears."""
    for code in ("ahead", "behind"):
        await api.make_metric(code, "sum_agg", field_name="gb")
    charges = [bodies.charge("ahead", pay_in_advance=True), bodies.charge("behind")]
    await api.make_plan("plan", charges)
    await api.subscribe("s", "plan")


async def test_a_fee_for_each_charge_paid_in_advance(api: Running) -> None:
    await subscribed(api)
    answer = await api.must("POST", PATH, {"event": EVENT})
    (fee,) = answer["fees"]
    assert (fee["item"]["code"], fee["units"], fee["amount_cents"]) == ("ahead", "1.0", 0)
    assert (fee["lago_id"], fee["created_at"], fee["pay_in_advance"]) == (None, None, True)
    assert (fee["from_date"], fee["to_date"]) == ("2024-03-15T12:00:00Z", "2024-03-31T23:59:59Z")


async def test_a_fee_has_every_field_that_a_told_one_has(api: Running) -> None:
    await subscribed(api)
    (fee,) = (await api.must("POST", PATH, {"event": EVENT}))["fees"]
    told = fee_json({}, None)
    assert fee.keys() == told.keys()
    assert fee["item"].keys() == told["item"].keys()
    customer = (await api.must("GET", "/api/v1/customers/c"))["customer"]
    assert fee["lago_customer_id"] == customer["lago_id"]


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"external_subscription_id": None}, 404, "subscription_not_found"),
        ({"external_subscription_id": "other"}, 404, "subscription_not_found"),
        ({"timestamp": "x"}, 422, {"timestamp": ["invalid_format"]}),
        ({"code": "other"}, 404, "billable_metric_not_found"),
        ({"properties": {"gb": "x"}}, 422, {"properties": ["value_is_not_valid_number"]}),
        ({"code": "behind"}, 422, {"code": ["does_not_match_an_instant_charge"]}),
    ],
)
async def test_what_is_refused(
    api: Running, change: dict[str, Any], status: int, told: Any
) -> None:
    await subscribed(api)
    answer = await api.call("POST", PATH, {"event": {**EVENT, **change}})
    assert answer.status == status
    assert told in (answer.body["code"], answer.body.get("error_details"))


async def test_a_body_without_an_event_is_refused(api: Running) -> None:
    assert (await api.call("POST", PATH, {})).status == 400
