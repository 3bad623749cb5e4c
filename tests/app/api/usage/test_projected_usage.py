"""projected_usage by REST."""

from __future__ import annotations

import pytest

from tests.app.api.conftest import Running
from tests.world import bodies

V1 = "/api/v1"


async def test_it_is_current_usage_with_what_it_comes_to(api: Running) -> None:
    # The clock of the ledger stands on 2024-03-15T12:00Z: 15 of 31 days.
    metric = bodies.metric("m", "count_agg")
    await api.must("POST", f"{V1}/billable_metrics", {"billable_metric": metric})
    plan = bodies.plan("p", [bodies.charge()])
    await api.must("POST", f"{V1}/plans", {"plan": plan})
    subscription = {
        "external_customer_id": "c",
        "plan_code": "p",
        "external_id": "s",
        "subscription_at": "2024-01-01T00:00:00Z",
    }
    await api.must("POST", f"{V1}/subscriptions", {"subscription": subscription})
    event = {"transaction_id": "t", "external_subscription_id": "s", "code": "m"}
    await api.must("POST", f"{V1}/events", {"event": event | {"timestamp": 1_709_300_000}})
    query = "external_subscription_id=s&charge_code=m&full_usage=true"
    answer = await api.must("GET", f"{V1}/customers/c/projected_usage?{query}")
    (charge,) = answer["customer_projected_usage"]["charges_usage"]
    assert (charge["units"], charge["projected_units"]) == ("1.0", "2.07")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("customers/nobody/projected_usage?external_subscription_id=s", 404, "customer_not_found"),
        ("customers/c/projected_usage?external_subscription_id=s", 405, "no_active_subscription"),
        ("customers/c/projected_usage", 405, "no_active_subscription"),
    ],
)
async def test_its_errors_are_those_of_current_usage(
    api: Running, path: str, status: int, code: str
) -> None:
    await api.must("POST", f"{V1}/customers", {"customer": {"external_id": "c"}})
    answer = await api.call("GET", f"{V1}/{path}")
    assert (answer.status, answer.body["code"]) == (status, code)
