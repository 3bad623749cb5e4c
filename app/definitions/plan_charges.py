"""Charges and filters of a plan, one at a time: each write decides the plan's new whole.

Every decision shows a charge: as it is now, or, of a deletion, as it was with what is gone. Rules:
metering-semantics §7.1.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from app.definitions.cascades import NOTHING, Changing, Given, changing
from app.definitions.charges import (
    Body,
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
from app.definitions.outcome import Rejected, invalid, not_found
from app.definitions.state import Definitions

_FROZEN_IN_USE = (
    "code",
    "charge_model",
    "pay_in_advance",
    "prorated",
    "invoiceable",
    "regroup_paid_fees",
    "min_amount_cents",
)


class _NamedCharge(NamedTuple):
    """The charge that a command names, with its plan and its metric."""

    plan: Plan
    charge: Charge
    metric: Metric


def create(definitions: Definitions, command: Command, now_ms: int) -> Changing | Rejected:
    """Add a charge to a plan; it has to have a code, for the code is its address."""
    plan = _plan(definitions, command)
    if plan is None:
        return not_found("plan")
    body = payload_body(command, "charge")
    metric = find_metric(definitions, command.organization_id, body, {})
    if metric is None:
        return not_found("billable_metric")
    base = new_charge(body, metric, last_number(plan.charges) + 1, now_ms)
    charge = _described(plan, body, metric, base)
    if isinstance(charge, Rejected):
        return charge
    whole = msgspec.structs.replace(plan, charges=(*plan.charges, charge))
    return changing(definitions, command, plan, whole, charge, now_ms)


def update(definitions: Definitions, command: Command, now_ms: int) -> Changing | Rejected:
    """Change a charge; absent keys stay, and with subscriptions what billing hangs on stays too."""
    found = _found(definitions, command)
    if isinstance(found, Rejected):
        return found
    body = payload_body(command, "charge")
    if definitions.has_subscribers(found.plan.id):
        body = {key: value for key, value in body.items() if key not in _FROZEN_IN_USE}
    charge = _described(found.plan, body, found.metric, found.charge)
    if isinstance(charge, Rejected):
        return charge
    given = frozenset[str]() if body.get("properties") is None else frozenset({found.charge.id})
    return _replaced(definitions, command, found, charge, charge, now_ms, Given(given))


def delete(definitions: Definitions, command: Command, now_ms: int) -> Changing | Rejected:
    """Take a charge off its plan, with its filters."""
    found = _found(definitions, command)
    if isinstance(found, Rejected):
        return found
    left = tuple(charge for charge in found.plan.charges if charge is not found.charge)
    whole = msgspec.structs.replace(found.plan, charges=left)
    return changing(definitions, command, found.plan, whole, found.charge, now_ms)


def create_filter(definitions: Definitions, command: Command, now_ms: int) -> Changing | Rejected:
    """Add a filter to a charge; of filters with the same values the oldest takes the events."""
    found = _found(definitions, command)
    if isinstance(found, Rejected):
        return found
    made = added_filter(found.charge, found.metric, payload_body(command, "filter"))
    if isinstance(made, Rejected):
        return made
    charge = msgspec.structs.replace(found.charge, filters=(*found.charge.filters, made))
    return _replaced(definitions, command, found, charge, charge, now_ms)


def update_filter(definitions: Definitions, command: Command, now_ms: int) -> Changing | Rejected:
    """Change what a filter shows and how it groups; its values stay as long as it lives."""
    found = _found(definitions, command)
    if isinstance(found, Rejected):
        return found
    old = _filter(found.charge, command)
    if old is None:
        return not_found("charge_filter")
    new = changed_filter(found.charge, old, payload_body(command, "filter"))
    if isinstance(new, Rejected):
        return new
    filters = tuple(new if each is old else each for each in found.charge.filters)
    charge = msgspec.structs.replace(found.charge, filters=filters)
    return _replaced(definitions, command, found, charge, charge, now_ms)


def delete_filter(definitions: Definitions, command: Command, now_ms: int) -> Changing | Rejected:
    """Take a filter off its charge; its events fall to the next that matches."""
    found = _found(definitions, command)
    if isinstance(found, Rejected):
        return found
    gone = _filter(found.charge, command)
    if gone is None:
        return not_found("charge_filter")
    left = tuple(each for each in found.charge.filters if each is not gone)
    charge = msgspec.structs.replace(found.charge, filters=left)
    return _replaced(definitions, command, found, charge, found.charge, now_ms)


def added_filter(charge: Charge, metric: Metric, body: Body) -> ChargeFilter | Rejected:
    """Return the filter that a body adds to a charge."""
    fields = Fields({})
    made = described_filter(fields, body, metric.allowed_values, charge.charge_model)
    return invalid(fields.errors) if fields.errors else made


def changed_filter(charge: Charge, old: ChargeFilter, body: Body) -> ChargeFilter | Rejected:
    """Return a filter of a charge with the given keys; its values stay."""
    fields = Fields({"invoice_display_name": old.invoice_display_name, **body})
    new = msgspec.structs.replace(
        old,
        invoice_display_name=fields.text("invoice_display_name"),
        properties=described_properties(fields, charge.charge_model, old.properties),
    )
    return invalid(fields.errors) if fields.errors else with_kept_parts(new, old)


def charge_of(definitions: Definitions, plan: Plan, code: str) -> tuple[Charge, Metric] | Rejected:
    """Return the charge of a plan that has a code, with its metric."""
    charge = next((charge for charge in plan.charges if charge.code == code), None)
    metric = None if charge is None else definitions.metric_by_id(charge.metric_id)
    # A deleted metric has taken its charges along.
    if charge is None or metric is None:
        return not_found("charge")
    return charge, metric


def _plan(definitions: Definitions, command: Command) -> Plan | None:
    return definitions.plan(command.organization_id, payload_text(command, "code"))


def _found(definitions: Definitions, command: Command) -> _NamedCharge | Rejected:
    plan, code = _plan(definitions, command), payload_text(command, "charge_code")
    if plan is None:
        return not_found("plan")
    found = charge_of(definitions, plan, code)
    return found if isinstance(found, Rejected) else _NamedCharge(plan, *found)


def _filter(charge: Charge, command: Command) -> ChargeFilter | None:
    filter_id = payload_text(command, "filter_id")
    return next((each for each in charge.filters if each.id == filter_id), None)


def _described(plan: Plan, body: Body, metric: Metric, old: Charge) -> Charge | Rejected:
    """Return the charge as the body makes it, with a code that is no other charge's."""
    fields = Fields(body)
    code = old.code if old.code and is_blank(body.get("code")) else fields.mandatory_text("code")
    if any(charge.code == code and charge is not old for charge in plan.charges):
        fields.fail("code", TAKEN)
    charge = described_charge(body, metric, old, code)
    if isinstance(charge, Rejected):
        return invalid({**(charge.details or {}), **fields.errors})
    return invalid(fields.errors) if fields.errors else charge


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
