"""One metric of gigabytes, on a weekly plan."""

from __future__ import annotations

import time
from typing import Any

from tests.world.live.api import Api


async def define(api: Api, **metric: Any) -> None:
    """GB, and a plan of them."""
    await api.make_metric("gb", "sum_agg", field_name="gb", **metric)
    charge = {"billable_metric_code": "gb", "charge_model": "standard"}
    await api.make_plan("weekly", [charge], interval="weekly")


async def subscribe(api: Api, name: str, since_s: float, customer: str = "c") -> None:
    """A subscription to the plan."""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since_s))
    more = {"billing_time": "anniversary", "subscription_at": at}
    await api.subscribe(name, "weekly", customer, **more)
