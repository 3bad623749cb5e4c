"""Charges of one subscription: each write makes its plan a child plan, or changes the child.

Charge and filter are named as the subscription has them now. They answer as the child has them.
Rules: metering-semantics §7.6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import msgspec

from app.definitions.charges import described_charge, selection_of
from app.definitions.command import Command
from app.definitions.decision import Decision, payload_body, payload_text
from app.definitions.model import Charge, ChargeFilter, Metric, Plan, Subscription
from app.definitions.outcome import Impact, Rejection, invalid, not_found
from app.definitions.overrides import OF_CHARGES, child_plan, on_plan
from app.definitions.plan_charges import (
    FilterOfCharge,
    charge_of,
    filter_of,
    with_changed_filter,
    with_filter,
    without_filter,
)
from app.definitions.plan_terms import changed
from app.definitions.state import Definitions
from app.definitions.subscriptions import find_subscription

VALUES_TAKEN = "value_already_exists"


Shown: TypeAlias = Charge | FilterOfCharge
_Write: TypeAlias = Callable[[Charge, Metric, ChargeFilter | None, Command], tuple[Charge, Shown]]


class _NamedParts(NamedTuple):
    """What a command names: a charge of a subscription, and a filter if it names one."""

    subscription: Subscription
    plan: Plan
    charge: Charge
    metric: Metric
    charge_filter: ChargeFilter | None


def update(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Change what a subscription may have of its own in a charge; absent keys stay."""
    return _decided(definitions, command, now_ms, _with_own_terms)


def create_filter(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Add a filter with values that no filter of the charge has."""
    return _decided(definitions, command, now_ms, _with_other_filter)


def update_filter(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Change what a filter shows and how it groups; its values stay as long as it lives."""
    return _decided(definitions, command, now_ms, with_changed_filter)


def delete_filter(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Take a filter off; its events fall to the next that matches."""
    return _decided(definitions, command, now_ms, without_filter)


def _with_own_terms(
    charge: Charge, metric: Metric, _: ChargeFilter | None, command: Command
) -> tuple[Charge, Shown]:
    body = payload_body(command, "charge")
    given = {key: body[key] for key in OF_CHARGES if key in body}
    new = described_charge(given, metric, charge, charge.code)
    return new, new


def _with_other_filter(
    charge: Charge, metric: Metric, named: ChargeFilter | None, command: Command
) -> tuple[Charge, Shown]:
    new, shown = with_filter(charge, metric, named, command)
    if selection_of(shown.charge_filter) in map(selection_of, charge.filters):
        raise Rejection(invalid({"values": [VALUES_TAKEN]}))
    return new, shown


def _decided(definitions: Definitions, command: Command, now_ms: int, write: _Write) -> Decision:
    """Return the decision of a write: one record makes the child plan and what changes in it."""
    found = _found(definitions, command, now_ms)
    subscription, plan = found.subscription, found.plan
    child = plan
    if plan.parent_id is None:
        child = child_plan(definitions, command, plan, {}, now_ms)
    # A child that was just made has its charges and filters in the order of the plan's.
    place = plan.charges.index(found.charge)
    own = child.charges[place]
    charge_filter = None
    if found.charge_filter is not None:
        charge_filter = own.filters[found.charge.filters.index(found.charge_filter)]
    new, shown = write(own, found.metric, charge_filter, command)
    charges = tuple(new if at == place else each for at, each in enumerate(child.charges))
    whole = msgspec.structs.replace(child, charges=charges)
    if child is plan:
        decision = changed(definitions, plan, whole, new)
        return msgspec.structs.replace(decision, object=shown)
    impact = Impact(subscription.organization_id, subscription.external_id)
    return Decision(shown, impact, (whole, on_plan(subscription, whole)))


def _found(definitions: Definitions, command: Command, now_ms: int) -> _NamedParts:
    external_id, status = payload_text(command, "external_id"), command.payload.get("status")
    subscription = find_subscription(
        definitions, command.organization_id, external_id, status or "active", now_ms
    )
    plan = definitions.plan_by_id(subscription.plan_id)
    if plan is None:
        raise Rejection(not_found("subscription"))
    charge, metric = charge_of(definitions, plan, payload_text(command, "charge_code"))
    return _NamedParts(subscription, plan, charge, metric, filter_of(charge, command))
