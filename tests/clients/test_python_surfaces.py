"""lago-python-client, unchanged, against what bills beside the running period."""

from __future__ import annotations

from typing import Any

import pytest
from lago_python_client.client import Client
from lago_python_client.exceptions import LagoApiError
from lago_python_client.models import charge as charges
from lago_python_client.models import plan as plans

from tests.clients.conftest import Months
from tests.clients.test_python import (
    blocking,
    charge,
    event,
    lago,
    metric,
    plan,
    refused,
    subscribe,
)
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

overriding: Any = plans
overridden: Any = charges
"""Models as well, which the client does not list among the others."""


@pytest.fixture
def client(worker_url: str) -> Any:
    """A client of an organization of its own, for the terms of an organization hold for all."""
    return Client(api_key="surfaces-key", api_url=worker_url)


async def test_an_organization_that_was_never_changed(worker_url: str) -> None:
    """Nothing is defined of it either: the client reads it all the same."""
    client: Any = Client(api_key="unchanged-key", api_url=worker_url)
    entity = await blocking(client.billing_entities.find, "default")
    assert entity.created_at == entity.updated_at
    (listed,) = (await blocking(client.billing_entities.find_all))["billing_entities"]
    assert listed == entity


async def test_terms_of_the_organization_and_its_billing_entity(client: Any) -> None:
    terms = lago.Organization(
        default_currency="EUR",
        timezone="Europe/Paris",
        billing_configuration=lago.OrganizationBillingConfiguration(invoice_grace_period=3),
    )
    changed = await blocking(client.organizations.update, terms)
    assert changed.timezone == "Europe/Paris"
    assert changed.billing_configuration.invoice_grace_period == 3
    entity = await blocking(client.billing_entities.find, "default")
    assert (entity.timezone, entity.is_default) == ("Europe/Paris", True)
    listed = await blocking(client.billing_entities.find_all)
    assert [each.code for each in listed["billing_entities"]] == ["default"]
    named = lago.BillingEntityUpdate(name="Ours", timezone="UTC")
    assert (await blocking(client.billing_entities.update, named, "default")).timezone == "UTC"
    again = await blocking(client.customers.create, lago.Customer(external_id="in-paris"))
    assert again.applicable_timezone == "UTC"


async def test_webhook_endpoints(client: Any) -> None:
    wanted = lago.WebhookEndpoint(
        webhook_url="https://example.com/lago", signature_algo="hmac", event_types=["fee.created"]
    )
    made = await blocking(client.webhook_endpoints.create, wanted)
    assert (made.signature_algo, made.event_types) == ("hmac", ["fee.created"])
    found = await blocking(client.webhook_endpoints.find, made.lago_id)
    assert found.webhook_url == "https://example.com/lago"
    moved = lago.WebhookEndpoint(webhook_url="https://example.com/moved")
    changed = await blocking(client.webhook_endpoints.update, moved, made.lago_id)
    assert changed.webhook_url == "https://example.com/moved"
    listed = await blocking(client.webhook_endpoints.find_all)
    assert [each.lago_id for each in listed["webhook_endpoints"]] == [made.lago_id]
    assert (await blocking(client.webhook_endpoints.destroy, made.lago_id)).lago_id == made.lago_id
    status, body = await refused(client.webhook_endpoints.find, made.lago_id)
    assert (status, body["code"]) == (404, "webhook_endpoint_not_found")


async def test_projected_usage(client: Any) -> None:
    calls = await metric(client, "projected-calls", "count_agg")
    await plan(client, "projected", charge(calls))
    await subscribe(client, "projected", "projected")
    await blocking(client.events.create, event("p1", "projected", "projected-calls", None))

    async def projected() -> tuple[str, bool]:
        answer = await blocking(
            client.customers.projected_usage, "customer-projected", "projected", apply_taxes="False"
        )
        (shown,) = answer.charges_usage
        return shown.units, float(shown.projected_units) >= 1

    await eventually(projected, ("1.0", True))


async def test_overrides_and_charges_of_a_subscription(client: Any) -> None:
    regions = lago.BillableMetricFilters(
        __root__=[lago.BillableMetricFilter(key="region", values=["eu", "us"])]
    )
    calls = await metric(client, "own-calls", "count_agg", filters=regions)
    whole = await plan(client, "own", charge(calls))
    (parent,) = whole.charges.__root__
    overrides = overriding.PlanOverrides(
        amount_cents=700,
        charges=overridden.ChargesOverrides(
            __root__=[
                overridden.ChargeOverrides(
                    id=parent.lago_id, properties={"amount": "5", "pricing_group_keys": ["team"]}
                )
            ]
        ),
    )
    made = await subscribe(client, "own", "own", plan_overrides=overrides)
    assert made.plan_code == "own"
    own = await blocking(client.subscription_charges.find, "own", parent.code)
    assert own.lago_id != parent.lago_id
    assert own.properties["pricing_group_keys"] == ["team"]

    await blocking(client.events.create, event("o1", "own", "own-calls", None, team="a"))

    async def grouped() -> list[Any]:
        usage = await blocking(client.customers.current_usage, "customer-own", "own")
        (shown,) = usage.charges_usage
        return [each.grouped_by for each in shown.grouped_usage]

    await eventually(grouped, [{"team": "a"}])

    europe = lago.ChargeFilter(values={"region": ["eu"]}, properties={"amount": "3"})
    added = await blocking(client.subscriptions.create_charge_filter, "own", parent.code, europe)
    assert added.values == {"region": ["eu"]}
    status, body = await refused(
        client.subscriptions.create_charge_filter, "own", parent.code, europe
    )
    assert (status, body["error_details"]) == (422, {"values": ["value_already_exists"]})
    gone = await blocking(
        client.subscriptions.destroy_charge_filter, "own", parent.code, added.lago_id
    )
    assert gone.lago_id == added.lago_id
    renamed = lago.Charge(invoice_display_name="Ours")
    changed = await blocking(client.subscription_charges.update, "own", parent.code, renamed)
    assert changed.invoice_display_name == "Ours"
    assert (await blocking(client.plans.find, "own")).lago_id == whole.lago_id


