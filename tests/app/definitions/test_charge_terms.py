"""Terms of a charge that do not go together are refused at the door."""

from __future__ import annotations

from typing import Any

import pytest

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.charge_terms import refused_terms
from app.definitions.command import Command
from app.definitions.log import decide
from app.definitions.outcome import Rejected
from app.definitions.what_if import branch_with
from tests.world.definitions_log import ORG, Log, plan_body

REFUSED: list[tuple[dict[str, Any], dict[str, list[str]]]] = [
    ({"invoiceable": False}, {"invoiceable": ["must_be_true_unless_pay_in_advance"]}),
    ({"charge_model": "custom"}, {"charge_model": ["invalid_aggregation_type_or_charge_model"]}),
    (
        {"min_amount_cents": 1, "pay_in_advance": True},
        {"min_amount_cents": ["not_compatible_with_pay_in_advance"]},
    ),
    (
        {"regroup_paid_fees": "invoice"},
        {"regroup_paid_fees": ["only_compatible_with_pay_in_advance_and_non_invoiceable"]},
    ),
    (
        {"regroup_paid_fees": "invoice", "pay_in_advance": True},
        {"regroup_paid_fees": ["only_compatible_with_pay_in_advance_and_non_invoiceable"]},
    ),
    (
        {"regroup_paid_fees": "invoice", "invoiceable": False},
        {
            "invoiceable": ["must_be_true_unless_pay_in_advance"],
            "regroup_paid_fees": ["only_compatible_with_pay_in_advance_and_non_invoiceable"],
        },
    ),
]


def presented(*keys: Any) -> dict[str, Any]:
    return {"properties": {"presentation_group_keys": list(keys)}}


DISPLAYED = {"value": "cloud", "options": {"display_in_invoice": True}}
REFUSED += [
    (changes, {"presentation_group_keys": codes})
    for changes, codes in (
        ({"properties": {"presentation_group_keys": "cloud"}}, ["invalid_type"]),
        ({"properties": {"presentation_group_keys": {"value": "cloud"}}}, ["invalid_type"]),
        (presented("cloud"), ["invalid_type"]),
        (presented({}), ["invalid_type"]),
        (presented({"value": " "}), ["invalid_type"]),
        (presented({"value": 1}), ["invalid_type"]),
        (presented({"value": "cloud", "name": "x"}), ["invalid_type"]),
        (presented({"value": "cloud", "options": None}), ["invalid_type"]),
        (presented({"value": "cloud", "options": {}}), ["invalid_type"]),
        (presented({"value": "c", "options": {"display_in_invoice": "yes"}}), ["invalid_type"]),
        (
            presented({"value": "c", "options": {"display_in_invoice": True, "x": 1}}),
            ["invalid_type"],
        ),
        (presented({"value": "a"}, {"value": "b"}, {"value": "c"}), ["too_many_keys"]),
        (presented(DISPLAYED, {"value": "cloud"}), ["value_is_duplicated"]),
    )
]
TAKEN: list[dict[str, Any]] = [
    {"properties": {"presentation_group_keys": None}},
    presented(),
    presented(DISPLAYED),
    presented({"value": "a"}, {"value": "b", "options": {"display_in_invoice": False}}),
    {},
    {"min_amount_cents": 1},
    {"min_amount_cents": 0, "pay_in_advance": True},
    {"invoiceable": False, "pay_in_advance": True},
    {"invoiceable": False, "pay_in_advance": True, "regroup_paid_fees": "invoice"},
]


def charge(**changes: Any) -> dict[str, Any]:
    return {"billable_metric_code": "storage", "charge_model": "package", **changes}


def refused(log: Log, command: Command) -> Rejected | None:
    decision = decide(log.definitions, command, log.now_ms)
    assert not isinstance(decision, Rejected)
    return refused_terms(log.definitions, decision.changes)


@pytest.mark.parametrize(("changes", "details"), REFUSED, ids=str)
def test_terms_that_do_not_go_together(
    changes: dict[str, Any], details: dict[str, list[str]]
) -> None:
    log = Log()
    log.metric()
    create = commands.create_plan(ORG, plan_body(charges=[charge(), charge(**changes)]))
    assert refused(log, create) == Rejected(422, "validation_errors", details)
    log.plan()
    update = commands.update_plan(ORG, "plan_code", {"charges": [charge(**changes)]})
    assert refused(log, update) == Rejected(422, "validation_errors", details)
    tried = drained(branch_with(log.definitions, ORG, [update], 0, 1, log.now_ms))
    assert tried == Rejected(422, "validation_errors", details)


@pytest.mark.parametrize("changes", TAKEN, ids=str)
def test_terms_that_go_together(changes: dict[str, Any]) -> None:
    log = Log()
    log.metric()
    create = commands.create_plan(ORG, plan_body(charges=[charge(**changes)]))
    assert refused(log, create) is None


def test_a_charge_keeps_what_it_had_before() -> None:
    log = Log()
    log.metric(filters=[{"key": "region", "values": ["eu", "us"]}])
    filters = [{"values": {"region": ["eu"]}}]
    (had,) = log.plan(charges=[charge(invoiceable=False, filters=filters)]).charges
    kept = charge(id=had.id, invoice_display_name="new", filters=filters)
    update = commands.update_plan(ORG, "plan_code", {"charges": [kept]})
    assert refused(log, update) is None
    other = commands.update_plan(ORG, "plan_code", {"charges": [kept, charge(invoiceable=False)]})
    assert refused(log, other) is not None
    trimmed = {"filters": [{"key": "region", "values": ["us"]}]}
    assert refused(log, commands.update_billable_metric(ORG, "storage", trimmed)) is None
    mended = commands.update_plan(ORG, "plan_code", {"charges": [{**kept, "invoiceable": True}]})
    assert refused(log, mended) is None


def test_keys_that_a_charge_is_presented_by_are_dropped_in_its_filters() -> None:
    properties = {"amount": "1", **presented(DISPLAYED)["properties"]}
    body = charge(filters=[{"values": {"region": ["eu"]}, "properties": properties}])
    made = commands.create_plan(ORG, plan_body(charges=[body]))
    (dropped,) = made.payload["plan"]["charges"][0]["filters"]
    assert dropped["properties"] == {"amount": "1"}
    assert "presentation_group_keys" in properties
