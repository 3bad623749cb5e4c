"""Terms of a subscription's own: what its running, its published and its later periods show."""

from __future__ import annotations

from typing import Any

from app.definitions import commands
from app.definitions.model import Plan
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import raw
from tests.world.story import Story, groups

Shown = list[tuple[str, str, str, str]]


def subscribed(told: Story, at: str, plan_code: str, **more: Any) -> Story:
    body = {"external_customer_id": "customer", "plan_code": plan_code, "external_id": SUBSCRIPTION}
    return told.define(at, commands.create_subscription(ORG, {**body, **more}))


def put(told: Story, at: str, **overrides: Any) -> Story:
    body = {"plan_overrides": overrides}
    return told.define(at, commands.update_subscription(ORG, SUBSCRIPTION, body))


def shown(told: Story, at: str) -> Shown:
    return [
        (r["plan_code"], r["period"]["from"][:10], r["period"]["to"][:10], r["units"])
        for r in told.records(at)
    ]


def plan_of(told: Story, code: str, at: str = "2024-01-01") -> Plan:
    found = told.meter(at).definitions.plan(ORG, code)
    assert found is not None
    return found


def two_plans() -> Story:
    told = Story().metric("m", "sum_agg")
    told.plan({}, code="a", amount_cents=1000).plan({}, code="b", amount_cents=500)
    return told.subscribe(plan_code="a").send("2024-01-05", v=3)


def test_an_overridden_amount_makes_an_upgrade() -> None:
    told = two_plans()
    subscribed(told, "2024-01-15", "b", plan_overrides={"amount_cents": 2000})
    told.send("2024-01-20", v=4)
    assert shown(told, "2024-02-02") == [
        ("a", "2024-01-01", "2024-01-15", "3.0"),
        ("b", "2024-01-15", "2024-01-31", "4.0"),
    ]


def test_without_overrides_it_is_a_downgrade() -> None:
    told = subscribed(two_plans(), "2024-01-15", "b").send("2024-01-20", v=4)
    assert shown(told, "2024-02-02") == [("a", "2024-01-01", "2024-01-31", "7.0")]


def grouped_by_region() -> Story:
    """A charge grouped by region, and two subscriptions to it."""
    told = Story().metric("m", "sum_agg")
    told.plan({"properties": {"pricing_group_keys": ["region"]}}, code="b")
    return told


def by_country(told: Story) -> dict[str, Any]:
    (charge,) = plan_of(told, "b").charges
    properties = {"amount": "1", "pricing_group_keys": ["country"]}
    return {"charges": [{"id": charge.id, "properties": properties}]}


def sent(told: Story, month: str) -> Story:
    told.send(f"{month}-10", v=1, region="r", country="at")
    return told.send(f"{month}-11", v=2, region="r", country="de")


def test_own_group_keys_group_the_subscriptions_cells() -> None:
    told = grouped_by_region()
    told.subscribe(plan_code="b", plan_overrides=by_country(told))
    told.subscribe(plan_code="b", external_id="other")
    sent(told, "2024-01")
    (usage,) = told.usage("2024-01-20")["charges_usage"]
    assert groups(usage) == {"at": "1.0", "de": "2.0"}
    (record, *_) = told.records("2024-02-02")
    (charge,) = plan_of(told, "b").charges
    assert record["charge"]["lago_parent_id"] == charge.id
    assert record["charge"]["lago_id"] == record["lago_charge_id"] != charge.id


def test_a_put_within_the_period_folds_it_anew_and_leaves_what_is_published() -> None:
    told = grouped_by_region().subscribe(plan_code="b")
    sent(sent(told, "2024-01"), "2024-02")
    before = told.records("2024-02-14")
    own = by_country(told)
    put(told, "2024-02-15", **own)
    (usage,) = told.usage("2024-02-20")["charges_usage"]
    assert groups(usage) == {"at": "1.0", "de": "2.0"}
    records = told.records("2024-03-02")
    assert records[: len(before)] == before
    assert sorted((r["period"]["from"][:7], str(r["grouped_by"]), r["units"]) for r in records) == [
        ("2024-01", "{'region': 'r'}", "3.0"),
        ("2024-02", "{'country': 'at'}", "1.0"),
        ("2024-02", "{'country': 'de'}", "2.0"),
    ]
    assert not {r["cell_id"] for r in before} & {r["cell_id"] for r in records[len(before) :]}
    # A late event of January counts under what January was published by.
    told.send("2024-01-12", appended="2024-02-16", v=5, region="r", country="at")
    revised = told.records("2024-03-02")
    assert {r["cell_id"] for r in revised if r["revision"]} == {r["cell_id"] for r in before}


