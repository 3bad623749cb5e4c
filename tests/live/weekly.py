"""One metric of gigabytes, on a weekly plan."""

from __future__ import annotations

import time
from typing import Any

from tests.world import bodies
from tests.world.live.api import Api


async def define(api: Api, **metric: Any) -> None:
    """GB, and a plan of them."""
    body = {**bodies.metric("gb", "sum_agg", field_name="gb"), **metric}
    await api.post("/billable_metrics", {"billable_metric": body})
    plan = bodies.plan(
        "weekly", [{"billable_metric_code": "gb", "charge_model": "standard"}], interval="weekly"
    )
    await api.post("/plans", {"plan": plan})


async def subscribe(api: Api, name: str, since_s: float, customer: str = "c") -> None:
    """A subscription to the plan."""
    body = {
        "external_customer_id": customer,
        "plan_code": "weekly",
        "external_id": name,
        "billing_time": "anniversary",
        "subscription_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since_s)),
    }
    await api.post("/subscriptions", {"subscription": body})
