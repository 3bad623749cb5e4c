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
from app.definitions.outcome import Impact, Rejected, invalid, not_found
from app.definitions.overrides import OF_CHARGES, child_plan, on_plan
from app.definitions.plan_charges import added_filter, changed_filter, charge_of
from app.definitions.plan_terms import changed
from app.definitions.state import Definitions
from app.definitions.subscriptions import find_subscription

VALUES_TAKEN = "value_already_exists"


class FilterOfCharge(NamedTuple):
    """A filter with its charge, as a write answers it."""

    charge: Charge
    charge_filter: ChargeFilter


Shown: TypeAlias = Charge | FilterOfCharge
_Change: TypeAlias = Callable[
    [Charge, Metric, ChargeFilter | None], tuple[Charge, Shown] | Rejected
]


class _NamedParts(NamedTuple):
    """What a command names: a charge of a subscription, and a filter if it names one."""

    subscription: Subscription
    plan: Plan
    charge: Charge
    metric: Metric
    charge_filter: ChargeFilter | None


def update(definitions: Definitions, command: Command, now_ms: int) -> Decision | Rejected:
    """Change what a subscription may have of its own in a charge; absent keys stay."""
    body = payload_body(command, "charge")
    given = {key: body[key] for key in OF_CHARGES if key in body}

    def change(
        charge: Charge, metric: Metric, _: ChargeFilter | None
    ) -> tuple[Charge, Shown] | Rejected:
        new = described_charge(given, metric, charge, charge.code)
        return new if isinstance(new, Rejected) else (new, new)

    return _decided(definitions, command, now_ms, change)


def create_filter(definitions: Definitions, command: Command, now_ms: int) -> Decision | Rejected:
    """Add a filter with values that no filter of the charge has."""

    def change(
        charge: Charge, metric: Metric, _: ChargeFilter | None
    ) -> tuple[Charge, Shown] | Rejected:
        made = added_filter(charge, metric, payload_body(command, "filter"))
        if isinstance(made, Rejected):
            return made
        if selection_of(made) in map(selection_of, charge.filters):
            return invalid({"values": [VALUES_TAKEN]})
        new = msgspec.structs.replace(charge, filters=(*charge.filters, made))
        return new, FilterOfCharge(new, made)

    return _decided(definitions, command, now_ms, change)


def update_filter(definitions: Definitions, command: Command, now_ms: int) -> Decision | Rejected:
    """Change what a filter shows and how it groups; its values stay as long as it lives."""

    def change(
        charge: Charge, _: Metric, old: ChargeFilter | None
    ) -> tuple[Charge, Shown] | Rejected:
        if old is None:
            return not_found("charge_filter")
        made = changed_filter(charge, old, payload_body(command, "filter"))
        if isinstance(made, Rejected):
            return made
        filters = tuple(made if each is old else each for each in charge.filters)
        new = msgspec.structs.replace(charge, filters=filters)
        return new, FilterOfCharge(new, made)

    return _decided(definitions, command, now_ms, change)


def delete_filter(definitions: Definitions, command: Command, now_ms: int) -> Decision | Rejected:
    """Take a filter off; its events fall to the next that matches."""

    def change(
        charge: Charge, _: Metric, gone: ChargeFilter | None
    ) -> tuple[Charge, Shown] | Rejected:
        if gone is None:
            return not_found("charge_filter")
        left = tuple(each for each in charge.filters if each is not gone)
        return msgspec.structs.replace(charge, filters=left), FilterOfCharge(charge, gone)

    return _decided(definitions, command, now_ms, change)


def _decided(
    definitions: Definitions, command: Command, now_ms: int, change: _Change
) -> Decision | Rejected:
    """Return the decision of a write: one record makes the child plan and what changes in it."""
    found = _found(definitions, command, now_ms)
    if isinstance(found, Rejected):
        return found
    subscription, plan = found.subscription, found.plan
    child = plan
    if plan.parent_id is None:
        made = child_plan(definitions, command, plan, {}, now_ms)
        if isinstance(made, Rejected):
            return made
        child = made
    # A child that was just made has its charges and filters in the order of the plan's.
    place = plan.charges.index(found.charge)
    own = child.charges[place]
    charge_filter = None
    if found.charge_filter is not None:
        charge_filter = own.filters[found.charge.filters.index(found.charge_filter)]
    outcome = change(own, found.metric, charge_filter)
    if isinstance(outcome, Rejected):
        return outcome
    new, shown = outcome
    charges = tuple(new if at == place else each for at, each in enumerate(child.charges))
    whole = msgspec.structs.replace(child, charges=charges)
    if child is plan:
        decision = changed(definitions, plan, whole, new)
        return msgspec.structs.replace(decision, object=shown)
    impact = Impact(subscription.organization_id, subscription.external_id)
    return Decision(shown, impact, (whole, on_plan(subscription, whole)))


def _found(definitions: Definitions, command: Command, now_ms: int) -> _NamedParts | Rejected:
    external_id, status = payload_text(command, "external_id"), command.payload.get("status")
    subscription = find_subscription(
        definitions, command.organization_id, external_id, status or "active", now_ms
    )
    plan = None if subscription is None else definitions.plan_by_id(subscription.plan_id)
    if subscription is None or plan is None:
        return not_found("subscription")
    found = charge_of(definitions, plan, payload_text(command, "charge_code"))
    if isinstance(found, Rejected):
        return found
    charge, metric = found
    filter_id = command.payload.get("filter_id")
    named = next((each for each in charge.filters if each.id == filter_id), None)
    return _NamedParts(subscription, plan, charge, metric, named)