def test_a_level_goes_on_under_the_new_charges() -> None:
    told = Story().metric("m", "sum_agg", recurring=True).plan({}, code="b")
    told.subscribe(plan_code="b").send("2024-01-05", v=3)
    put(told, "2024-02-10", amount_cents=5).send("2024-02-12", v=4)
    assert shown(told, "2024-03-02") == [
        ("b", "2024-01-01", "2024-01-31", "3.0"),
        ("b", "2024-02-01", "2024-02-29", "7.0"),
    ]


def test_a_changed_child_folds_its_running_period_anew() -> None:
    told = grouped_by_region().subscribe(plan_code="b", plan_overrides={})
    sent(told, "2024-01")
    (subscription,) = told.meter("2024-01-12").definitions.subscriptions(ORG, SUBSCRIPTION)
    newest = subscription.at()
    assert newest is not None
    own = told.meter("2024-01-12").definitions.plan_by_id(newest.plan_id)
    assert own is not None
    properties = {"amount": "1", "pricing_group_keys": ["country"]}
    put(told, "2024-01-15", charges=[{"id": own.charges[0].id, "properties": properties}])
    (usage,) = told.usage("2024-01-20")["charges_usage"]
    assert groups(usage) == {"at": "1.0", "de": "2.0"}
    # The parent goes its own way.
    told.define("2024-01-16", commands.delete_charge(ORG, "b", "m"))
    assert groups(told.usage("2024-01-20")["charges_usage"][0]) == {"at": "1.0", "de": "2.0"}


def test_history_of_a_charge_is_history_of_its_copies() -> None:
    told = grouped_by_region().subscribe(plan_code="b")
    sent(told, "2024-01")
    (charge,) = plan_of(told, "b").charges
    put(told, "2024-02-10", **by_country(told))
    history = commands.apply_history(ORG, charge_ids=[charge.id], from_ms=0, to_ms=1 << 45)
    told.define("2024-02-11", history)
    newest = {r["cell_id"]: r for r in told.records("2024-02-20")}
    assert sorted((str(r["grouped_by"]), r["units"]) for r in newest.values()) == [
        ("{'country': 'at'}", "1.0"),
        ("{'country': 'de'}", "2.0"),
        ("{'region': 'r'}", "0.0"),
    ]


def test_own_keys_of_a_charge_group_one_subscription_only() -> None:
    told = Story().metric("m", "count_agg").plan({"code": "m"}, code="b")
    told.subscribe(plan_code="b").subscribe(plan_code="b", external_id="s2")
    for number, name in enumerate((SUBSCRIPTION, "s2")):
        event = raw("m", f"e{number}", ms("2024-01-10"), name, team="red")
        told.append("2024-01-10", event)
    named = commands.SubscriptionCharge(ORG, SUBSCRIPTION, "m")
    body = {"properties": {"amount": "1", "pricing_group_keys": ["team"]}}
    told.define("2024-01-15", commands.update_subscription_charge(named, body))
    records = told.records("2024-02-02")
    shown_by = {r["external_subscription_id"]: r["grouped_by"] for r in records}
    assert shown_by == {SUBSCRIPTION: {"team": "red"}, "s2": None}
    charges = {r["external_subscription_id"]: r["lago_charge_id"] for r in records}
    assert charges["s2"] == plan_of(told, "b").charges[0].id != charges[SUBSCRIPTION]


def test_a_cascade_folds_the_running_period_of_children_anew() -> None:
    told = grouped_by_region().subscribe(plan_code="b", plan_overrides={})
    sent(sent(told, "2024-01"), "2024-02")
    before = told.records("2024-02-10")
    properties = {"amount": "1", "pricing_group_keys": ["country"]}
    body = {"properties": properties, "cascade_updates": True}
    told.define("2024-02-15", commands.update_charge(ORG, "b", "m", body))
    assert groups(told.usage("2024-02-20")["charges_usage"][0]) == {"at": "1.0", "de": "2.0"}
    records = told.records("2024-03-02")
    assert records[: len(before)] == before
    gone = commands.delete_charge(ORG, "b", "m", {"cascade_updates": True})
    told.define("2024-03-05", gone)
    assert told.usage("2024-03-06")["charges_usage"] == []


def test_instants_before_a_put_stay_those_of_the_plan() -> None:
    told = Story(fold_version=2).metric("m", "count_agg")
    told.plan({"code": "m", "pay_in_advance": True}, code="b").subscribe(plan_code="b")
    told.send("2024-01-05")
    put(told, "2024-01-05T00:00:30", amount_cents=5)
    told.send("2024-01-06")
    instants = [r for r in told.records("2024-02-02") if r["type"] == "usage.instant"]
    assert len(instants) == 2
    parents = [each["charge"]["lago_parent_id"] for each in instants]
    (charge,) = plan_of(told, "b").charges
    assert parents[-1] == charge.id
