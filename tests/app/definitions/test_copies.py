"""Charges of child plans are copies that nobody makes before they are looked at."""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.turns import drained
from app.definitions import commands, copies, prices
from app.definitions.command import Command
from app.definitions.copies import CopiedCharges
from app.definitions.indexes import coded
from app.definitions.input_limits import NO_LIMITS
from app.definitions.model import Charge, HistoryRecord, Plan
from app.definitions.state import Definitions
from tables.routing.plan import ChargeFolds
from tests.app.definitions.test_at_once import replayed
from tests.world import bodies
from tests.world.definitions_log import ORG, Log

REGIONS = [{"key": "region", "values": ["eu", "us"]}]
KINDS = 9


def log_of(charges: int = 3) -> Log:
    """A plan with some charges, each with two filters."""
    log = Log("2024-01-01T00:00:00Z")
    for code in ("m", "n"):
        log.metric(code, aggregation_type="count_agg", filters=REGIONS)
    filters = [{"values": {"region": [each]}} for each in ("eu", "us")]
    charge = bodies.charge("m", filters=filters)
    log.plan("dear", charges=[{**charge, "code": f"c{n}"} for n in range(charges)])
    return log


def let_go() -> None:
    """Nothing that can be made again is at hand."""
    for kept in (copies._AT_HAND, prices._AT_HAND):
        kept._made.clear()


def log_after(changes: list[tuple[int, int]]) -> Log:
    """The log after some changes, each of a kind, by its number; now and then all is let go of."""
    log = log_of()
    for kind, number in [(0, 1), (1, 2), *changes]:
        log.now_ms += 1_000
        log.append(change(log, kind, number))
        if number % 2:
            let_go()
    return log


