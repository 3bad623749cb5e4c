"""What attackers and the neighbour define: a metric, a plan that charges for it, a subscription."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from tests.world import bodies
from tests.world.live.api import Json


def requests(
    code: str,
    customer: str,
    external_id: str,
    metric: Mapping[str, object] = MappingProxyType({"aggregation_type": "count_agg"}),
    properties: Mapping[str, object] = MappingProxyType({}),
) -> Iterator[tuple[str, Json]]:
    """Path and body of each, in order; `properties` are those of the charge."""
    yield "/billable_metrics", {"billable_metric": {"name": code, "code": code, **metric}}
    charge = bodies.charge(code, properties=properties)
    yield "/plans", {"plan": bodies.plan(code, [charge])}
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
