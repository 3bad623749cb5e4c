"""Charges and filters of a plan, one at a time: each write decides the plan's new whole.

Every decision shows a charge: as it is now, or, of a deletion, as it was with what is gone. Rules:
metering-semantics §7.1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import msgspec

from app.definitions.cascades import NOTHING, Changing, Given, changing
from app.definitions.charges import (
    Body,
    changing_in_use,
    described_charge,
    described_filter,
    described_properties,
    find_metric,
    last_number,
    new_charge,
)
from app.definitions.command import Command
from app.definitions.decision import payload_body, payload_text
from app.definitions.fields import TAKEN, Fields, is_blank
from app.definitions.kept_parts import with_kept_parts
from app.definitions.model import Charge, ChargeFilter, Metric, Plan
from app.definitions.outcome import Rejection, invalid, not_found
from app.definitions.state import Definitions


class _NamedCharge(NamedTuple):
    """The charge that a command names, with its plan and its metric."""

    plan: Plan
    charge: Charge
    metric: Metric


class FilterOfCharge(NamedTuple):
    """A filter with its charge, as a write answers it: if it is taken off, both as they were."""

    charge: Charge
    charge_filter: ChargeFilter


FilterWrite: TypeAlias = Callable[
    [Charge, Metric, ChargeFilter | None, Command], tuple[Charge, FilterOfCharge]
]
"""Returns a charge after a command about its filters, one of which it may name, and the answer."""


def create(definitions: Definitions, command: Command, now_ms: int) -> Changing:
    """Add a charge to a plan; it has to have a code, for the code is its address."""
    plan = _plan(definitions, command)
    body = payload_body(command, "charge")
    metric = find_metric(definitions, command.organization_id, body, {})
    if metric is None:
        raise Rejection(not_found("billable_metric"))
    base = new_charge(body, metric, last_number(plan.charges) + 1, now_ms)
    charge = _described(plan, body, metric, base)
    whole = msgspec.structs.replace(plan, charges=(*plan.charges, charge))
    return changing(definitions, command, plan, whole, charge, now_ms)


def update(definitions: Definitions, command: Command, now_ms: int) -> Changing:
    """Change a charge; absent keys stay, and with subscriptions what billing hangs on stays too."""
    found = _found(definitions, command)
    body = payload_body(command, "charge")
    if definitions.has_subscribers(found.plan.id):
        body = changing_in_use(body)
    charge = _described(found.plan, body, found.metric, found.charge)
    given = frozenset[str]() if body.get("properties") is None else frozenset({found.charge.id})
    return _replaced(definitions, command, found, charge, charge, now_ms, Given(given))


def delete(definitions: Definitions, command: Command, now_ms: int) -> Changing:
    """Take a charge off its plan, with its filters."""
    found = _found(definitions, command)
    left = tuple(charge for charge in found.plan.charges if charge is not found.charge)
    whole = msgspec.structs.replace(found.plan, charges=left)
    return changing(definitions, command, found.plan, whole, found.charge, now_ms)


def create_filter(definitions: Definitions, command: Command, now_ms: int) -> Changing:
    """Add a filter to a charge; of filters with the same values the oldest takes the events."""
    return _written(definitions, command, now_ms, with_filter)


def update_filter(definitions: Definitions, command: Command, now_ms: int) -> Changing:
    """Change what a filter shows and how it groups; its values stay as long as it lives."""
    return _written(definitions, command, now_ms, with_changed_filter)


def delete_filter(definitions: Definitions, command: Command, now_ms: int) -> Changing:
    """Take a filter off its charge; its events fall to the next that matches."""
    return _written(definitions, command, now_ms, without_filter)


def with_filter(
    charge: Charge, metric: Metric, _: ChargeFilter | None, command: Command
) -> tuple[Charge, FilterOfCharge]:
    """Return a charge with one more filter."""
    fields, body = Fields({}), payload_body(command, "filter")
    made = described_filter(fields, body, metric.allowed_values, charge.charge_model)
    fields.require_valid()
    new = msgspec.structs.replace(charge, filters=(*charge.filters, made))
    return new, FilterOfCharge(new, made)


def with_changed_filter(
    charge: Charge, _: Metric, old: ChargeFilter | None, command: Command
) -> tuple[Charge, FilterOfCharge]:
    """Return a charge with the given keys of one of its filters; the filter's values stay."""
    old = _required(old)
    body = payload_body(command, "filter")
    fields = Fields({"invoice_display_name": old.invoice_display_name, **body})
    changed = msgspec.structs.replace(
        old,
        invoice_display_name=fields.text("invoice_display_name"),
        properties=described_properties(fields, charge.charge_model, old.properties),
    )
    fields.require_valid()
    made = with_kept_parts(changed, old)
    filters = tuple(made if each is old else each for each in charge.filters)
    new = msgspec.structs.replace(charge, filters=filters)
    return new, FilterOfCharge(new, made)


