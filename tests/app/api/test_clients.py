"""What exists already works unchanged: the seed's requests and Lago's Python client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from lago_python_client import models
from lago_python_client.client import Client
from lago_python_client.exceptions import LagoApiError

from tests.app.api.conftest import Running
from tests.world.seeds import metric_bodies

lago: Any = models
"""The client's models, whose optional fields their types call mandatory."""


@pytest.mark.parametrize(
    "body", [pytest.param(body, id=body["billable_metric"]["code"]) for body in metric_bodies()]
)
async def test_the_seeds_requests(api: Running, body: dict[str, Any]) -> None:
    sent = body["billable_metric"]
    made = (await api.must("POST", "/api/v1/billable_metrics", body))["billable_metric"]
    for key in ("name", "code", "description", "aggregation_type", "field_name", "recurring"):
        assert made[key] == sent[key]
    group = sent.get("group")
    filters = [{"key": group["key"], "values": sorted(group["value"])}] if group else []
    assert made["filters"] == filters
    assert "group" not in made


@pytest.fixture
def client(api: Running) -> Any:
    return Client(api_key="full", api_url=api.base_url)


async def blocking(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The client blocks, the server needs this loop."""
    return await asyncio.to_thread(call, *arguments, **named)


async def subscribe(client: Any) -> None:
    metric = await blocking(
        client.billable_metrics.create,
        lago.BillableMetric(
            name="Storage", code="storage", aggregation_type="sum_agg", field_name="gb"
        ),
    )
    charge = lago.Charge(
        billable_metric_id=metric.lago_id,
        charge_model="standard",
        properties={"amount": "0.1", "pricing_group_keys": ["cloud"]},
    )
    await blocking(
        client.plans.create,
        lago.Plan(
            name="P",
            code="p",
            interval="monthly",
            amount_cents=1,
            amount_currency="EUR",
            pay_in_advance=False,
            charges=lago.Charges(__root__=[charge]),
        ),
    )
    await blocking(client.customers.create, lago.Customer(external_id="c"))
    await blocking(
        client.subscriptions.create,
        lago.Subscription(plan_code="p", external_customer_id="c", external_id="s"),
    )


async def test_objects(client: Any) -> None:
    await subscribe(client)
    found = await blocking(client.billable_metrics.find, "storage")
    assert (found.code, found.field_name) == ("storage", "gb")
    changed = await blocking(
        client.billable_metrics.update, lago.BillableMetric(name="Renamed"), "storage"
    )
    assert changed.name == "Renamed"
    listed = await blocking(client.billable_metrics.find_all, {"per_page": 2, "page": 1})
    assert listed["meta"]["total_count"] == 1
    assert (await blocking(client.plans.find, "p")).charges.__root__[0].charge_model == "standard"
    assert (await blocking(client.customers.find, "c")).external_id == "c"
    assert (await blocking(client.subscriptions.find, "s")).external_id == "s"
    query = {"status[]": ["active", "pending"]}
    assert (await blocking(client.subscriptions.find_all, query))["meta"]["total_count"] == 1
    assert (await blocking(client.subscriptions.lifetime_usage, "s")).lago_id
    assert (await blocking(client.subscriptions.destroy, "s")).status == "terminated"
    assert (await blocking(client.billable_metrics.destroy, "storage")).code == "storage"


async def test_events_and_usage(client: Any) -> None:
    await subscribe(client)
    event = lago.Event(
        transaction_id="a/b?c",
        external_subscription_id="s",
        code="storage",
        timestamp=None,
        precise_total_amount_cents=None,
        properties={"gb": 1.5, "cloud": "aws"},
    )
    await blocking(client.events.create, event)
    assert (await blocking(client.events.find, "a/b?c")).transaction_id == "a/b?c"
    more = lago.Event(
        transaction_id="t2",
        external_subscription_id="s",
        code="storage",
        timestamp=1_710_504_000,
        precise_total_amount_cents=None,
        properties={"gb": "2", "cloud": "gcp"},
    )
    await blocking(client.events.batch_create, lago.BatchEvent(events=[more]))
    usage = await blocking(client.customers.current_usage, "c", "s", apply_taxes="False")
    (charge,) = usage.charges_usage
    assert (charge.units, charge.events_count) == ("3.5", 2)
    assert [group.grouped_by for group in charge.grouped_usage] == [
        {"cloud": "aws"},
        {"cloud": "gcp"},
    ]
    past = await blocking(client.customers.past_usage, "c", "s", {"periods_count": 2})
    assert past["usage_periods"] == []


async def test_errors_reach_the_client(client: Any) -> None:
    with pytest.raises(LagoApiError) as raised:
        await blocking(client.billable_metrics.find, "none")
    assert raised.value.status_code == 404
    assert raised.value.response["code"] == "billable_metric_not_found"