def subscribe(log: Log, name: str, **overrides: Any) -> Plan:
    subscription = log.subscribe(external_id=name, plan_code="dear", plan_overrides=overrides)
    plan = log.definitions.plan_by_id(subscription.plan_id)
    assert plan is not None
    return plan


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ids of the charges of which copies are made."""
    ids, copied_charge = list[str](), copies.copied_charge

    def making(plan_id: str, charge: Charge, now_ms: int) -> Charge:
        ids.append(charge.id)
        return copied_charge(plan_id, charge, now_ms)

    monkeypatch.setattr(copies, "copied_charge", making)
    return ids


def test_no_copy_is_made_of_what_nobody_looks_at(made: list[str]) -> None:
    log = log_of(20)
    parent = log.definitions.plan(ORG, "dear")
    assert parent is not None
    first = parent.charges[0]
    priced = {"id": first.id, "properties": {"amount": "7"}}
    plans = [subscribe(log, f"s{n}", amount_cents=n, charges=[priced]) for n in range(9)]
    let_go()
    made.clear()
    for plan in plans:
        charges = plan.charges
        assert isinstance(charges, CopiedCharges)
        assert charges._originals is parent.charges
        assert list(charges._own) == [0]
    assert len(list(log.definitions.plans_using(first.metric_id))) == 10
    assert drained(log.definitions.plan_index.metrics_charged([first.id])) == {first.metric_id}
    assert not made
    assert [each.parent_id for each in plans[0].charges] == [each.id for each in parent.charges]
    assert len(made) == 19
    list(plans[0].charges)
    assert len(made) == 19


def test_children_that_follow_a_change_share_what_came_of_it() -> None:
    log = log_of()
    plans = [subscribe(log, f"s{n}", amount_cents=n) for n in range(40)]
    price = {"properties": {"amount": "9"}, "cascade_updates": True}
    log.accept(commands.update_charge(ORG, "dear", "c1", price))
    parent = log.definitions.plan(ORG, "dear")
    assert parent is not None
    for plan in plans:
        follower = log.definitions.plan_by_id(plan.id)
        assert follower is not None
        assert isinstance(follower.charges, CopiedCharges)
        assert follower.charges._originals is parent.charges
        assert not follower.charges._own
        assert [each.properties["amount"] for each in follower.charges][1] == "9"
        assert [each.properties["amount"] for each in plan.charges][1] != "9"


def test_a_copy_that_is_made_again_is_compiled_once() -> None:
    log, folds = log_of(), ChargeFolds()
    plan = subscribe(log, "s", amount_cents=1)
    metric = log.definitions.metric(ORG, "m")
    assert metric is not None
    compiled = [folds.fold_of(each, metric, "UTC", NO_LIMITS) for each in plan.charges]
    let_go()
    again = [folds.fold_of(each, metric, "UTC", NO_LIMITS) for each in plan.charges]
    assert [one is other for one, other in zip(compiled, again, strict=True)] == [True] * 3


@given(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(st.characters(exclude_categories=["Cs"])),
)
def test_ids_of_copies_are_those_of_the_standard(plan_id: str, original: str) -> None:
    namespace = uuid5(NAMESPACE_URL, "meterstream:child-plans")
    made = copies._copied_id(plan_id, original)
    assert made == str(uuid5(namespace, f"{plan_id}\0{original}"))


def change(log: Log, kind: int, number: int) -> Command:
    """One of the commands that change a parent or a child."""
    parent = log.definitions.plan(ORG, "dear")
    assert parent is not None
    charge = parent.charges[number % len(parent.charges)] if parent.charges else None
    code, identity = ("", "") if charge is None else (charge.code, charge.id)
    amount: dict[str, Any] = {"amount": str(number), "b": number % 2, "a": number % 3 == 0}
    if number % 2:
        amount = dict(reversed(amount.items()))
    cascading = {"cascade_updates": True}
    name = f"s{number % 4}"
    own = {"amount_cents": number, "charges": [{"id": identity, "properties": amount}]}
    bare = {"charges": [{"id": identity, "filters": []}]}
    body = {"external_customer_id": "c", "plan_code": "dear", "external_id": name}
    return [
        commands.create_subscription(ORG, {**body, "plan_overrides": own if number % 3 else bare}),
        commands.create_subscription(ORG, {**body, "plan_overrides": {}}),
        commands.update_subscription(ORG, name, {"plan_overrides": own}),
        commands.update_charge(ORG, "dear", code, {"properties": amount, **cascading}),
        commands.delete_charge(ORG, "dear", code, cascading if number % 2 else None),
        commands.create_charge(
            ORG,
            "dear",
            {**bodies.charge("n" if number % 2 else "m"), "code": f"x{number}"} | cascading,
        ),
        commands.update_subscription_charge(
            commands.SubscriptionCharge(ORG, name, code), {"properties": amount}
        ),
        commands.update_billable_metric(
            ORG, "m", {"filters": [{"key": "region", "values": ["eu"] if number % 2 else ["us"]}]}
        ),
        commands.update_plan(ORG, "dear", {"description": str(number)}),
    ][kind]


def spelled(definitions: Definitions) -> list[tuple[int, int, Any]]:
    return [
        (at_ms, offset, plan and [msgspec.structs.asdict(plan), list(plan.charges)])
        for versions in definitions.plan_versions.values()
        for at_ms, offset, plan in versions.entries()
    ]


def whole(plans: list[tuple[int, int, Any]]) -> bytes:
    encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=list)
    return encoder.encode(plans)


@given(st.lists(st.tuples(st.integers(0, KINDS - 1), st.integers(0, 20)), max_size=25))
def test_plans_are_as_if_all_of_their_charges_were_kept(changes: list[tuple[int, int]]) -> None:
    log = log_after(changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coded, "with_copies", lambda plan, _: plan)
        kept = replayed(log)
        theirs = whole(spelled(kept))
    ours = log.definitions
    assert whole(spelled(ours)) == theirs
    assert ours.plan_index == kept.plan_index
    for versions in kept.plan_versions.values():
        for charge in [each for plan in versions.all() for each in plan.charges]:
            record = HistoryRecord(
                organization_id=ORG,
                charge_ids=(charge.id,),
                from_ms=0,
                to_ms=1,
                append_time_ms=log.now_ms,
                offset=99,
            )
            assert drained(ours.codes_named(record)) == drained(kept.codes_named(record))