def without_filter(
    charge: Charge, _: Metric, gone: ChargeFilter | None, command: Command
) -> tuple[Charge, FilterOfCharge]:
    """Return a charge without one of its filters."""
    gone = _required(gone)
    left = tuple(each for each in charge.filters if each is not gone)
    return msgspec.structs.replace(charge, filters=left), FilterOfCharge(charge, gone)


def _required(named: ChargeFilter | None) -> ChargeFilter:
    if named is None:
        raise Rejection(not_found("charge_filter"))
    return named


def charge_of(definitions: Definitions, plan: Plan, code: str) -> tuple[Charge, Metric]:
    """Return the charge of a plan that has a code, with its metric."""
    charge = next((charge for charge in plan.charges if charge.code == code), None)
    metric = None if charge is None else definitions.metric_by_id(charge.metric_id)
    # A deleted metric has taken its charges along.
    if charge is None or metric is None:
        raise Rejection(not_found("charge"))
    return charge, metric


def filter_of(charge: Charge, command: Command) -> ChargeFilter | None:
    """Return the filter of a charge that a command names; None: it names none that is there."""
    filter_id = command.payload.get("filter_id")
    return next((each for each in charge.filters if each.id == filter_id), None)


def _plan(definitions: Definitions, command: Command) -> Plan:
    plan = definitions.plan(command.organization_id, payload_text(command, "code"))
    if plan is None:
        raise Rejection(not_found("plan"))
    return plan


def _found(definitions: Definitions, command: Command) -> _NamedCharge:
    plan, code = _plan(definitions, command), payload_text(command, "charge_code")
    return _NamedCharge(plan, *charge_of(definitions, plan, code))


def _described(plan: Plan, body: Body, metric: Metric, old: Charge) -> Charge:
    """Return the charge as the body makes it, with a code that is no other charge's."""
    fields = Fields(body)
    code = old.code if old.code and is_blank(body.get("code")) else fields.mandatory_text("code")
    if any(charge.code == code and charge is not old for charge in plan.charges):
        fields.fail("code", TAKEN)
    try:
        charge = described_charge(body, metric, old, code)
    except Rejection as rejection:
        faults = {**(rejection.outcome.details or {}), **fields.errors}
        raise Rejection(invalid(faults)) from rejection
    fields.require_valid()
    return charge


def _written(
    definitions: Definitions, command: Command, now_ms: int, write: FilterWrite
) -> Changing:
    found = _found(definitions, command)
    charge, shown = write(found.charge, found.metric, filter_of(found.charge, command), command)
    return _replaced(definitions, command, found, charge, shown.charge, now_ms)


def _replaced(
    definitions: Definitions,
    command: Command,
    found: _NamedCharge,
    charge: Charge,
    shown: Charge,
    now_ms: int,
    given: Given = NOTHING,
) -> Changing:
    plan = found.plan
    charges = tuple(charge if each is found.charge else each for each in plan.charges)
    whole = msgspec.structs.replace(plan, charges=charges)
    return changing(definitions, command, plan, whole, shown, now_ms, given)
