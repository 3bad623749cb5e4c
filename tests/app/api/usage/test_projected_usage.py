"""projected_usage by REST."""

from __future__ import annotations

import pytest

from tests.app.api.conftest import Running
from tests.world import bodies

V1 = "/api/v1"


async def test_it_is_current_usage_with_what_it_comes_to(api: Running) -> None:
    # The clock of the ledger stands on 2024-03-15T12:00Z: 15 of 31 days.
    await api.make_metric("m", "count_agg")
    await api.make_plan("p", [bodies.charge()])
    await api.subscribe("s", "p", subscription_at="2024-01-01T00:00:00Z")
    await api.send("s", "t", "m", 1_709_300_000)
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
