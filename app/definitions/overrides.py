"""Overrides: a subscription's own terms, as a child plan of the plan that it asks for.

A child plan is a copy with ids of its own. They follow from the id of the child plan, which the
record gives, and from the ids of what is copied. Rules: metering-semantics §7.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from app.definitions.charges import described_charge
from app.definitions.command import Command
from app.definitions.copies import copied_charge
from app.definitions.decision import Decision, payload_body, payload_text
from app.definitions.fields import INVALID, TAKEN, Fields
from app.definitions.model import Charge, Plan, Subscription
from app.definitions.outcome import Rejection, invalid
from app.definitions.plan_terms import changed, described_plan, updated_plan
from app.definitions.shapes import OVERRIDE_KEYS
from app.definitions.state import Definitions

OF_CHARGES: Final = ("properties", "filters", "min_amount_cents", "invoice_display_name")
"""What of a charge a subscription may have of its own."""
_NEVER_NULL: Final = ("amount_cents", "amount_currency", "name", "charges")

Body = Mapping[str, Any]


def overrides_of(body: Body) -> Body | None:
    """Return what a body of a subscription overrides, without nulls; None: nothing at all."""
    given = body.get("plan_overrides")
    if not isinstance(given, Mapping):
        return None
    return {
        key: given[key]
        for key in (*OVERRIDE_KEYS, "charges")
        if key in given and (given[key] is not None or key not in _NEVER_NULL)
    }


def note_errors(fields: Fields) -> None:
    """Note overrides that are neither an object nor null."""
    given = fields.get("plan_overrides")
    if given is not None and not isinstance(given, Mapping):
        fields.fail("plan_overrides", INVALID)


def child_plan(
    definitions: Definitions, command: Command, parent: Plan, overrides: Body, now_ms: int
) -> Plan:
    """Return a new child of a plan, with what is overridden."""
    plan_id = payload_text(command, "child_plan_id")
    if plan_id in definitions.plan_versions:
        raise Rejection(invalid({"lago_id": [TAKEN]}))
    terms = {key: value for key, value in overrides.items() if key != "charges"}
    current = msgspec.structs.asdict(parent)
    plan = described_plan(definitions, parent, current, terms, now_ms)
    fields = Fields(overrides)
    bodies = fields.objects("charges") or ()
    fields.require_valid()
    charges = _copied(definitions, plan_id, parent.charges, bodies, now_ms)
    return msgspec.structs.replace(
        plan, id=plan_id, parent_id=parent.id, created_at_ms=now_ms, charges=charges
    )


def overridden(
    definitions: Definitions, command: Command, subscription: Subscription, now_ms: int
) -> Decision:
    """Return what overrides make of a subscription's plan: a child of it, or the child it is on."""
    overrides = overrides_of(payload_body(command, "subscription"))
    old = definitions.plan_by_id(subscription.plan_id)
    if overrides is None or old is None:
        return Decision(None, None, ())
    if old.parent_id is None:
        new = child_plan(definitions, command, old, overrides, now_ms)
    else:
        new = updated_plan(definitions, command, old, overrides, now_ms)
    return changed(definitions, old, new, new)


def on_plan(subscription: Subscription, plan: Plan) -> Subscription:
    """Return a subscription as it stands on a plan."""
    return msgspec.structs.replace(subscription, plan_id=plan.id, parent_plan_id=plan.parent_id)


def _copied(
    definitions: Definitions,
    plan_id: str,
    charges: Sequence[Charge],
    bodies: Sequence[Body],
    now_ms: int,
) -> tuple[Charge, ...]:
    """Return copies of charges, each with what the body that names its original says."""
    copied: list[Charge] = []
    for charge in charges:
        copy = copied_charge(plan_id, charge, now_ms)
        metric = definitions.metric_by_id(charge.metric_id)
        for body in bodies:
            if body.get("id") == charge.id and metric is not None:
                given = {key: body[key] for key in OF_CHARGES if key in body}
                copy = described_charge(given, metric, copy, charge.code)
        copied.append(copy)
    return tuple(copied)
