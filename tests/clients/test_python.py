"""lago-python-client, unchanged, against a running worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from lago_python_client import models
from lago_python_client.client import Client
from lago_python_client.exceptions import LagoApiError

from tests.clients.conftest import Months
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

lago: Any = models
"""The client's models, whose optional fields their types call mandatory."""


@pytest.fixture
def client(worker_url: str) -> Any:
    return Client(api_key="python-key", api_url=worker_url)


async def blocking(call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """The client blocks, the worker needs this loop."""
    return await asyncio.to_thread(call, *arguments, **named)


async def refused(call: Callable[..., Any], *arguments: Any, **named: Any) -> tuple[int, Any]:
    """Status and body of a call that fails."""
    with pytest.raises(LagoApiError) as raised:
        await blocking(call, *arguments, **named)
    return raised.value.status_code, raised.value.response


async def metric(client: Any, code: str, aggregation_type: str, **more: Any) -> Any:
    return await blocking(
        client.billable_metrics.create,
        lago.BillableMetric(name=code, code=code, aggregation_type=aggregation_type, **more),
    )


async def plan(client: Any, code: str, *charges: Any) -> Any:
    return await blocking(
        client.plans.create,
        lago.Plan(
            name=code,
            code=code,
            interval="monthly",
            amount_cents=0,
            amount_currency="EUR",
            pay_in_advance=False,
            charges=lago.Charges(__root__=list(charges)),
        ),
    )


def charge(made: Any, *, filters: Any = None, **properties: Any) -> Any:
    return lago.Charge(
        billable_metric_id=made.lago_id,
        charge_model="standard",
        properties={"amount": "1", **properties},
        filters=filters,
    )


async def subscribe(client: Any, plan_code: str, external_id: str, **more: Any) -> Any:
    return await blocking(
        client.subscriptions.create,
        lago.Subscription(
            plan_code=plan_code,
            external_customer_id=f"customer-{external_id}",
            external_id=external_id,
            **more,
        ),
    )


def event(transaction_id: str, external_id: str, code: str, timestamp: Any, **more: Any) -> Any:
    return lago.Event(
        transaction_id=transaction_id,
        external_subscription_id=external_id,
        code=code,
        timestamp=timestamp,
        precise_total_amount_cents=None,
        properties=more,
    )


async def test_metrics(client: Any) -> None:
    made = await metric(
        client,
        "metrics-storage",
        "sum_agg",
        field_name="gb",
        filters=lago.BillableMetricFilters(
            __root__=[lago.BillableMetricFilter(key="region", values=["eu", "us"])]
        ),
    )
    found = await blocking(client.billable_metrics.find, "metrics-storage")
    assert (found.lago_id, found.field_name) == (made.lago_id, "gb")
    assert [(f.key, f.values) for f in found.filters.__root__] == [("region", ["eu", "us"])]
    changed = await blocking(
        client.billable_metrics.update, lago.BillableMetric(name="New"), "metrics-storage"
    )
    assert (changed.name, changed.field_name) == ("New", "gb")
    listed = await blocking(client.billable_metrics.find_all, {"per_page": 1, "page": 1})
    assert len(listed["billable_metrics"]) == 1
    assert listed["meta"]["current_page"] == 1
    gone = await blocking(client.billable_metrics.destroy, "metrics-storage")
    assert gone.lago_id == made.lago_id
    status, body = await refused(client.billable_metrics.find, "metrics-storage")
    assert (status, body["code"]) == (404, "billable_metric_not_found")


async def test_plans_customers_and_subscriptions(client: Any) -> None:
    calls = await metric(client, "objects-calls", "count_agg")
    made = await plan(client, "objects", charge(calls, pricing_group_keys=["zone"]))
    assert made.charges.__root__[0].billable_metric_code == "objects-calls"
    changed = await blocking(client.plans.update, lago.Plan(name="Renamed"), "objects")
    assert (changed.name, changed.interval) == ("Renamed", "monthly")
    assert (await blocking(client.plans.find, "objects")).name == "Renamed"
    plans = await blocking(client.plans.find_all)
    assert "objects" in [each.code for each in plans["plans"]]

    customer = lago.Customer(external_id="customer-objects", name="A", timezone="Europe/Paris")
    assert (await blocking(client.customers.create, customer)).name == "A"
    again = lago.Customer(external_id="customer-objects", name="B")
    assert (await blocking(client.customers.create, again)).applicable_timezone == "Europe/Paris"
    assert (await blocking(client.customers.find, "customer-objects")).name == "B"
    customers = await blocking(client.customers.find_all, {"per_page": 100})
    assert "customer-objects" in [each.external_id for each in customers["customers"]]

    subscription = await subscribe(client, "objects", "objects", billing_time="anniversary")
    assert (subscription.status, subscription.plan_code) == ("active", "objects")
    renamed = await blocking(client.subscriptions.update, lago.Subscription(name="Mine"), "objects")
    assert renamed.name == "Mine"
    pending = await subscribe(client, "objects", "later", subscription_at="2999-01-01T00:00:00Z")
    assert pending.status == "pending"
    found = await blocking(client.subscriptions.find, "later", {"status": "pending"})
    assert found.lago_id == pending.lago_id
    query = {"status[]": ["active", "pending"], "plan_code": "objects"}
    both = await blocking(client.subscriptions.find_all, query)
    assert {each.external_id for each in both["subscriptions"]} == {"objects", "later"}
    canceled = await blocking(client.subscriptions.destroy, "later", {"status": "pending"})
    assert canceled.status == "canceled"
    assert (await blocking(client.subscriptions.destroy, "objects")).status == "terminated"
    assert (await blocking(client.plans.destroy, "objects")).code == "objects"
    assert (await blocking(client.customers.destroy, "customer-objects")).name == "B"
    status, body = await refused(client.customers.find, "customer-objects")
    assert (status, body["code"]) == (404, "customer_not_found")


async def test_charges_and_filters_of_a_plan(client: Any, worker_url: str) -> None:
    regions = lago.BillableMetricFilters(
        __root__=[lago.BillableMetricFilter(key="region", values=["eu", "us"])]
    )
    calls = await metric(client, "nested-calls", "count_agg", filters=regions)
    await plan(client, "nested", charge(calls))
    charges = client.plan_charges

    made = await blocking(
        charges.create,
        "nested",
        lago.Charge(
            billable_metric_id=calls.lago_id,
            code="by region",
            charge_model="standard",
            properties={"amount": "2"},
            cascade_updates=True,
        ),
    )
    assert (made.code, made.billable_metric_code) == ("by region", "nested-calls")
    found = await blocking(charges.find, "nested", "by region")
    assert (found.lago_id, found.properties["amount"]) == (made.lago_id, "2")
    changed = await blocking(
        charges.update, "nested", "by region", lago.Charge(invoice_display_name="Shown")
    )
    assert (changed.lago_id, changed.invoice_display_name) == (made.lago_id, "Shown")

    name = ("nested", "by region")
    europe = lago.ChargeFilter(values={"region": ["eu"]}, properties={"amount": "3"})
    added = await blocking(client.plans.create_charge_filter, *name, europe)
    assert added.values == {"region": ["eu"]}
    america = lago.ChargeFilter(values={"region": ["us"]})
    await blocking(client.plans.create_charge_filter, *name, america)
    shown = await blocking(client.plans.find_charge_filter, *name, added.lago_id)
    assert shown.properties == {"amount": "3"}
    priced = lago.ChargeFilter(properties={"amount": "4"}, invoice_display_name="Europe")
    renamed = await blocking(client.plans.update_charge_filter, *name, added.lago_id, priced)
    assert (renamed.invoice_display_name, renamed.properties) == ("Europe", {"amount": "4"})
    listed = await blocking(client.plans.find_all_charge_filters, *name, {"per_page": 1})
    assert [each.lago_id for each in listed["filters"]] == [added.lago_id]
    assert listed["meta"]["total_count"] == 2
    gone = await blocking(client.plans.destroy_charge_filter, *name, added.lago_id)
    assert gone.lago_id == added.lago_id

    whole = await blocking(client.plans.find, "nested")
    (_, second) = whole.charges.__root__
    assert [each.values for each in second.filters.__root__] == [{"region": ["us"]}]
    assert (await blocking(charges.destroy, *name)).lago_id == made.lago_id
    status, body = await refused(charges.find, *name)
    assert (status, body["code"]) == (404, "charge_not_found")
    await subscribe(client, "nested", "nested")
    own = await blocking(client.subscription_charges.find, "nested", "nested-calls")
    assert own.lago_id == whole.charges.__root__[0].lago_id
    nameless = lago.Charge(billable_metric_id=calls.lago_id, charge_model="standard")
    status, body = await refused(charges.create, "nested", nameless)
    assert (status, body["error_details"]) == (422, {"code": ["value_is_mandatory"]})
    # This listing of the client sends no key.
    assert (await refused(charges.find_all, "nested"))[0] == 401


async def test_events_and_usage(client: Any, months: Months) -> None:
    gigabytes = await metric(
        client,
        "usage-gb",
        "sum_agg",
        field_name="gb",
        filters=lago.BillableMetricFilters(
            __root__=[lago.BillableMetricFilter(key="region", values=["eu", "us"])]
        ),
    )
    calls = await metric(client, "usage-calls", "count_agg")
    in_europe = lago.ChargeFilters(
        __root__=[lago.ChargeFilter(values={"region": ["eu"]}, properties={"amount": "2"})]
    )
    await plan(
        client,
        "usage",
        charge(gigabytes, filters=in_europe),
        charge(calls, pricing_group_keys=["zone"]),
    )
    await subscribe(client, "usage", "usage", subscription_at=months.previous.isoformat())
    earlier_s = int(months.within_previous.timestamp())
    created = await blocking(
        client.events.create,
        event("odd id/?x", "usage", "usage-gb", f"{earlier_s}.344", gb=1.5, region="eu"),
    )
    assert created.transaction_id == "odd id/?x"
    await blocking(
        client.events.batch_create,
        lago.BatchEvent(
            events=[
                event("b1", "usage", "usage-gb", earlier_s, gb="2", region="us"),
                event("b2", "usage", "usage-calls", None, zone="a"),
                event("b3", "usage", "usage-calls", None, zone="b"),
                event("b4", "usage", "usage-calls", None, zone="a"),
            ]
        ),
    )
    found = await blocking(client.events.find, "b1")
    assert (found.code, found.properties) == ("usage-gb", {"gb": "2", "region": "us"})

    async def by_code() -> dict[str, Any]:
        usage = await blocking(
            client.customers.current_usage, "customer-usage", "usage", apply_taxes="False"
        )
        return {each.billable_metric.code: each for each in usage.charges_usage}

    async def figures() -> dict[str, tuple[str, int]]:
        return {code: (each.units, each.events_count) for code, each in (await by_code()).items()}

    # Beside somebody with alerts a definition waits for the next grid cut.
    await eventually(figures, {"usage-gb": ("0.0", 0), "usage-calls": ("3.0", 3)})
    calls_used = (await by_code())["usage-calls"]
    groups = [(each.grouped_by, each.units) for each in calls_used.grouped_usage]
    assert groups == [({"zone": "a"}, "2.0"), ({"zone": "b"}, "1.0")]
    only = await blocking(
        client.customers.current_usage, "customer-usage", "usage", charge_code="usage-calls"
    )
    assert [each.units for each in only.charges_usage] == ["3.0"]

    past = await past_usage(client, "usage", "3.5")
    assert past.from_datetime == months.previous.strftime("%Y-%m-%dT%H:%M:%SZ")
    (storage,) = past.charges_usage
    assert [(f.values, f.units) for f in storage.filters] == [
        ({"region": ["eu"]}, "1.5"),
        (None, "2.0"),
    ]


async def past_usage(client: Any, external_id: str, units: str) -> Any:
    """The previous month, once the revision with the late events is published."""
    for _ in range(600):
        answer = await blocking(
            client.customers.past_usage,
            f"customer-{external_id}",
            external_id,
            {"periods_count": 2},
        )
        (period,) = answer["usage_periods"]
        if [each.units for each in period.charges_usage] == [units]:
            return period
        await asyncio.sleep(0.1)
    raise AssertionError(period.charges_usage)


async def test_errors(client: Any, worker_url: str) -> None:
    nameless = lago.BillableMetric(code="errors", aggregation_type="count_agg")
    status, body = await refused(client.billable_metrics.create, nameless)
    assert (status, body["code"]) == (422, "validation_errors")
    assert body["error_details"] == {"name": ["value_is_mandatory"]}

    calls = await metric(client, "errors-calls", "count_agg")
    await plan(client, "errors", charge(calls))
    await subscribe(client, "errors", "errors")
    await blocking(client.events.create, event("once", "errors", "errors-calls", None))
    again = event("once", "errors", "errors-calls", None)
    status, body = await refused(client.events.create, again)
    assert status == 422
    assert body["error_details"] == {"transaction_id": ["value_already_exist"]}
    batch = lago.BatchEvent(events=[event("new", "errors", "errors-calls", None), again])
    status, body = await refused(client.events.batch_create, batch)
    assert status == 422
    assert body["error_details"] == {"1": {"transaction_id": ["value_already_exist"]}}
    # All or nothing.
    assert (await refused(client.events.find, "new"))[0] == 404

    status, body = await refused(client.customers.current_usage, "nobody", "errors")
    assert status == 404
    await blocking(client.subscriptions.destroy, "errors")
    status, body = await refused(client.customers.current_usage, "customer-errors", "errors")
    assert (status, body["code"]) == (405, "no_active_subscription")

    stranger: Any = Client(api_key="nobody", api_url=worker_url)
    status, body = await refused(stranger.billable_metrics.find_all)
    assert (status, body["error"]) == (401, "Unauthorized")