async def test_alerts_of_a_subscription(client: Any) -> None:
    calls = await metric(client, "watched-calls", "count_agg")
    await plan(client, "watched", charge(calls))
    await subscribe(client, "watched", "watched")
    wanted = lago.Alert(
        alert_type="billable_metric_current_usage_units",
        code="many",
        name="Many calls",
        billable_metric_code="watched-calls",
        thresholds=lago.AlertThresholdList(
            __root__=[
                lago.AlertThreshold(code="warn", value="10", recurring=False),
                lago.AlertThreshold(code="more", value="5", recurring=True),
            ]
        ),
    )
    listed = await blocking(
        client.subscriptions.create_alerts, "watched", lago.AlertsList(alerts=[wanted])
    )
    (made,) = listed["alerts"]
    assert (made.code, made.direction) == ("many", "increasing")
    assert made.billable_metric.code == "watched-calls"
    await blocking(client.subscriptions.delete_alerts, "watched")


async def test_fees_of_an_event_before_it_comes(client: Any) -> None:
    calls = await metric(client, "instant-calls", "count_agg")
    instant = charge(calls)
    instant.pay_in_advance = True
    await plan(client, "instant", instant)
    await subscribe(client, "instant", "instant")
    asked = event("not kept", "instant", "instant-calls", None)
    answer = await blocking(client.events.estimate_fees, asked)
    (fee,) = answer["fees"]
    assert (fee.units, fee.pay_in_advance) == ("1.0", True)
    assert fee.event_transaction_id == "not kept"


async def test_usage_by_day(client: Any) -> None:
    """No day has passed here; `tests/live/test_daily.py` asks for days that have."""
    assert (await blocking(client.usages.find_all))["usages"] == []
    status, body = await refused(client.usages.find_all, {"from_date": "no day"})
    assert (status, body["error_details"]) == (422, {"from_date": ["invalid_date"]})


async def test_usage_over_all_periods(client: Any, months: Months) -> None:
    calls = await metric(client, "monthly-calls", "count_agg")
    await plan(client, "monthly", charge(calls))
    await subscribe(client, "monthly", "monthly", subscription_at=months.previous.isoformat())
    for name, at in (("m1", int(months.within_previous.timestamp())), ("m2", None)):
        await blocking(client.events.create, event(name, "monthly", "monthly-calls", at))

    async def whole(**more: Any) -> str:
        usage = await blocking(
            client.customers.current_usage, "customer-monthly", "monthly", full_usage=True, **more
        )
        (shown,) = usage.charges_usage
        return str(shown.units)

    async def whole_month() -> str:
        return await whole(billable_metric_code="monthly-calls")

    await eventually(whole_month, "2.0")
    with pytest.raises(LagoApiError) as error:
        await whole()
    assert error.value.status_code == 405


async def test_filters_of_a_charge_of_a_subscription(client: Any) -> None:
    regions = lago.BillableMetricFilters(
        __root__=[lago.BillableMetricFilter(key="region", values=["eu", "us"])]
    )
    calls = await metric(client, "filtered-calls", "count_agg", filters=regions)
    (parent,) = (await plan(client, "filtered", charge(calls))).charges.__root__
    await subscribe(client, "filtered", "filtered")
    names, ours = ("filtered", parent.code), client.subscriptions
    europe = lago.ChargeFilter(values={"region": ["eu"]}, properties={"amount": "3"})
    added = await blocking(ours.create_charge_filter, *names, europe)
    changed = lago.ChargeFilter(values={"region": ["eu"]}, properties={"amount": "4"})
    updated = await blocking(ours.update_charge_filter, *names, added.lago_id, changed)
    assert updated.properties == {"amount": "4"}
    assert await blocking(ours.find_charge_filter, *names, added.lago_id) == updated
    listed = await blocking(ours.find_all_charge_filters, *names)
    assert [each.lago_id for each in listed["filters"]] == [added.lago_id]


async def test_a_termination_that_bills_nothing(client: Any) -> None:
    calls = await metric(client, "skipped-calls", "count_agg")
    await plan(client, "skipped", charge(calls))
    await subscribe(client, "skipped", "skipped")
    ended = await blocking(
        client.subscriptions.destroy, "skipped", {"on_termination_invoice": "skip"}
    )
    assert (ended.status, ended.on_termination_invoice) == ("terminated", "skip")


async def test_no_public_key_is_told_where_there_is_none(client: Any) -> None:
    assert (await refused(client.webhooks.public_key))[0] == 404
