"""full_usage on real servers: from cells, and from events read again."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.world import bodies
from tests.world.live.api import Api
from tests.world.waiting import PATIENCE_S

pytestmark = pytest.mark.servers

USAGE = "/customers/customer/current_usage?external_subscription_id=sub"
DAY_S = 86_400


async def units(api: Api, query: str) -> str:
    status, answer = await api.call("GET", USAGE + query)
    assert status == 200, answer
    (charge,) = answer["customer_usage"]["charges_usage"]
    found: str = charge["units"]
    return found


async def test_units_of_two_periods(api: Api) -> None:
    """Weekly periods: what is dated eight days ago is in another one."""
    charges = []
    for code, kind, field in (("users", "unique_count_agg", "user"), ("gb", "sum_agg", "gb")):
        await api.make_metric(code, kind, field_name=field)
        charges.append(bodies.charge(code))
    await api.make_plan("plan", charges, interval="weekly")
    await api.subscribe("sub", "plan", "customer", subscription_at="2024-01-01T00:00:00Z")
    sent = [(8, "ann", 3), (8, "bob", 1), (0, "ann", 4)]
    for code in ("users", "gb"):
        for number, (days, user, gb) in enumerate(sent):
            at_s = int(time.time()) - days * DAY_S
            await api.send("sub", f"{code}-{number}", code, at_s, user=user, gb=gb)
    async with asyncio.timeout(PATIENCE_S):
        while await units(api, "&charge_code=gb") != "4.0":
            await asyncio.sleep(0.1)
    assert await units(api, "&charge_code=users") == "1.0"
    assert await units(api, "&charge_code=gb&full_usage=true") == "8.0"
    assert await units(api, "&charge_code=users&full_usage=true") == "2.0"
    plan = (await api.call("GET", "/plans/plan"))[1]["plan"]
    kept = [
        {**charge, "id": charge["lago_id"], "properties": properties}
        for charge, properties in zip(
            plan["charges"],
            [{"amount": "1", "pricing_group_keys": ["user"]}, {"amount": "1"}],
            strict=True,
        )
    ]
    await api.call("PUT", "/plans/plan", {"plan": {"charges": kept}})
    async with asyncio.timeout(PATIENCE_S):
        while await units(api, "&charge_code=gb&full_usage=true&group[user]=ann") != "7.0":
            await asyncio.sleep(0.1)
