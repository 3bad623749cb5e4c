"""Charges of a plan and their filters, one at a time: what they may be, and what they keep."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.bounds import limits
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.decision import Decision
from app.definitions.log import decide
from app.definitions.model import Charge, Plan
from app.definitions.outcome import Applied, Impact, Rejected
from app.definitions.sizes import outgrown, oversized
from tests.world.definitions_log import ORG, Log

PLAN = "plan_code"
MANDATORY, INVALID, TAKEN = ["value_is_mandatory"], ["value_is_invalid"], ["value_already_exist"]
REGION = [{"key": "region", "values": ["eu", "us"]}]
STANDARD = {"billable_metric_code": "storage", "charge_model": "standard"}
EU, US = {"values": {"region": ["eu"]}}, {"values": {"region": ["us"]}}


def started(*charges: dict[str, Any], **metric: Any) -> Log:
    """A plan with charges on the metric `storage`, which has regions."""
    log = Log()
    log.metric(**{"filters": REGION, **metric})
    log.plan(charges=[{**STANDARD, **charge} for charge in charges])
    return log


def plan(log: Log) -> Plan:
    found = log.definitions.plan(ORG, PLAN)
    assert found is not None
    return found


def named(log: Log, code: str) -> Charge:
    (charge,) = (charge for charge in plan(log).charges if charge.code == code)
    return charge


def add(code: str, /, **body: Any) -> Command:
    return commands.create_charge(ORG, PLAN, {**STANDARD, "code": code, **body})


def change(code: str, /, **body: Any) -> Command:
    return commands.update_charge(ORG, PLAN, code, body)


def add_filter(**body: Any) -> Command:
    return commands.create_charge_filter(ORG, PLAN, "api", body)


def change_filter(log: Log, number: int = 0, /, **body: Any) -> Command:
    filter_id = named(log, "api").filters[number].id
    return commands.update_charge_filter(ORG, PLAN, "api", filter_id, body)


def switches(charge: Charge) -> tuple[bool, bool]:
    return charge.invoiceable, charge.accepts_target_wallet


NULLS = {"invoiceable": None, "accepts_target_wallet": None}


def test_a_null_switch_changes_nothing() -> None:
    log = started(
        {"code": "api", "pay_in_advance": True, "invoiceable": False, "accepts_target_wallet": True}
    )
    assert switches(log.accept(change("api", **NULLS))) == (False, True)
    one = {"id": named(log, "api").id, **STANDARD, **NULLS}
    log.accept(commands.update_plan(ORG, PLAN, {"charges": [one]}))
    assert switches(named(log, "api")) == (False, True)
    assert switches(log.accept(add("new", **NULLS))) == (True, False)


def test_a_null_switch_of_a_former_record_is_the_default() -> None:
    log = started(
        {"code": "api", "pay_in_advance": True, "invoiceable": False, "accepts_target_wallet": True}
    )
    command = change("api")
    former = {**command.payload, "charge": {**command.payload["charge"], **NULLS}}
    made = log.accept(msgspec.structs.replace(command, payload=former))
    assert switches(made) == (True, False)


def test_a_charge_is_added_after_the_others() -> None:
    log = started({"code": "first"})
    (first,) = plan(log).charges
    log.at("2024-02-01T00:00:00Z")
    made = log.accept(add("api", invoice_display_name="API", filters=[EU], prorated=False))
    assert plan(log).charges == (first, made)
    assert plan(log).charges[0] is first
    assert (made.code, made.invoice_display_name) == ("api", "API")
    assert (made.created_at_ms, made.properties) == (log.now_ms, {"amount": "0"})
    assert [dict(each.values) for each in made.filters] == [{"region": ("eu",)}]


def test_a_charge_names_its_metric_by_id_or_code() -> None:
    log = started()
    metric = log.definitions.metric(ORG, "storage")
    assert metric is not None
    body = {"billable_metric_id": metric.id, "billable_metric_code": None, "code": "a"}
    by_id = commands.create_charge(ORG, PLAN, {**body, "charge_model": "package"})
    assert log.accept(by_id).metric_id == log.accept(add("b")).metric_id == metric.id


@pytest.mark.parametrize(
    ("body", "details"),
    [
        pytest.param({"code": None}, {"code": MANDATORY}, id="code-null"),
        pytest.param({"code": " "}, {"code": MANDATORY}, id="code-blank"),
        pytest.param({"code": ["a"]}, {"code": INVALID}, id="code-list"),
        pytest.param({"code": "api"}, {"code": TAKEN}, id="code-taken"),
        pytest.param({"charge_model": None}, {"charge_model": INVALID}, id="model"),
        pytest.param(
            {"code": "api", "charge_model": "x", "properties": 5},
            {"code": TAKEN, "charge_model": INVALID, "properties": INVALID},
            id="all-together",
        ),
        pytest.param({"properties": {"amount": "x"}}, {"properties": ["invalid_amount"]}, id="b"),
        pytest.param(
            {"prorated": True}, {"prorated": ["invalid_billable_metric_or_charge_model"]}, id="p"
        ),
        pytest.param({"filters": [{"values": {}}]}, {"values": MANDATORY}, id="filter-empty"),
        pytest.param(
            {"filters": [{"values": {"region": ["mars"]}}]}, {"values": INVALID}, id="filter"
        ),
    ],
)
def test_what_an_added_charge_may_not_be(
    body: dict[str, Any], details: dict[str, list[str]]
) -> None:
    log = started({"code": "api"})
    before = plan(log)
    refused = log.refuse(commands.create_charge(ORG, PLAN, {**STANDARD, "code": "new", **body}))
    assert refused == Rejected(422, "validation_errors", details)
    assert plan(log) is before


@pytest.mark.parametrize(
    ("command", "missing"),
    [
        (commands.create_charge(ORG, "no", {}), "plan"),
        (commands.create_charge("other", PLAN, {}), "plan"),
        (commands.create_charge(ORG, PLAN, {}), "billable_metric"),
        (add("x", billable_metric_code="unknown"), "billable_metric"),
        (commands.update_charge(ORG, "no", "api", {}), "plan"),
        (commands.update_charge(ORG, PLAN, "no", {}), "charge"),
        (commands.delete_charge(ORG, "no", "api"), "plan"),
        (commands.delete_charge(ORG, PLAN, "no"), "charge"),
        (commands.create_charge_filter(ORG, "no", "api", EU), "plan"),
        (commands.create_charge_filter(ORG, PLAN, "no", EU), "charge"),
        (commands.update_charge_filter(ORG, "no", "api", "f", {}), "plan"),
        (commands.update_charge_filter(ORG, PLAN, "no", "f", {}), "charge"),
        (commands.update_charge_filter(ORG, PLAN, "api", "f", {}), "charge_filter"),
        (commands.delete_charge_filter(ORG, "no", "api", "f"), "plan"),
        (commands.delete_charge_filter(ORG, PLAN, "no", "f"), "charge"),
        (commands.delete_charge_filter(ORG, PLAN, "api", "f"), "charge_filter"),
    ],
)
def test_what_is_not_there_is_not_found(command: Command, missing: str) -> None:
    assert started({"code": "api"}).refuse(command) == Rejected(404, f"{missing}_not_found")


def test_a_change_of_a_charge_leaves_absent_keys() -> None:
    log = started({"code": "api", "filters": [EU], "properties": {"amount": "3"}}, {"code": "b"})
    old, other = plan(log).charges
    log.at("2024-02-01T00:00:00Z")
    new = log.accept(change("api", invoice_display_name="Shown", accepts_target_wallet=True))
    assert (new.id, new.number, new.created_at_ms) == (old.id, old.number, old.created_at_ms)
    assert (new.invoice_display_name, new.accepts_target_wallet) == ("Shown", True)
    assert (new.properties, new.filters) == (old.properties, old.filters)
    assert plan(log).charges == (new, other)
    assert plan(log).charges[1] is other
    assert log.accept(change("api", invoice_display_name=None)).invoice_display_name is None


def test_given_filters_replace_the_list_by_values() -> None:
    log = started({"code": "api", "filters": [EU, US]})
    _, us = named(log, "api").filters
    priced = {**US, "properties": {"amount": "7"}}
    both = {"values": {"region": ["eu", "us"]}}
    new = log.accept(change("api", filters=[both, priced]))
    assert [each.id == us.id for each in new.filters] == [True, False]
    assert new.filters[0].properties == {"amount": "7"}
    assert log.accept(change("api", filters=None)).filters == new.filters
    assert log.accept(change("api", filters=[])).filters == ()


FROZEN = {
    "code": "other",
    "charge_model": "package",
    "pay_in_advance": True,
    "invoiceable": False,
    "regroup_paid_fees": "invoice",
    "prorated": True,
    "min_amount_cents": 5,
}


def test_while_nobody_uses_the_plan_all_of_a_charge_may_change() -> None:
    log = started({"code": "api"}, recurring=True)
    wanted = {**FROZEN, "charge_model": "standard", "min_amount_cents": 0}
    new = log.accept(change("api", **wanted))
    assert {name: getattr(new, name) for name in wanted} == wanted
    assert log.accept(change("other", code="")).code == "other"
    assert log.accept(change("other", code=None, min_amount_cents=None)).min_amount_cents == 0


def test_with_subscriptions_what_billing_hangs_on_is_ignored() -> None:
    log = started({"code": "api"}, recurring=True)
    log.subscribe()
    old = named(log, "api")
    assert log.accept(change("api", **FROZEN)) == old
    grouped = {"amount": "2", "pricing_group_keys": ["team"]}
    new = log.accept(change("api", **FROZEN, properties=grouped))
    assert {name: getattr(new, name) for name in FROZEN} == {
        name: getattr(old, name) for name in FROZEN
    }
    assert new.properties == grouped


@pytest.mark.parametrize(
    ("body", "details"),
    [
        pytest.param({"code": "b"}, {"code": TAKEN}, id="code-taken"),
        pytest.param({"code": {}}, {}, id="code-blank-object"),
        pytest.param({"code": [1]}, {"code": INVALID}, id="code-list"),
        pytest.param({"charge_model": "x"}, {"charge_model": INVALID}, id="model"),
        pytest.param({"properties": {"amount": 1}}, {"properties": ["invalid_amount"]}, id="a"),
        pytest.param(
            {"properties": {"amount": "1", "pricing_group_keys": "a"}},
            {"properties": ["invalid_type"]},
            id="group-keys",
        ),
        pytest.param({"filters": "x"}, {"filters": INVALID}, id="filters-text"),
        pytest.param({"filters": [{}]}, {"values": MANDATORY}, id="filter-empty"),
        pytest.param(
            {"pay_in_advance": True, "charge_model": "volume"},
            {"pay_in_advance": ["invalid_aggregation_type_or_charge_model"]},
            id="combination",
        ),
    ],
)
def test_what_a_changed_charge_may_not_be(
    body: dict[str, Any], details: dict[str, list[str]]
) -> None:
    log = started({"code": "api"}, {"code": "b"})
    command = change("api", **body)
    if details:
        assert log.refuse(command) == Rejected(422, "validation_errors", details)
    else:
        assert log.accept(command).code == "api"


def test_a_charge_is_deleted_with_its_filters() -> None:
    log = started({"code": "api", "filters": [EU]}, {"code": "b"})
    old, other = plan(log).charges
    assert log.accept(commands.delete_charge(ORG, PLAN, "api")) == old
    assert plan(log).charges == (other,)
    # The code is free again, for another charge.
    assert log.accept(add("api")).id != old.id


def test_a_filter_is_added_changed_and_deleted() -> None:
    log = started({"code": "api", "filters": [EU]})
    (eu,) = named(log, "api").filters
    made = log.accept(add_filter(**US, properties={"amount": "4"}, invoice_display_name="US"))
    assert made == named(log, "api")
    assert made.filters[0] is eu
    us = made.filters[1]
    assert (dict(us.values), us.invoice_display_name) == ({"region": ("us",)}, "US")
    # Its values are what it is: they never change.
    changed = log.accept(change_filter(log, 1, properties={"amount": "9"}, **EU)).filters[1]
    assert (changed.id, changed.values, changed.invoice_display_name) == (us.id, us.values, "US")
    assert changed.properties == {"amount": "9"}
    renamed = log.accept(change_filter(log, 1, invoice_display_name=None)).filters[1]
    assert (renamed.invoice_display_name, renamed.properties) == (None, {"amount": "9"})
    before = named(log, "api")
    assert log.accept(commands.delete_charge_filter(ORG, PLAN, "api", eu.id)) == before
    assert named(log, "api").filters == (renamed,)


def test_a_filter_may_have_the_values_of_another() -> None:
    log = started({"code": "api", "filters": [EU]})
    again = log.accept(add_filter(**EU))
    assert [dict(each.values) for each in again.filters] == [{"region": ("eu",)}] * 2


def test_of_filters_with_the_same_values_as_many_stay_as_are_listed() -> None:
    log = started({"code": "api", "filters": [US]})
    for amount in ("1", "2", "3"):
        log.accept(add_filter(**EU, properties={"amount": amount}))
    us, *same = named(log, "api").filters

    def listed(*amounts: str) -> list[tuple[str, Any]]:
        bodies = [{**EU, "properties": {"amount": amount}} for amount in amounts]
        new = log.accept(change("api", filters=[*bodies, US]))
        return [(each.id, each.properties["amount"]) for each in new.filters]

    # What is shown may be sent back: each keeps its own.
    ids = [each.id for each in same]
    shown = [(us.id, "0"), *zip(ids, "123", strict=True)]
    assert listed("1", "2", "3") == shown
    assert listed("5", "6") == [(us.id, "0"), (ids[0], "5"), (ids[1], "6")]
    assert listed("7") == [(us.id, "0"), (ids[0], "7")]
    assert listed("8", "9") == [(us.id, "0"), (ids[0], "8")]


@pytest.mark.parametrize(
    ("body", "details"),
    [
        pytest.param({}, {"values": MANDATORY}, id="absent"),
        pytest.param({"values": None}, {"values": MANDATORY}, id="null"),
        pytest.param({"values": {}}, {"values": MANDATORY}, id="empty"),
        pytest.param({"values": {"region": []}}, {"values": MANDATORY}, id="no-values"),
        pytest.param({"values": {"region": ["x"]}}, {"values": INVALID}, id="unknown"),
        pytest.param(
            {"values": {"zone": ["eu"]}},
            {"billable_metric_filter": ["relation_must_exist"]},
            id="unknown-key",
        ),
        pytest.param(
            {**EU, "properties": {"amount": ""}}, {"properties": ["invalid_amount"]}, id="amount"
        ),
        pytest.param({**EU, "invoice_display_name": {}}, {"invoice_display_name": INVALID}, id="n"),
    ],
)
def test_what_an_added_filter_may_not_be(
    body: dict[str, Any], details: dict[str, list[str]]
) -> None:
    refused = started({"code": "api"}).refuse(add_filter(**body))
    assert refused == Rejected(422, "validation_errors", details)


def test_what_a_changed_filter_may_not_be() -> None:
    log = started({"code": "api", "filters": [EU]})
    wrong = change_filter(log, properties={"amount": "-"}, invoice_display_name=[1])
    assert log.refuse(wrong).details == {
        "invoice_display_name": INVALID,
        "properties": ["invalid_amount"],
    }


def impact_of(log: Log, command: Command) -> Impact | None:
    outcome = log.append(command)
    assert isinstance(outcome, Applied)
    return outcome.impact


def test_only_what_counts_touches_usage_and_only_of_the_charges_metric() -> None:
    log = started({"code": "api"}, {"code": "b"})
    log.metric("calls")
    assert impact_of(log, add_filter(**EU)) is None
    impact = Impact(ORG, codes=frozenset({"storage"}), plan_id=log.subscribe().plan_id)
    calls = add("calls", billable_metric_code="calls")
    assert impact_of(log, calls) == Impact(ORG, codes=frozenset({"calls"}), plan_id=impact.plan_id)
    assert impact_of(log, change("api", invoice_display_name="x")) is None
    assert impact_of(log, change("api", properties={"amount": "5"})) is None
    grouped = {"amount": "5", "pricing_group_keys": ["team"]}
    assert impact_of(log, change("api", properties=grouped)) == impact
    assert impact_of(log, add_filter(**US)) == impact
    assert impact_of(log, change_filter(log, 1, properties={"amount": "5"})) is None
    assert impact_of(log, change_filter(log, 1, properties=grouped)) == impact
    filter_id = named(log, "api").filters[1].id
    assert impact_of(log, commands.delete_charge_filter(ORG, PLAN, "api", filter_id)) == impact
    assert impact_of(log, commands.delete_charge(ORG, PLAN, "b")) == impact


def test_what_changes_nothing_is_no_change() -> None:
    log = started({"code": "api", "filters": [EU], "properties": {"amount": "3"}})
    for command in (
        change("api", properties={"amount": "3"}),
        change("api", filters=[EU]),
        change("api", code="api", charge_model="standard"),
        change_filter(log, properties={"amount": "0"}),
    ):
        decision = decide(log.definitions, command, log.now_ms)
        assert isinstance(decision, Decision)
        assert decision.changes == ()


def test_a_nested_write_makes_the_plan_that_a_whole_one_makes() -> None:
    one, whole = started({"code": "api"}), started({"code": "api"})
    one.accept(add("b", filters=[EU]))
    one.accept(change("api", properties={"amount": "2"}))
    one.accept(add_filter(**US))
    kept = {"id": named(whole, "api").id, "properties": {"amount": "2"}, "filters": [US]}
    new = {**STANDARD, "code": "b", "filters": [EU]}
    whole.accept(commands.update_plan(ORG, PLAN, {"charges": [kept, new]}))

    def told(log: Log) -> list[Any]:
        return [
            (c.code, c.number, c.properties, [(f.values, f.properties) for f in c.filters])
            for c in plan(log).charges
        ]

    assert told(one) == told(whole)


def test_charges_are_numbered_in_the_order_in_which_they_were_made() -> None:
    log = started({"code": "a"}, {"code": "b"})
    log.accept(add("c"))
    kept = [{"id": named(log, code).id} for code in ("c", "a")]
    log.accept(commands.update_plan(ORG, PLAN, {"charges": [STANDARD, *kept]}))
    log.accept(add("d"))
    assert [(charge.code, charge.number) for charge in plan(log).charges] == [
        ("storage", 4),
        ("c", 3),
        ("a", 1),
        ("d", 5),
    ]


def test_a_plan_grows_no_further_than_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PLAN_CHARGES", 2)
    monkeypatch.setattr(limits, "PLAN_CHARGE_FILTERS", 2)
    log = started({"code": "api", "filters": [EU]}, {"code": "b", "filters": [US]})

    def door(command: Command) -> Rejected | None:
        decision = decide(log.definitions, command, log.now_ms)
        assert isinstance(decision, Decision)
        return oversized(command) or outgrown(command, decision)

    full = {"charges": ["limit_is_2"]}
    assert door(add("c")) == Rejected(422, "validation_errors", full)
    many = Rejected(422, "validation_errors", {"filters": ["limit_is_2"]})
    assert door(add_filter(**US)) == many
    assert door(change("api", filters=[EU, US])) == many
    assert door(change("api", filters=[EU, US, EU])) == many
    assert door(change("api", filters=[US], properties={"amount": "2"})) is None
    assert door(commands.delete_charge(ORG, PLAN, "api")) is None
    # What has more from before may change all the same.
    monkeypatch.setattr(limits, "PLAN_CHARGE_FILTERS", 1)
    assert door(change_filter(log, properties={"amount": "8"})) is None
    assert door(change("api", invoice_display_name="x")) is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"code": "c" * 5000}, "code"),
        ({"invoice_display_name": "n" * 256}, "invoice_display_name"),
        ({"properties": {"amount": "1" * 20_000}}, "properties"),
    ],
)
def test_what_is_too_long_is_refused_at_the_door(body: dict[str, Any], field: str) -> None:
    refusals = [oversized(add("c", **body)), oversized(change("c", **body))]
    if field != "code":
        refusals.append(oversized(add_filter(**EU, **body)))
        refusals.append(oversized(commands.update_charge_filter(ORG, PLAN, "c", "f", body)))
    for refused in refusals:
        assert refused is not None
        assert refused.details == {field: ["value_is_too_long"]}
