"""Plans: what may be created, changed and deleted (metering-semantics §7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.cascades import Changing, Given, changing
from app.definitions.command import Command
from app.definitions.decision import Change, Decision, Deletion, payload_body, payload_text
from app.definitions.fields import TAKEN
from app.definitions.model import Plan
from app.definitions.outcome import Impact, Rejection, invalid, not_found
from app.definitions.plan_terms import described_plan, updated_plan
from app.definitions.state import Definitions
from app.definitions.subscriptions import ended_chains


def create(definitions: Definitions, command: Command, now_ms: int) -> Decision:
    """Make a new plan with its charges."""
    plan_id = payload_text(command, "id")
    if plan_id in definitions.plan_versions:
        raise Rejection(invalid({"lago_id": [TAKEN]}))
    base = Plan(
        id=plan_id,
        organization_id=command.organization_id,
        code="",
        name="",
        interval="monthly",
        amount_cents=0,
        amount_currency="",
        created_at_ms=now_ms,
    )
    plan = described_plan(definitions, base, {}, payload_body(command, "plan"), now_ms)
    return Decision(plan, None, (plan,))


def update(definitions: Definitions, command: Command, now_ms: int) -> Changing:
    """Change the given keys; with subscriptions, what their periods and prices hang on stays."""
    old = definitions.plan(command.organization_id, payload_text(command, "code"))
    if old is None:
        raise Rejection(not_found("plan"))
    body = payload_body(command, "plan")
    plan = updated_plan(definitions, command, old, body, now_ms)
    wallets = command.payload.get("cascade_wallets") is True
    given = Given(
        _giving(body, "properties"),
        _giving(body, "accepts_target_wallet") if wallets else frozenset(),
    )
    return changing(definitions, command, old, plan, plan, now_ms, given)


def _giving(body: Mapping[str, Any], key: str) -> frozenset[str]:
    """Return the ids of the charges for which a body gives a key."""
    ids = (each.get("id") for each in body.get("charges") or () if each.get(key) is not None)
    # Another id than a text makes a new charge, as a missing one does.
    return frozenset(charge_id for charge_id in ids if isinstance(charge_id, str))


def delete(definitions: Definitions, command: Command, now_ms: int) -> Steps[Decision]:
    """End the plan, its child plans, and the subscriptions of all of them."""
    plan = definitions.plan(command.organization_id, payload_text(command, "code"))
    if plan is None:
        raise Rejection(not_found("plan"))
    subscriptions = definitions.subscriptions_of_plan(plan.id)
    ended = yield from ended_chains(definitions, subscriptions, now_ms)
    impact = Impact(plan.organization_id, plan_id=plan.id) if ended else None
    changes: list[Change] = [*ended]
    for count, child in enumerate(definitions.children_of(plan.id), 1):
        if count % STEP_ITEMS == 0:
            yield
        changes.append(Deletion(child))
    return Decision(plan, impact, (*changes, Deletion(plan)))
