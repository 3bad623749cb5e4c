"""Current usage in other groups on real servers: from cells, and from events read again."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.world import bodies
from tests.world.live.api import Api, Json
from tests.world.waiting import PATIENCE_S

pytestmark = pytest.mark.servers

USAGE = "/customers/customer/current_usage?external_subscription_id=sub"
SENT: list[Json] = [
    {"user": "ann", "cloud": "aws", "region": "eu", "gb": 3},
    {"user": "bob", "cloud": "aws", "region": "us", "gb": -5},
    {"user": "ann", "cloud": "gcp", "region": "eu", "gb": 4},
    {"user": "eve", "cloud": "gcp", "region": "us", "gb": 1},
]


@pytest.fixture
async def told(api: Api) -> Api:
    """Users and gigabytes by cloud, all events folded."""
    charges = []
    for code, kind, field in (("users", "unique_count_agg", "user"), ("gb", "sum_agg", "gb")):
        await api.make_metric(code, kind, field_name=field)
        charges.append(bodies.charge(code, properties={"pricing_group_keys": ["cloud"]}))
    await api.make_plan("plan", charges)
    await api.subscribe("sub", "plan", "customer", subscription_at="2024-01-01T00:00:00Z")
    for code in ("users", "gb"):
        for number, properties in enumerate(SENT):
            await api.send("sub", f"{code}-{number}", code, **properties)
    async with asyncio.timeout(PATIENCE_S):
        while (await shown(api, ""))["gb"] != "5.0":
            await asyncio.sleep(0.1)
    return api


async def shown(api: Api, query: str) -> dict[str, Any]:
    """Units by metric."""
    status, answer = await api.call("GET", USAGE + query)
    assert status == 200, answer
    charges = answer["customer_usage"]["charges_usage"]
    return {charge["billable_metric"]["code"]: charge["units"] for charge in charges}


# aws comes to -2 and is shown as 0, so the groups' sum is 5; ann is in two of them.
ASKED = {
    "": {"users": "4.0", "gb": "5.0"},
    "&skip_grouping=true": {"users": "3.0", "gb": "3.0"},
    "&group[cloud]=gcp": {"users": "2.0", "gb": "5.0"},
    "&group[region]=eu": {"users": "2.0", "gb": "7.0"},
    "&group[region]=eu&skip_grouping=true": {"users": "1.0", "gb": "7.0"},
    "&group[cloud]=azure": {"users": "0.0", "gb": "0.0"},
    "&skip_grouping=true&billable_metric_code=users": {"users": "3.0"},
}


async def test_units(told: Api) -> None:
    assert {query: await shown(told, query) for query in ASKED} == ASKED


async def test_units_of_a_subscription_with_a_correction(told: Api) -> None:
    """Every event of it is read for each metric that needs its events."""
    for number in range(2):
        body = {"external_subscription_id": "sub", "operation": "cancel"}
        await told.post(
            "/events/corrections", {"correction": body | {"transaction_id": f"gb-{number}"}}
        )
    async with asyncio.timeout(PATIENCE_S):
        while (await shown(told, ""))["gb"] != "5.0" or (await shown(told, "&skip_grouping=true"))[
            "gb"
        ] != "5.0":
            await asyncio.sleep(0.1)
    assert await shown(told, "&group[region]=eu") == {"users": "2.0", "gb": "4.0"}
    assert await shown(told, "&group[region]=us") == {"users": "2.0", "gb": "1.0"}
