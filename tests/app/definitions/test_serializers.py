from typing import Any

import msgspec
import pytest
from lago_python_client.models.billable_metric import BillableMetricResponse
from lago_python_client.models.customer import CustomerResponse
from lago_python_client.models.plan import PlanResponse
from lago_python_client.models.subscription import SubscriptionResponse

from app.api.definitions.definitions_json import (
    customer_json,
    metric_json,
    plan_json,
    subscription_json,
)
from app.bounds.turns import drained
from app.definitions import commands
from tests.world.clock import ms
from tests.world.definitions_log import ORG, Log


def wire(shown: dict[str, Any]) -> Any:
    """As a client reads it."""
    return msgspec.json.decode(msgspec.json.encode(shown))


@pytest.fixture
def log() -> Log:
    """A metric, a plan on it, a customer in Paris and an active subscription."""
    log = Log("2024-01-31T01:00:00.250Z")
    log.metric(filters=[{"key": "region", "values": ["us", "eu"]}])
    charge = {
        "billable_metric_code": "storage",
        "charge_model": "standard",
        "properties": {"amount": "1", "pricing_group_keys": ["cloud"]},
        "filters": [{"values": {"region": ["eu"]}, "invoice_display_name": "Europe"}],
    }
    log.plan(charges=[charge])
    log.customer(timezone="Europe/Paris", name="Foo", metadata=[{"key": "k", "value": "v"}])
    log.subscribe(billing_time="anniversary")
    return log


def test_the_lago_client_reads_every_object(log: Log) -> None:
    defs, now_ms = log.definitions, log.now_ms
    (metric,), (plan,), (customer,) = defs.metrics(ORG), defs.plans(ORG), defs.customers(ORG)
    subscription = defs.current_subscription(ORG, "sub_1", now_ms)
    assert subscription is not None
    BillableMetricResponse.parse_obj(wire(metric_json(defs, metric, now_ms)))
    read = PlanResponse.parse_obj(wire(drained(plan_json(defs, plan, now_ms)))).dict()
    (charge,) = read["charges"]
    assert charge["filters"][0]["values"] == {"region": ["eu"]}
    CustomerResponse.parse_obj(wire(customer_json(defs, customer)))
    SubscriptionResponse.parse_obj(wire(subscription_json(defs, subscription, now_ms)))


def test_a_customer_without_a_currency_has_that_of_its_first_plan(log: Log) -> None:
    log.plan("dollars", amount_currency="USD")
    log.subscribe(external_id="sub_2", plan_code="dollars")

    def shown() -> object:
        (customer,) = log.definitions.customers(ORG)
        return customer_json(log.definitions, customer)["currency"]

    assert shown() == "EUR"
    log.accept(commands.terminate_subscription(ORG, "sub_1"))
    assert shown() == "EUR"
    log.customer(currency="GBP")
    assert shown() == "GBP"
    log.accept(commands.delete_customer(ORG, "cust_1"))
    log.customer()
    assert shown() is None
    log.subscribe(external_id="sub_3", plan_code="dollars")
    assert shown() == "USD"


def test_an_address_and_a_configuration_have_every_key(log: Log) -> None:
    address = {"city": "Ulm"}
    customer = log.customer(
        "c", shipping_address=address, billing_configuration={"document_locale": "fr"}
    )
    shown = customer_json(log.definitions, customer)
    keys = ("address_line1", "address_line2", "city", "zipcode", "state", "country")
    assert shown["shipping_address"] == {**dict.fromkeys(keys), **address}
    configuration = shown["billing_configuration"]
    assert (configuration["document_locale"], configuration["payment_provider"]) == ("fr", None)


def test_counts_are_true(log: Log) -> None:
    log.subscribe(external_id="sub_2")
    log.subscribe(external_id="sub_3", external_customer_id="cust_3")
    log.subscribe(external_id="later", subscription_at="2024-06-01T00:00:00Z")
    log.subscribe(external_id="ended", ending_at="2024-03-01T00:00:00Z")
    log.subscribe(external_id="canceled", subscription_at="2024-06-01T00:00:00Z")
    log.accept(commands.terminate_subscription(ORG, "canceled", "pending"))
    defs = log.definitions
    (metric,), (plan,) = defs.metrics(ORG), defs.plans(ORG)
    for at, count, customers in (
        (log.now_ms, 4, 2),
        (ms("2024-03-01T00:00:00Z"), 3, 2),
        (ms("2024-06-01T00:00:00Z"), 4, 2),
    ):
        shown = drained(plan_json(defs, plan, at))
        assert (shown["active_subscriptions_count"], shown["customers_count"]) == (count, customers)
        assert metric_json(defs, metric, at)["active_subscriptions_count"] == count
    assert metric_json(defs, metric, 0)["plans_count"] == 1


