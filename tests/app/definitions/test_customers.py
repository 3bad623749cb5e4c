from typing import Any

import msgspec
import pytest

from app.api.definitions.definitions_json import subscription_json
from app.definitions import commands
from app.definitions.outcome import Applied, Impact, Rejected
from app.definitions.sizes import oversized
from tests.world.clock import ms
from tests.world.definitions_log import ORG, Log

INVALID, OUT_OF_RANGE = ["value_is_invalid"], ["value_is_out_of_range"]


@pytest.mark.parametrize(
    ("changes", "details"),
    [
        ({"external_id": " "}, {"external_id": ["value_is_mandatory"]}),
        ({"timezone": "Mars/Base"}, {"timezone": ["invalid_timezone"]}),
        ({"timezone": "../UTC"}, {"timezone": ["invalid_timezone"]}),
        ({"timezone": 5}, {"timezone": ["invalid_timezone"]}),
        ({"currency": "XXX1"}, {"currency": INVALID}),
        ({"name": ["a"]}, {"name": INVALID}),
        (
            {"billing_configuration": {"invoice_grace_period": -1}},
            {"invoice_grace_period": OUT_OF_RANGE},
        ),
        (
            {"billing_configuration": {"invoice_grace_period": "x"}},
            {"invoice_grace_period": INVALID},
        ),
        ({"billing_configuration": 5}, {"billing_configuration": INVALID}),
        ({"metadata": [{"value": "v"}]}, {"metadata": INVALID}),
        ({"metadata": "x"}, {"metadata": INVALID}),
        ({"shipping_address": []}, {"shipping_address": INVALID}),
    ],
    ids=str,
)
def test_what_a_customer_may_not_be(changes: dict[str, Any], details: dict[str, list[str]]) -> None:
    log = Log()
    body = {"external_id": "cust_1", **changes}
    refused = log.refuse(commands.upsert_customer(ORG, body))
    assert refused == Rejected(422, "validation_errors", details)


def test_all_that_is_wrong_with_a_customer_is_told_at_once() -> None:
    body = {
        "external_id": "",
        "timezone": "Mars/Base",
        "currency": "XXX1",
        "billing_configuration": {"invoice_grace_period": -1},
    }
    wrong = {
        "external_id": ["value_is_mandatory"],
        "timezone": ["invalid_timezone"],
        "currency": INVALID,
        "invoice_grace_period": OUT_OF_RANGE,
    }
    assert Log().refuse(commands.upsert_customer(ORG, body)).details == wrong
    long = oversized(commands.upsert_customer(ORG, {**body, "name": "x" * 256}))
    assert long is not None
    assert long.details == {**wrong, "name": ["value_is_too_long"]}


@pytest.mark.parametrize("body", [None, [], "text", 5, {}])
def test_any_body_is_answered(body: object) -> None:
    assert Log().refuse(commands.upsert_customer(ORG, body)).status == 422


def test_an_upsert_changes_the_given_keys_only() -> None:
    log = Log()
    old = log.customer(name="Foo", email="a@b.c", timezone="Europe/Paris", currency="EUR")
    log.at("2024-02-01T00:00:00Z")
    new = log.customer(name="Bar", billing_configuration={"invoice_grace_period": 3})
    assert (new.id, new.created_at_ms) == (old.id, old.created_at_ms)
    assert (new.updated_at_ms, new.timezone, new.grace_days) == (log.now_ms, "Europe/Paris", 3)
    assert (new.attributes["name"], new.attributes["email"]) == ("Bar", "a@b.c")
    assert log.customer(timezone=None).timezone is None
    assert len(list(log.definitions.customers(ORG))) == 1


def test_metadata_entries_keep_their_ids() -> None:
    log = Log()
    old = log.customer(metadata=[{"key": "a", "value": "1"}, {"key": "b", "value": 2}])
    first, second = old.attributes["metadata"]
    new = log.customer(
        metadata=[
            {"key": "b", "value": "3"},
            {"id": first["lago_id"], "key": "renamed", "value": "1", "display_in_invoice": True},
            {"key": "c", "value": None},
        ]
    )
    kept, renamed, made = new.attributes["metadata"]
    assert (kept["lago_id"], kept["value"]) == (second["lago_id"], "3")
    assert (renamed["lago_id"], renamed["display_in_invoice"]) == (first["lago_id"], True)
    assert made["lago_id"] not in (first["lago_id"], second["lago_id"], None)


