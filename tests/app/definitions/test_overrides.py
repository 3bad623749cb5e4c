"""Child plans: what overrides copy, what they change, and whom a plan counts."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.definitions.definitions_json import metric_json, plan_json, subscription_json
from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.charge_terms import refused_terms
from app.definitions.log import decide
from app.definitions.model import Plan, Subscription
from app.definitions.outcome import Applied, Impact, Rejected
from app.definitions.sizes import oversized
from tests.world import bodies
from tests.world.clock import ms
from tests.world.definitions_log import ORG, Log, subscription_body

EU, US = {"values": {"region": ["eu"]}}, {"values": {"region": ["us"]}}
REGION = [{"key": "region", "values": ["eu", "us"]}]


@pytest.fixture
def log() -> Log:
    """A plan of 1000 with the charges a, filtered by region eu, and b; one of 500 with b."""
    log = Log("2024-01-01T00:00:00Z")
    log.metric("m", aggregation_type="count_agg", filters=REGION)
    charge = bodies.charge("m")
    log.plan("dear", amount_cents=1000, charges=[{**charge, "code": "a", "filters": [EU]}, charge])
    log.plan("cheap", amount_cents=500, charges=[charge])
    return log


def parent(log: Log, code: str = "dear") -> Plan:
    found = log.definitions.plan(ORG, code)
    assert found is not None
    return found


def subscribe(log: Log, plan_code: str = "dear", **overrides: Any) -> Subscription:
    return log.subscribe(plan_code=plan_code, plan_overrides=overrides)


def put(log: Log, **overrides: Any) -> Subscription:
    command = commands.update_subscription(ORG, "sub_1", {"plan_overrides": overrides})
    changed = log.accept(command)
    assert isinstance(changed, Subscription)
    return changed


def child(log: Log, subscription: Subscription) -> Plan:
    found = log.definitions.plan_by_id(subscription.plan_id)
    assert found is not None
    assert found.parent_id == subscription.parent_plan_id
    return found


def test_a_child_is_a_copy_with_ids_of_its_own(log: Log) -> None:
    log.at("2024-01-02T00:00:00Z")
    plan = parent(log)
    copy = child(log, subscribe(log))
    assert (copy.parent_id, copy.code, copy.amount_cents) == (plan.id, "dear", 1000)
    assert copy.created_at_ms == log.now_ms
    assert [c.parent_id for c in copy.charges] == [c.id for c in plan.charges]
    assert [c.code for c in copy.charges] == ["a", "m"]
    assert [dict(f.values) for f in copy.charges[0].filters] == [{"region": ("eu",)}]
    ids = [copy.id, *(c.id for c in copy.charges), copy.charges[0].filters[0].id]
    theirs = [plan.id, *(c.id for c in plan.charges), plan.charges[0].filters[0].id]
    assert len({*ids, *theirs}) == 8
    # The same record makes the same ids.
    again = Log()
    for record in log.records:
        again.append_bytes(record[0])
    anew = again.definitions.plan_by_id(copy.id)
    assert anew is not None
    assert [c.id for c in anew.charges] == ids[1:3]


def test_what_is_given_replaces_and_all_else_is_copied(log: Log) -> None:
    (a, b) = parent(log).charges
    overrides: dict[str, Any] = {
        "amount_cents": 7,
        "amount_currency": "USD",
        "name": "own",
        "description": None,
        "invoice_display_name": "shown",
        "trial_period": 3,
        "tax_codes": ["x"],
        "interval": "yearly",
        "charges": [
            {
                "id": a.id,
                "properties": {"amount": "2", "pricing_group_keys": ["team"]},
                "min_amount_cents": 5,
                "invoice_display_name": "A",
                "charge_model": "volume",
                "pay_in_advance": True,
            },
            {"id": "unknown", "properties": {"amount": "x"}},
        ],
    }
    made = child(log, subscribe(log, **overrides))
    assert (made.amount_cents, made.amount_currency, made.name) == (7, "USD", "own")
    assert (made.invoice_display_name, made.trial_period, made.interval) == (
        "shown",
        3.0,
        "monthly",
    )
    one, other = made.charges
    assert one.properties == {"amount": "2", "pricing_group_keys": ["team"]}
    assert (one.min_amount_cents, one.invoice_display_name) == (5, "A")
    assert (one.charge_model, one.pay_in_advance, len(one.filters)) == ("standard", False, 1)
    assert (other.properties, other.parent_id) == (b.properties, b.id)
    assert parent(log).charges == (a, b)


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ([], []),
        ([US], ["us"]),
        ([US, EU], ["eu", "us"]),
        (None, ["eu"]),
    ],
)
def test_filters_are_kept_by_their_values(log: Log, given: Any, values: list[str]) -> None:
    (a, _) = parent(log).charges
    (kept,) = child(log, subscribe(log)).charges[0].filters
    other = log.subscribe(
        external_id="sub_2",
        plan_code="dear",
        plan_overrides={"charges": [{"id": a.id, "filters": given}]},
    )
    filters = child(log, other).charges[0].filters
    assert [f.values["region"][0] for f in filters] == values
    assert not {f.id for f in filters} & {a.filters[0].id, kept.id}


@pytest.mark.parametrize(
    ("overrides", "details"),
    [
        (5, {"plan_overrides": ["value_is_invalid"]}),
        ({"amount_cents": -1}, {"amount_cents": ["value_is_out_of_range"]}),
        ({"amount_currency": "XXX1"}, {"amount_currency": ["value_is_invalid"]}),
        ({"charges": 5}, {"charges": ["value_is_invalid"]}),
        ({"properties": {"amount": "x"}}, {"properties": ["invalid_amount"]}),
        ({"filters": [{"values": {"region": ["mars"]}}]}, {"values": ["value_is_invalid"]}),
        ({"filters": [{}]}, {"values": ["value_is_mandatory"]}),
    ],
    ids=str,
)
def test_overrides_are_checked_like_a_plan(log: Log, overrides: Any, details: Any) -> None:
    if isinstance(overrides, dict) and overrides.keys() & {"properties", "filters"}:
        overrides = {"charges": [{"id": parent(log).charges[0].id, **overrides}]}
    body = subscription_body(plan_code="dear", plan_overrides=overrides)
    wrong = Rejected(422, "validation_errors", details)
    assert log.refuse(commands.create_subscription(ORG, body)) == wrong
    log.subscribe(plan_code="dear")
    changed = {"plan_overrides": overrides}
    assert log.refuse(commands.update_subscription(ORG, "sub_1", changed)) == wrong
    assert len(log.definitions.plan_versions) == 2


def test_null_is_absence_and_nothing_is_something(log: Log) -> None:
    plain = log.subscribe(plan_code="dear", plan_overrides=None)
    assert plain.plan_id == parent(log).id
    body = {"plan_overrides": None}
    assert log.accept(commands.update_subscription(ORG, "sub_1", body)) == plain
    own = log.subscribe(external_id="sub_2", plan_code="dear", plan_overrides={})
    assert child(log, own).parent_id == parent(log).id


def test_long_texts_and_long_lists_are_refused_at_the_door() -> None:
    def refused(overrides: Any) -> Any:
        found = oversized(
            commands.create_subscription(ORG, subscription_body(plan_overrides=overrides))
        )
        return None if found is None else found.details

    assert refused({"name": "x" * 256}) == {"name": ["value_is_too_long"]}
    assert refused({"charges": [{"id": "a"}, {"id": "a"}]}) == {"id": ["value_already_exist"]}
    assert refused({"charges": [{"id": str(n)} for n in range(501)]}) == {
        "charges": ["limit_is_500"]
    }
    assert refused({}) is None


def test_an_upgrade_or_a_downgrade_compares_what_is_overridden(log: Log) -> None:
    log.at("2024-01-10T00:00:00Z")
    old = log.subscribe(plan_code="dear")
    log.at("2024-01-15T00:00:00Z")
    new = subscribe(log, "cheap", amount_cents=2000)
    assert (new.previous_subscription_id, new.started_at_ms) == (old.id, log.now_ms)
    assert child(log, new).amount_cents == 2000
    # Less than its own 2000, though not less than the 500 of the plan.
    same = subscribe(log, "cheap", amount_cents=1999)
    assert same.id == new.id
    assert log.newest(new).terminated_at_ms == ms("2024-02-01")
    following = log.definitions.subscription_by_id(log.newest(new).replaced_by or "")
    assert following is not None
    assert child(log, following).amount_cents == 1999


def test_the_same_plan_asked_for_again(log: Log) -> None:
    log.at("2024-01-10T00:00:00Z")
    plain = log.subscribe(plan_code="dear")
    assert subscribe(log, amount_cents=5) == plain
    log.at("2024-01-11T00:00:00Z")
    moved = put(log)
    assert moved.plan_id != parent(log).id
    back = log.subscribe(plan_code="dear")
    assert (back.id != moved.id, back.plan_id) == (True, parent(log).id)
    own = subscribe(log, "cheap", amount_cents=5000)
    other = subscribe(log, "cheap", amount_cents=6000)
    assert len({own.id, other.id}) == 2
    assert child(log, own).id != child(log, other).id


def test_one_that_waits_for_its_start_moves_to_the_child_at_once(log: Log) -> None:
    waiting = log.subscribe(plan_code="cheap", subscription_at="2024-03-01T00:00:00Z")
    moved = subscribe(log, amount_cents=1)
    assert (moved.id, child(log, moved).amount_cents) == (waiting.id, 1)
    assert child(log, moved).parent_id == parent(log).id
    body = {"plan_overrides": {"amount_cents": 2}}
    own = child(log, moved).id
    put_on = log.accept(commands.update_subscription(ORG, "sub_1", body, "pending"))
    assert put_on.plan_id == own
    assert child(log, put_on).amount_cents == 2


def test_a_put_moves_to_a_child_once_and_then_changes_it(log: Log) -> None:
    plain = log.subscribe(plan_code="dear")
    log.at("2024-01-05T00:00:00Z")
    moved = put(log, amount_cents=7)
    assert (moved.id, moved.started_at_ms) == (plain.id, plain.started_at_ms)
    own = child(log, moved)
    log.at("2024-01-06T00:00:00Z")
    assert put(log, name="n", amount_currency="USD") == moved
    changed = child(log, moved)
    # The currency of a plan in use stays, as with PUT of the plan.
    assert (changed.name, changed.amount_currency) == ("n", "EUR")
    (a, b) = own.charges
    more = {"billable_metric_code": "m", "charge_model": "standard", "code": "c"}
    put(log, charges=[{"id": a.id, "invoice_display_name": "A"}, more])
    kept, made = child(log, moved).charges
    assert (kept.id, kept.parent_id, kept.invoice_display_name) == (a.id, a.parent_id, "A")
    assert (made.code, made.parent_id, made.number) == ("c", None, b.number + 1)
    assert len(parent(log).charges) == 2
    versions = log.definitions.plan_of(plain.id)
    assert [p.parent_id for p in versions.all()] == [None, *[parent(log).id] * 2]


def test_a_put_says_what_it_touches(log: Log) -> None:
    def impact(overrides: Any, **more: Any) -> Impact | None:
        body = {"plan_overrides": overrides, **more}
        outcome = log.append(commands.update_subscription(ORG, "sub_1", body))
        assert isinstance(outcome, Applied)
        return outcome.impact

    log.subscribe(plan_code="dear")
    assert impact({}) == Impact(ORG, "sub_1")
    (versions,) = log.definitions.subscriptions(ORG, "sub_1")
    plan_id = next(reversed(list(versions.all()))).plan_id
    assert impact({"amount_cents": 3}) is None
    own = log.definitions.plan_by_id(plan_id)
    assert own is not None
    grouped = {"amount": "1", "pricing_group_keys": ["team"]}
    regrouped = [{"id": charge.id, "properties": grouped} for charge in own.charges]
    of_child = Impact(ORG, codes=frozenset({"m"}), plan_id=plan_id)
    assert impact({"charges": regrouped}) == of_child
    assert impact({"amount_cents": 4}, name="only a text") is None
    assert impact({"charges": []}, ending_at="2024-05-01T00:00:00Z") == Impact(ORG, "sub_1")


def test_a_child_has_no_address_and_its_parent_counts_it(log: Log) -> None:
    log.subscribe(plan_code="dear")
    subscribed = log.subscribe(
        external_id="sub_2", external_customer_id="c2", plan_code="dear", plan_overrides={}
    )
    put(log)
    plan = parent(log)
    assert [p.code for p in log.definitions.plans(ORG)] == ["cheap", "dear"]
    assert log.definitions.plans_count(ORG) == 2
    assert plan.parent_id is None
    shown = drained(plan_json(log.definitions, plan, log.now_ms))
    assert (shown["active_subscriptions_count"], shown["customers_count"]) == (2, 2)
    metric = log.definitions.metric(ORG, "m")
    assert metric is not None
    counted = metric_json(log.definitions, metric, log.now_ms)
    assert (counted["plans_count"], counted["active_subscriptions_count"]) == (2, 2)
    own = subscription_json(log.definitions, subscribed, log.now_ms)
    assert (own["plan_code"], own["plan"]["parent_id"]) == ("dear", plan.id)
    assert own["plan"]["active_subscriptions_count"] == 1
    assert own["plan"]["charges"][0]["lago_parent_id"] == plan.charges[0].id
    log.accept(commands.terminate_subscription(ORG, "sub_2"))
    assert log.definitions.active_subscriptions_count(plan.id, log.now_ms) == 1


def test_a_deleted_plan_takes_its_children_along(log: Log) -> None:
    on_child, plain = subscribe(log), log.subscribe(external_id="sub_2", plan_code="dear")
    outcome = log.append(commands.delete_plan(ORG, "dear"))
    assert isinstance(outcome, Applied)
    assert outcome.impact == Impact(ORG, plan_id=parent_id(on_child))
    touched = set(log.definitions.names_affected(outcome.impact))
    assert touched == {(ORG, "sub_1"), (ORG, "sub_2")}
    for one in (on_child, plain):
        assert log.newest(one).terminated_at_ms == log.now_ms
        assert log.definitions.plan_versions[one.plan_id].at() is None
        shown = subscription_json(log.definitions, log.newest(one), log.now_ms)
        assert shown["plan"]["pending_deletion"] is True
    assert list(log.definitions.children_of(parent_id(on_child))) == []
    log.plan("dear")
    assert log.newest(on_child).plan_id == on_child.plan_id


def parent_id(subscription: Subscription) -> str:
    assert subscription.parent_plan_id is not None
    return subscription.parent_plan_id


def test_a_removed_metric_or_value_reaches_children(log: Log) -> None:
    own = subscribe(log)
    body = {"filters": [{"key": "region", "values": ["us"]}]}
    log.accept(commands.update_billable_metric(ORG, "m", body))
    assert [c.filters for c in child(log, own).charges] == [(), ()]
    log.accept(commands.delete_billable_metric(ORG, "m"))
    assert child(log, own).charges == ()


def test_terms_that_were_taken_before_they_were_refused_are_copied(log: Log) -> None:
    terms = {"invoiceable": False, "code": "old"}
    log.plan("legacy", charges=[{**bodies.charge("m"), **terms}])
    own = subscription_body(plan_code="legacy", plan_overrides={})
    decision = decide(log.definitions, commands.create_subscription(ORG, own), log.now_ms)
    assert not isinstance(decision, Rejected)
    assert refused_terms(log.definitions, decision.changes) is None
    priced = {"id": parent(log, "legacy").charges[0].id, "min_amount_cents": 5}
    own["plan_overrides"] = {"charges": [priced]}
    decision = decide(log.definitions, commands.create_subscription(ORG, own), log.now_ms)
    assert not isinstance(decision, Rejected)
    assert refused_terms(log.definitions, decision.changes) is not None
