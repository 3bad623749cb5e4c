"""What a whole update of a plan that has subscriptions leaves of its charges."""

from __future__ import annotations

from typing import Any

import msgspec

from app.definitions import commands
from app.definitions.model import Charge, Plan
from tests.world.definitions_log import ORG, Log, plan_body

FLIPS = {
    "code": "x",
    "charge_model": "volume",
    "pay_in_advance": True,
    "prorated": True,
    "invoiceable": False,
    "regroup_paid_fees": "invoice",
    "min_amount_cents": 5,
}


def created() -> tuple[Log, Charge]:
    log = Log()
    log.metric(recurring=True)
    body = {"billable_metric_code": "storage", "charge_model": "standard"}
    plan = log.accept(commands.create_plan(ORG, plan_body(charges=[body])))
    return log, plan.charges[0]


def updated(log: Log, **changes: Any) -> Plan:
    plan = log.accept(commands.update_plan(ORG, "plan_code", changes))
    assert isinstance(plan, Plan)
    return plan


def with_subscription() -> tuple[Log, Charge]:
    log, old = created()
    log.subscribe()
    return log, old


def test_charges_of_a_plan_with_subscriptions_keep_what_billing_hangs_on() -> None:
    log, old = with_subscription()
    new = {"billable_metric_code": "storage", "charge_model": "volume", "code": "new"}
    changed = {"id": old.id, **FLIPS, "invoice_display_name": "A", "properties": {"amount": "5"}}
    kept, made = updated(log, charges=[changed, new]).charges
    shown = {"invoice_display_name": "A", "properties": {"amount": "5"}}
    assert kept == msgspec.structs.replace(old, **shown)
    # What is new takes a code that another one asked for in vain, and is all that it is told to be.
    assert (made.code, made.charge_model, made.number) == ("new", "volume", 2)


def test_of_a_plan_without_subscriptions_all_of_a_charge_may_change() -> None:
    log, old = created()
    flips = {**FLIPS, "charge_model": "graduated", "pay_in_advance": False, "invoiceable": True}
    changed = {"id": old.id, **flips, "regroup_paid_fees": None}
    (charge,) = updated(log, charges=[changed]).charges
    assert (charge.code, charge.charge_model, charge.prorated) == ("x", "graduated", True)


def test_a_command_without_the_mark_changes_charges_whole() -> None:
    log, old = with_subscription()
    changed = {"id": old.id, "prorated": True, "code": "x"}
    command = commands.update_plan(ORG, "plan_code", {"charges": [changed]})
    former = {key: each for key, each in command.payload.items() if key != "keeps_charges"}
    plan = log.accept(msgspec.structs.replace(command, payload=former))
    assert [(charge.code, charge.prorated) for charge in plan.charges] == [("x", True)]