def test_a_metadata_entry_that_is_named_by_its_id_keeps_what_is_not_given() -> None:
    log = Log()
    old = log.customer(metadata=[{"key": "a", "value": "1", "display_in_invoice": True}])
    (entry,) = old.attributes["metadata"]
    new = log.customer(metadata=[{"id": entry["lago_id"], "value": "2"}])
    assert new.attributes["metadata"] == [{**entry, "value": "2", "display_in_invoice": False}]


def test_a_shipping_address_keeps_what_is_not_given() -> None:
    log = Log()
    log.customer(shipping_address={"city": "x", "country": "fr"})
    new = log.customer(shipping_address={"zipcode": "9", "city": None})
    assert new.attributes["shipping_address"] == {"city": None, "country": "FR", "zipcode": "9"}


def test_the_currency_of_a_customer_with_subscriptions_changes() -> None:
    log = Log()
    log.plan()
    log.customer(currency="EUR")
    log.subscribe()
    changed = log.customer(currency="USD", name="x")
    assert (changed.attributes["currency"], changed.attributes["name"]) == ("USD", "x")
    assert log.customer(currency=None).attributes["currency"] is None


def test_a_command_without_the_mark_keeps_a_currency_in_use() -> None:
    log = Log()
    log.plan()
    log.customer(currency="EUR")
    log.subscribe()
    body = {"external_id": "cust_1", "currency": "USD"}
    command = commands.upsert_customer(ORG, body)
    former = {key: each for key, each in command.payload.items() if key != "any_currency"}
    refused = log.refuse(msgspec.structs.replace(command, payload=former))
    assert refused.details == {"currency": ["currencies_does_not_match"]}


def test_a_blank_line_of_an_address_is_none() -> None:
    shipping = {"city": " ", "country": "fr"}
    customer = Log().customer(city="", zipcode=" ", state="x", name="", shipping_address=shipping)
    lines = [customer.attributes[key] for key in ("city", "zipcode", "state", "name")]
    assert lines == [None, None, "x", ""]
    assert customer.attributes["shipping_address"] == {"city": None, "country": "FR"}


def test_texts_lose_their_nul_characters() -> None:
    customer = Log().customer(name="Foo\0Bar", firstname="\0")
    assert (customer.attributes["name"], customer.attributes["firstname"]) == ("FooBar", "")


def impact_of(log: Log, **changes: Any) -> Impact | None:
    outcome = log.append(commands.upsert_customer(ORG, {"external_id": "cust_1", **changes}))
    assert isinstance(outcome, Applied)
    return outcome.impact


def test_timezone_and_grace_touch_the_usage_of_the_customers_subscriptions() -> None:
    log = Log()
    log.plan()
    assert impact_of(log, timezone="Europe/Paris") is None
    log.subscribe()
    log.subscribe(external_id="sub_2", external_customer_id="cust_2")
    impact = Impact(ORG, external_customer_id="cust_1")
    assert impact_of(log, name="x", timezone="Europe/Paris") is None
    assert impact_of(log, timezone="Asia/Tokyo") == impact
    assert list(log.definitions.names_affected(impact)) == [(ORG, "sub_1")]
    assert impact_of(log, billing_configuration={"invoice_grace_period": 1}) == impact
    assert impact_of(log, billing_configuration={"document_locale": "fr"}) is None


def test_a_new_timezone_moves_a_planned_downgrade() -> None:
    log = Log()
    log.plan()
    log.plan("cheap", amount_cents=1)
    old = log.subscribe(billing_time="anniversary")
    log.subscribe(plan_code="cheap")
    assert log.newest(old).terminated_at_ms == ms("2024-02-29T00:00:00Z")
    log.customer(timezone="America/New_York")
    # In New York the subscription began on 30 January, so its period ends on 29 February too.
    moved_ms = ms("2024-02-29T05:00:00Z")
    moved = log.newest(old)
    assert moved.terminated_at_ms == moved_ms
    assert moved.replaced_by is not None
    following = log.definitions.subscription_by_id(moved.replaced_by)
    assert following is not None
    assert following.started_at_ms == moved_ms