def test_a_customer_with_several_is_counted_once_on_each_plan(log: Log) -> None:
    log.plan(code="other")
    log.subscribe(external_id="sub_2", plan_code="other")
    log.subscribe(external_id="sub_3", plan_code="other")
    log.subscribe(external_id="sub_4", external_customer_id="cust_2", plan_code="other")
    defs = log.definitions

    def counted() -> list[int]:
        shown = (drained(plan_json(defs, plan, log.now_ms)) for plan in defs.plans(ORG))
        return [each["customers_count"] for each in shown]

    assert counted() == [2, 1]
    log.accept(commands.terminate_subscription(ORG, "sub_2"))
    assert counted() == [2, 1]
    log.accept(commands.terminate_subscription(ORG, "sub_3"))
    assert counted() == [1, 1]


def test_group_keys_show_under_both_names(log: Log) -> None:
    (plan,) = log.definitions.plans(ORG)
    (charge,) = drained(plan_json(log.definitions, plan, log.now_ms))["charges"]
    assert charge["properties"]["grouped_by"] == ["cloud"]
    assert charge["properties"]["pricing_group_keys"] == ["cloud"]
    assert charge["filters"][0]["charge_code"] == "storage"
    assert charge["filters"][0]["properties"] == {"amount": "0"}


def test_a_deleted_plan_is_shown_as_pending_deletion(log: Log) -> None:
    deleted = log.accept(commands.delete_plan(ORG, "plan_code"))
    assert drained(plan_json(log.definitions, deleted, log.now_ms))["pending_deletion"] is True


def shown(log: Log, external_id: str = "sub_1") -> dict[str, Any]:
    """The newest subscription of the external id."""
    subscription = log.definitions.subscriptions(ORG, external_id)[-1].at()
    assert subscription is not None
    return subscription_json(log.definitions, subscription, log.now_ms)


def test_a_subscription_and_its_current_period(log: Log) -> None:
    log.at("2024-02-29T12:00:00Z")
    found = shown(log)
    assert found["status"] == "active"
    assert found["started_at"] == "2024-01-31T01:00:00.250Z"
    assert found["subscription_at"] == found["created_at"] == "2024-01-31T01:00:00Z"
    # Local days in Paris: 29 February to 30 March.
    assert found["current_billing_period_started_at"] == "2024-02-28T23:00:00Z"
    assert found["current_billing_period_ending_at"] == "2024-03-30T22:59:59Z"
    assert found["plan"]["code"] == "plan_code"


def test_the_first_period_begins_with_the_start(log: Log) -> None:
    assert shown(log)["current_billing_period_started_at"] == "2024-01-31T01:00:00Z"


def test_the_last_period_ends_with_the_end(log: Log) -> None:
    log.at("2024-02-29T12:00:00.500Z").accept(commands.terminate_subscription(ORG, "sub_1"))
    log.at("2024-05-01T00:00:00Z")
    found = shown(log)
    assert (found["status"], found["terminated_at"]) == ("terminated", "2024-02-29T12:00:00.500Z")
    assert found["current_billing_period_started_at"] == "2024-02-28T23:00:00Z"
    assert found["current_billing_period_ending_at"] == "2024-02-29T12:00:00Z"


def test_a_pending_one_has_no_period_yet(log: Log) -> None:
    log.subscribe(external_id="later", subscription_at="2024-06-01T00:00:00Z")
    found = shown(log, "later")
    assert (found["status"], found["started_at"]) == ("pending", None)
    assert found["current_billing_period_started_at"] is None


def test_a_yearly_plan_split_by_month_shows_the_month(log: Log) -> None:
    log.plan("yearly", interval="yearly", bill_charges_monthly=True)
    log.subscribe(external_id="y", plan_code="yearly", subscription_at="2023-01-15T12:00:00Z")
    assert shown(log, "y")["current_billing_period_started_at"] == "2023-12-31T23:00:00Z"


def test_a_planned_downgrade_is_announced(log: Log) -> None:
    log.plan("cheap", amount_cents=1)
    answered = log.subscribe(plan_code="cheap")
    found = subscription_json(log.definitions, answered, log.now_ms)
    assert (found["next_plan_code"], found["previous_plan_code"]) == ("cheap", None)
    assert found["downgrade_plan_date"] == "2024-02-29"
    assert found["terminated_at"] is None
    assert shown(log)["previous_plan_code"] == "plan_code"


def test_what_was_just_defined_shows_whatever_the_clock_says(log: Log) -> None:
    log.accept(commands.terminate_subscription(ORG, "sub_1"))
    (subscription,) = log.definitions.subscriptions(ORG, "sub_1")
    newest = subscription.at()
    assert newest is not None
    found = subscription_json(log.definitions, newest, log.now_ms - 5_000)
    assert (found["status"], found["terminated_at"]) == ("terminated", "2024-01-31T01:00:00.250Z")
