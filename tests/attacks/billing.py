"""What attackers and the neighbour define: a metric, a plan that charges for it, a subscription."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tests.world.live.api import Json


def bodies(
    code: str,
    customer: str,
    external_id: str,
    metric: Mapping[str, object] = MappingProxyType({"aggregation_type": "count_agg"}),
    properties: Mapping[str, object] = MappingProxyType({}),
) -> Iterator[tuple[str, Json]]:
    """Path and body of each, in order; `properties` are those of the charge."""
    yield "/billable_metrics", {"billable_metric": {"name": code, "code": code, **metric}}
    charge = {
        "billable_metric_code": code,
        "charge_model": "standard",
        "properties": {"amount": "1", **properties},
    }
    plan = {
        "name": code,
        "code": code,
        "interval": "monthly",
        "amount_cents": 0,
        "amount_currency": "EUR",
        "pay_in_advance": False,
        "charges": [charge],
    }
    yield "/plans", {"plan": plan}
    yield subscription(code, customer, external_id)


def subscription(plan_code: str, customer: str, external_id: str, **more: str) -> tuple[str, Json]:
    """Path and body."""
    body = {
        "external_customer_id": customer,
        "plan_code": plan_code,
        "external_id": external_id,
        "billing_time": "calendar",
        **more,
    }
    return "/subscriptions", {"subscription": body}
