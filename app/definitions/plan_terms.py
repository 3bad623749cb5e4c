"""What a body makes of a plan, and what of that shapes usage (metering-semantics §7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.billing_periods.grid import INTERVALS
from app.definitions.charges import MAX_AMOUNT_CENTS, described_charges, find_metrics
from app.definitions.command import Command
from app.definitions.currencies import CURRENCIES
from app.definitions.decision import Decision
from app.definitions.fields import INVALID, MANDATORY, TAKEN, Fields, decimal, is_blank
from app.definitions.kept_parts import with_kept_parts
from app.definitions.model import Charge, Plan, listed_presentation_keys
from app.definitions.outcome import Impact
from app.definitions.per_event import asking_properties
from app.definitions.state import Definitions

_SPLIT_MONTHLY = ("semiannual", "yearly")
_FROZEN_IN_USE = (
    "code",
    "interval",
    "amount_currency",
    "pay_in_advance",
    "trial_period",
    "bill_charges_monthly",
    "bill_fixed_charges_monthly",
)


def updated_plan(
    definitions: Definitions,
    command: Command,
    old: Plan,
    body: Mapping[str, Any],
    now_ms: int,
) -> Plan:
    """Return a plan with the given keys; with subscriptions, what they hang on stays.

    Of charges too, but for records of the log without the mark `keeps_charges`.
    """
    in_use = definitions.has_subscribers(old.id)
    if in_use:
        body = {key: value for key, value in body.items() if key not in _FROZEN_IN_USE}
    keeps_charges = in_use and command.payload.get("keeps_charges") is True
    current = _body_of(old)
    return described_plan(definitions, old, current, body, now_ms, keeps_charges=keeps_charges)


def changed(definitions: Definitions, old: Plan, new: Plan, shown: Plan | Charge) -> Decision:
    """Return the decision that makes a plan another whole; `shown` is what it answers."""
    if new == old:
        return Decision(shown, None, ())
    codes = None
    if new.id == old.id and definitions.has_subscribers(old.id):
        codes = affected_codes(definitions, old, new)
    impact = Impact(new.organization_id, codes=codes, plan_id=new.id) if codes else None
    return Decision(shown, impact, (new,))


def described_plan(
    definitions: Definitions,
    old: Plan,
    current: Mapping[str, Any],
    given: Mapping[str, Any],
    now_ms: int,
    *,
    keeps_charges: bool = False,
) -> Plan:
    """Return `old` with every field taken from what is given, else as currently.

    `keeps_charges`: of its charges what billing hangs on stays.
    """
    fields = Fields({**current, **given})
    bodies = fields.objects("charges") if "charges" in given else None
    metrics = find_metrics(definitions, old.organization_id, bodies or (), old.charges)
    plan = _without_charges(definitions, old, fields)
    fields.require_valid()
    if bodies is None:
        return with_kept_parts(plan, old)
    charges = described_charges(bodies, metrics, old.charges, now_ms, in_use=keeps_charges)
    return with_kept_parts(msgspec.structs.replace(plan, charges=charges), old)


def _without_charges(definitions: Definitions, old: Plan, fields: Fields) -> Plan:
    code = fields.mandatory_text("code")
    # A child plan has the code of its parent, and holds none.
    holds = bool(code) and old.parent_id is None
    holder = definitions.plan(old.organization_id, code) if holds else None
    if holder is not None and holder.id != old.id:
        fields.fail("code", TAKEN)
    interval = fields.mandatory_choice("interval", INTERVALS)
    monthly = fields.flag("bill_charges_monthly")
    fixed_monthly = fields.flag("bill_fixed_charges_monthly")
    return msgspec.structs.replace(
        old,
        code=code,
        name=fields.mandatory_text("name"),
        interval=interval,
        amount_cents=_amount_cents(fields),
        amount_currency=_currency(fields),
        pay_in_advance=_pay_in_advance(fields),
        description=fields.text("description"),
        invoice_display_name=fields.text("invoice_display_name"),
        trial_period=_trial_period(fields),
        bill_charges_monthly=(monthly or False) if interval in _SPLIT_MONTHLY else None,
        bill_fixed_charges_monthly=(
            (fixed_monthly or False) if interval in _SPLIT_MONTHLY else None
        ),
        metadata=fields.mapping("metadata") or None,
    )


def _amount_cents(fields: Fields) -> int:
    if is_blank(fields.get("amount_cents")):
        fields.fail("amount_cents", MANDATORY)
        return 0
    return fields.integer("amount_cents", 0, MAX_AMOUNT_CENTS) or 0


def _currency(fields: Fields) -> str:
    currency = fields.get("amount_currency")
    if not isinstance(currency, str) or currency not in CURRENCIES:
        fields.fail("amount_currency", INVALID)
        return ""
    return currency


def _pay_in_advance(fields: Fields) -> bool:
    if fields.get("pay_in_advance") is None:
        fields.fail("pay_in_advance", INVALID)
    return fields.flag("pay_in_advance") or False


def _trial_period(fields: Fields) -> float | None:
    """Read the days of trial: only echoed, usage counts during trials."""
    value = fields.get("trial_period")
    if is_blank(value):
        return None
    days = decimal(value)
    if days is None or not 0 <= days < 10**6:
        fields.fail("trial_period", INVALID)
        return None
    return float(days)


def _body_of(plan: Plan) -> dict[str, Any]:
    return msgspec.structs.asdict(plan)


def affected_codes(definitions: Definitions, old: Plan, new: Plan) -> frozenset[str]:
    """Return codes of the metrics whose charges differ in anything that shapes usage."""
    before = {charge.id: _shape(charge) for charge in old.charges}
    after = {charge.id: _shape(charge) for charge in new.charges}
    changed = {
        shape[0]
        for one, other in ((before, after), (after, before))
        for charge_id, shape in one.items()
        if other.get(charge_id) != shape
    }
    metrics = (definitions.metric_by_id(metric_id) for metric_id in changed)
    return frozenset(metric.code for metric in metrics if metric is not None)


def _shape(charge: Charge) -> tuple[str, Any]:
    filters = [(f.id, f.values, charge.group_keys(f)) for f in charge.filters]
    presented_by = listed_presentation_keys(charge.properties)
    keys = (charge.group_keys(None), presented_by)
    return charge.metric_id, (charge.prorated, keys, asking_properties(charge), filters)