@pytest.mark.parametrize(
    ("timezone", "interval", "subscription_at", "planned", "moved"),
    [
        ("America/New_York", "monthly", "2024-02-01T00:00:00Z", "2024-03-01T00", "2024-03-01T05"),
        ("Asia/Tokyo", "monthly", "2024-01-31T23:30:00Z", "2024-03-01T00", "2024-02-29T15"),
        ("Asia/Tokyo", "yearly", "2023-12-31T20:00:00Z", "2025-01-01T00", "2024-12-31T15"),
        ("Asia/Tokyo", "weekly", "2024-02-04T20:00:00Z", "2024-02-19T00", "2024-02-18T15"),
        ("America/New_York", "quarterly", "2024-01-01T02:00:00Z", "2024-04-01T00", "2024-04-01T04"),
    ],
)
def test_a_new_timezone_moves_a_planned_downgrade_by_hours_only(
    timezone: str, interval: str, subscription_at: str, planned: str, moved: str
) -> None:
    """There `subscription_at` lies in another month, year or week than in UTC."""
    log = Log("2024-02-10T00:00:00Z")
    log.plan(interval=interval)
    log.plan("cheap", interval=interval, amount_cents=1)
    log.at("2024-02-12T12:00:00Z")
    old = log.subscribe(subscription_at=subscription_at)
    log.subscribe(plan_code="cheap")
    assert log.newest(old).terminated_at_ms == ms(f"{planned}:00:00Z")
    log.at("2024-02-15T12:00:00Z").customer(timezone=timezone)
    assert log.newest(old).terminated_at_ms == ms(f"{moved}:00:00Z")
    log.customer(timezone="UTC")
    assert log.newest(old).terminated_at_ms == ms(f"{planned}:00:00Z")


def test_a_moved_downgrade_does_not_start_after_its_own_end() -> None:
    log = Log()
    log.plan()
    log.plan("cheap", amount_cents=1)
    old = log.subscribe(billing_time="anniversary", ending_at="2024-02-29T03:00:00Z")
    log.subscribe(plan_code="cheap")
    log.customer(timezone="America/New_York")
    moved = log.newest(old)
    following = log.definitions.subscription_by_id(moved.replaced_by or "")
    assert following is not None
    ends = (moved.terminated_at_ms, following.started_at_ms, following.end_ms)
    assert ends == (ms("2024-02-29T03:00:00Z"),) * 3


def test_a_deleted_customer_ends_its_subscriptions() -> None:
    log = Log()
    log.plan()
    customer = log.customer(timezone="Europe/Paris")
    active = log.subscribe()
    other = log.subscribe(external_id="sub_2", external_customer_id="cust_2")
    log.at("2024-02-10T00:00:00Z")
    outcome = log.append(commands.delete_customer(ORG, "cust_1"))
    assert isinstance(outcome, Applied)
    assert outcome.impact == Impact(ORG, external_customer_id="cust_1")
    assert list(log.definitions.names_affected(outcome.impact)) == [(ORG, "sub_1")]
    assert log.newest(active).terminated_at_ms == log.now_ms
    assert log.newest(other) == other
    assert log.definitions.customer(ORG, "cust_1") is None
    assert log.definitions.customer(ORG, "cust_1", log.now_ms - 1) == customer
    assert log.refuse(commands.delete_customer(ORG, "cust_1")) == Rejected(
        404, "customer_not_found"
    )
    again = log.customer()
    assert again.id != customer.id
    assert again.timezone is None


def test_a_customer_made_anew_has_none_of_the_old_ones_subscriptions() -> None:
    log = Log()
    log.plan()
    old = log.customer(currency="EUR")
    ended = log.subscribe()
    log.accept(commands.delete_customer(ORG, "cust_1"))
    new = log.customer(currency="EUR")
    assert list(log.definitions.subscriptions_of_customer(new)) == []
    assert impact_of(log, timezone="Asia/Tokyo", currency="USD") is None
    subscription = log.subscribe(external_id="sub_2")
    assert list(log.definitions.subscriptions_of_customer(new)) == [subscription]
    assert impact_of(log, timezone="UTC") == Impact(ORG, external_customer_id="cust_1")
    shown = [subscription_json(log.definitions, s, log.now_ms) for s in (ended, subscription)]
    assert [subscription["lago_customer_id"] for subscription in shown] == [old.id, new.id]


def test_a_deleted_customer_without_subscriptions_touches_nothing() -> None:
    log = Log()
    log.customer()
    outcome = log.append(commands.delete_customer(ORG, "cust_1"))
    assert isinstance(outcome, Applied)
    assert outcome.impact is None
