"""Writes of the charges of one subscription, and of a plan's whose children follow."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.commands import SubscriptionCharge
from app.definitions.model import Charge, Plan
from app.definitions.outcome import Applied, Impact, Rejected
from app.definitions.plan_charges import FilterOfCharge
from tests.world import bodies
from tests.world.definitions_log import ORG, Log

EU, US = {"values": {"region": ["eu"]}}, {"values": {"region": ["us"]}}
REGION = [{"key": "region", "values": ["eu", "us"]}]
A = SubscriptionCharge(ORG, "sub_1", "a")


@pytest.fixture
def log() -> Log:
    """A plan with the charges a, filtered by region eu, and b; the subscription sub_1 to it."""
    log = Log("2024-01-01T00:00:00Z")
    log.metric("m", aggregation_type="count_agg", filters=REGION)
    charge = bodies.charge("m")
    charges = [{**charge, "code": "a", "filters": [EU]}, {**charge, "code": "b"}]
    log.plan("p", amount_cents=100, charges=charges)
    log.subscribe(plan_code="p")
    return log


def plan(log: Log) -> Plan:
    found = log.definitions.plan(ORG, "p")
    assert found is not None
    return found


def own(log: Log, external_id: str = "sub_1") -> Plan:
    """The plan that a subscription is on."""
    (versions,) = log.definitions.subscriptions(ORG, external_id)
    newest = versions.at()
    assert newest is not None
    found = log.definitions.plan_by_id(newest.plan_id)
    assert found is not None
    return found


def groups(amount: str = "1", *keys: str) -> dict[str, Any]:
    return {"amount": amount, "pricing_group_keys": list(keys)} if keys else {"amount": amount}


def test_the_first_write_makes_the_child(log: Log) -> None:
    parent = plan(log)
    body = {"properties": groups("2", "team"), "invoice_display_name": "A", "code": "x"}
    outcome = log.append(commands.update_subscription_charge(A, body))
    assert isinstance(outcome, Applied)
    changed = outcome.object
    assert isinstance(changed, Charge)
    assert outcome.impact == Impact(ORG, "sub_1")
    assert changed == own(log).charges[0]
    assert (changed.parent_id, changed.code) == (parent.charges[0].id, "a")
    assert (changed.properties, changed.invoice_display_name) == (groups("2", "team"), "A")
    assert plan(log) == parent
    child = own(log)
    again = log.accept(commands.update_subscription_charge(A, {"min_amount_cents": 5}))
    assert (again.id, again.min_amount_cents, again.properties) == (
        changed.id,
        5,
        changed.properties,
    )
    assert own(log).id == child.id


def test_filters_come_and_go_by_their_values(log: Log) -> None:
    (theirs,) = plan(log).charges[0].filters
    body = {"properties": groups("3"), "invoice_display_name": "EU"}
    made = log.accept(commands.update_subscription_charge_filter(A, theirs.id, body))
    assert isinstance(made, FilterOfCharge)
    charge, changed = made
    assert own(log).charges[0] == charge
    assert (changed.values, changed.properties) == (theirs.values, groups("3"))
    assert changed.id != theirs.id
    # From now on the ids are those of the child.
    gone = commands.delete_subscription_charge_filter(A, theirs.id)
    assert log.refuse(gone) == Rejected(404, "charge_filter_not_found")
    added = log.accept(commands.create_subscription_charge_filter(A, US))
    assert own(log).charges[0].filters == (changed, added.charge_filter)
    taken = commands.create_subscription_charge_filter(A, EU)
    wrong = {"values": ["value_already_exists"]}
    assert log.refuse(taken) == Rejected(422, "validation_errors", wrong)
    left = log.accept(commands.delete_subscription_charge_filter(A, changed.id))
    assert left.charge_filter == changed
    assert own(log).charges[0].filters == (added.charge_filter,)


def test_a_deletion_may_make_the_child(log: Log) -> None:
    (theirs,) = plan(log).charges[0].filters
    gone = log.accept(commands.delete_subscription_charge_filter(A, theirs.id))
    assert gone.charge_filter.id != theirs.id
    assert gone.charge_filter.values == theirs.values
    assert own(log).parent_id == plan(log).id
    assert own(log).charges[0].filters == ()
    assert plan(log).charges[0].filters == (theirs,)


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (
            commands.update_subscription_charge(SubscriptionCharge(ORG, "x", "a"), {}),
            "subscription",
        ),
        (commands.update_subscription_charge(A._replace(status="pending"), {}), "subscription"),
        (commands.update_subscription_charge(A._replace(charge_code="x"), {}), "charge"),
        (
            commands.create_subscription_charge_filter(A._replace(charge_code="x"), EU),
            "charge",
        ),
        (commands.update_subscription_charge_filter(A, "x", {}), "charge_filter"),
        (commands.delete_subscription_charge_filter(A, "x"), "charge_filter"),
    ],
)
def test_what_is_not_there(log: Log, command: Command, code: str) -> None:
    assert log.refuse(command) == Rejected(404, f"{code}_not_found")
    assert own(log).parent_id is None


@pytest.mark.parametrize(
    ("body", "details"),
    [
        ({"properties": {"amount": "x"}}, {"properties": ["invalid_amount"]}),
        ({"filters": [{"values": {"region": ["mars"]}}]}, {"values": ["value_is_invalid"]}),
        ({"min_amount_cents": -1}, {"min_amount_cents": ["value_is_out_of_range"]}),
    ],
)
def test_what_is_refused_makes_no_child(log: Log, body: Any, details: Any) -> None:
    refused = log.refuse(commands.update_subscription_charge(A, body))
    assert refused == Rejected(422, "validation_errors", details)
    assert own(log).parent_id is None


def cascade(body: Any) -> Any:
    return {**body, "cascade_updates": True}


@pytest.fixture
def child(log: Log) -> Log:
    """And a child plan of sub_1, alike."""
    log.accept(commands.update_subscription(ORG, "sub_1", {"plan_overrides": {}}))
    return log


def test_children_stay_unless_they_are_to_follow(child: Log) -> None:
    before = own(child)
    body = {"properties": groups("2", "team")}
    child.accept(commands.update_charge(ORG, "p", "a", body))
    child.accept(commands.delete_charge(ORG, "p", "b"))
    child.accept(commands.update_plan(ORG, "p", {"amount_cents": 7, "cascade_updates": False}))
    assert own(child) == before


def test_properties_that_were_alike_follow(child: Log) -> None:
    parent = plan(child)
    body = cascade({"properties": groups("2", "team"), "invoice_display_name": "A"})
    outcome = child.append(commands.update_charge(ORG, "p", "a", body))
    assert isinstance(outcome, Applied)
    assert outcome.impact == Impact(
        ORG, codes=frozenset({"m"}), plan_id=parent.id, with_children=True
    )
    assert own(child).charges[0].properties == groups("2", "team")
    assert own(child).charges[0].invoice_display_name is None


def test_of_other_properties_the_keys_follow(child: Log) -> None:
    child.accept(commands.update_subscription_charge(A, {"properties": groups("9", "country")}))
    body = cascade({"properties": groups("2", "team")})
    child.accept(commands.update_charge(ORG, "p", "a", body))
    assert own(child).charges[0].properties == groups("9", "team")
    child.accept(commands.update_charge(ORG, "p", "a", cascade({"properties": groups("3")})))
    assert own(child).charges[0].properties == groups("9")


def test_keys_follow_a_plan_that_had_them_before(child: Log) -> None:
    child.accept(commands.update_subscription_charge(A, {"properties": groups("9", "country")}))
    body = {"properties": groups("2", "team")}
    child.accept(commands.update_charge(ORG, "p", "a", body))
    child.accept(commands.update_charge(ORG, "p", "a", cascade({"invoice_display_name": "A"})))
    assert own(child).charges[0].properties == groups("9", "country")
    outcome = child.append(commands.update_charge(ORG, "p", "a", cascade(body)))
    assert isinstance(outcome, Applied)
    assert outcome.impact is not None
    assert outcome.impact.codes == frozenset({"m"})
    assert own(child).charges[0].properties == groups("9", "team")


def test_a_whole_list_of_charges_carries_keys_that_the_plan_had_before(child: Log) -> None:
    child.accept(commands.update_subscription_charge(A, {"properties": groups("9", "country")}))
    a, b = plan(child).charges
    kept = [{"id": a.id, "properties": a.properties}, {"id": b.id}]
    child.accept(commands.update_plan(ORG, "p", cascade({"charges": kept})))
    assert [charge.properties for charge in own(child).charges] == [groups("9"), groups()]


def switched(log: Log, wallets: bool | None) -> Command:
    """A change of the whole plan that says of its first charge whether it accepts wallets."""
    a, b = plan(log).charges
    kept = [{"id": a.id, "accepts_target_wallet": wallets}, {"id": b.id}]
    return commands.update_plan(ORG, "p", cascade({"charges": kept}))


def test_a_whole_list_of_charges_carries_whether_wallets_are_accepted(child: Log) -> None:
    before = own(child).charges
    outcome = child.append(switched(child, True))
    assert isinstance(outcome, Applied)
    assert outcome.impact is not None
    assert outcome.impact.codes == frozenset({"m"})
    a, b = own(child).charges
    assert (a.accepts_target_wallet, b) == (True, before[1])
    assert a.filters == before[0].filters
    child.accept(switched(child, None))
    assert own(child).charges[0].accepts_target_wallet


def test_wallets_follow_a_plan_that_accepted_them_before(child: Log) -> None:
    (a, _) = plan(child).charges
    child.accept(commands.update_charge(ORG, "p", a.code, cascade({"accepts_target_wallet": True})))
    # As in Lago a nested route carries properties and filters only.
    assert not own(child).charges[0].accepts_target_wallet
    child.accept(switched(child, True))
    assert own(child).charges[0].accepts_target_wallet


def test_a_command_without_the_mark_leaves_wallets_of_children(child: Log) -> None:
    command = switched(child, True)
    former = {key: each for key, each in command.payload.items() if key != "cascade_wallets"}
    child.accept(msgspec.structs.replace(command, payload=former))
    assert plan(child).charges[0].accepts_target_wallet
    assert not own(child).charges[0].accepts_target_wallet


def test_charges_come_and_go(child: Log) -> None:
    new = cascade({**bodies.charge("m"), "code": "c", "filters": [US]})
    made = child.accept(commands.create_charge(ORG, "p", new))
    copy = own(child).charges[-1]
    assert (copy.code, copy.parent_id, copy.number) == ("c", made.id, made.number)
    assert [dict(f.values) for f in copy.filters] == [{"region": ("us",)}]
    child.accept(commands.delete_charge(ORG, "p", "a", {"cascade_updates": True}))
    assert [charge.code for charge in own(child).charges] == ["b", "c"]


def test_a_code_that_a_child_has_gets_a_number(child: Log) -> None:
    kept = [{"id": charge.id} for charge in own(child).charges]
    more = {**bodies.charge("m"), "code": "c"}
    overrides = {"plan_overrides": {"charges": [*kept, more]}}
    child.accept(commands.update_subscription(ORG, "sub_1", overrides))
    child.accept(commands.create_charge(ORG, "p", cascade(more)))
    assert [charge.code for charge in own(child).charges] == ["a", "b", "c", "c_2"]
    assert own(child).charges[2].parent_id is None


def test_filters_follow_by_their_values(child: Log) -> None:
    added = cascade({**US, "properties": groups("2")})
    child.accept(commands.create_charge_filter(ORG, "p", "a", added))
    eu, us = own(child).charges[0].filters
    assert (dict(us.values), us.properties) == ({"region": ("us",)}, groups("2"))
    theirs = plan(child).charges[0].filters
    child.accept(commands.update_subscription_charge_filter(A, eu.id, {"properties": groups("9")}))
    for each in theirs:
        body = cascade({"properties": groups("5", "team")})
        child.accept(commands.update_charge_filter(ORG, "p", "a", each.id, body))
    assert [f.properties for f in own(child).charges[0].filters] == [
        groups("9", "team"),
        groups("5", "team"),
    ]
    gone = commands.delete_charge_filter(ORG, "p", "a", theirs[0].id, {"cascade_updates": True})
    child.accept(gone)
    assert own(child).charges[0].filters == (us_of(child),)


def us_of(log: Log) -> Any:
    return next(f for f in own(log).charges[0].filters if f.values == {"region": ("us",)})


def test_a_filter_that_is_there_is_not_added_again(child: Log) -> None:
    child.accept(commands.create_subscription_charge_filter(A, US))
    before = own(child)
    child.accept(commands.create_charge_filter(ORG, "p", "a", cascade(US)))
    assert own(child) == before


def test_amounts_that_were_alike_follow(child: Log) -> None:
    child.subscribe(external_id="sub_2", plan_code="p", plan_overrides={"amount_cents": 5})
    outcome = child.append(commands.update_plan(ORG, "p", cascade({"amount_cents": 7})))
    assert isinstance(outcome, Applied)
    assert outcome.impact is None
    assert (own(child).amount_cents, own(child, "sub_2").amount_cents) == (7, 5)


def test_a_whole_list_of_charges_is_carried_on(child: Log) -> None:
    (a, _) = plan(child).charges
    body = cascade({"charges": [{"id": a.id, "properties": groups("4")}, bodies.charge("m")]})
    child.accept(commands.update_plan(ORG, "p", body))
    assert [(c.code, c.properties) for c in own(child).charges] == [
        ("a", groups("4")),
        ("m", groups()),
    ]


def test_a_child_that_has_ended_stays(child: Log) -> None:
    before = own(child)
    child.accept(commands.terminate_subscription(ORG, "sub_1"))
    child.accept(commands.update_charge(ORG, "p", "a", cascade({"properties": groups("2")})))
    assert own(child) == before
