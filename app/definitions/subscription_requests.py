"""What is asked for with a subscription: the body of a request, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from app.billing_periods.day_count import DAY_MS
from app.billing_periods.grid import BILLING_TIMES, BillingTime
from app.billing_periods.instants import parse_iso8601_ms
from app.definitions.command import Command
from app.definitions.decision import payload_body, payload_text
from app.definitions.fields import MANDATORY, TAKEN, Fields, is_blank, scalar_text
from app.definitions.model import Customer, Plan
from app.definitions.outcome import Rejection, not_found
from app.definitions.overrides import note_errors, overrides_of
from app.definitions.state import Definitions

INVALID_DATE = "invalid_date"
LATEST_START_MS = 221_845_392_000_000
"""9000-01-01: leaves room for the periods after it."""


class Request(NamedTuple):
    """A valid request for a subscription."""

    id: str
    external_id: str
    customer: Customer
    new_customer: bool
    plan: Plan
    name: str | None
    billing_time: BillingTime
    subscription_at_ms: int
    ending_at_ms: int | None
    ending_at_given: bool
    overrides: Mapping[str, Any] | None


def request_of(definitions: Definitions, command: Command, now_ms: int) -> Request:
    """Read the body of a command that subscribes."""
    body = payload_body(command, "subscription")
    fields = Fields(body)
    external_customer_id = fields.mandatory_text("external_customer_id")
    fields.require_valid()
    plan = definitions.plan(command.organization_id, scalar_text(body.get("plan_code")) or "")
    if plan is None:
        raise Rejection(not_found("plan"))
    external_id = fields.mandatory_text("external_id")
    subscription_at_ms = subscription_at(fields, now_ms)
    found = definitions.customer(command.organization_id, external_customer_id)
    request = Request(
        id=payload_text(command, "id"),
        external_id=external_id,
        customer=found or _new_customer(command, external_customer_id, now_ms),
        new_customer=found is None,
        plan=plan,
        name=fields.text("name"),
        billing_time=_billing_time(fields),
        subscription_at_ms=subscription_at_ms,
        ending_at_ms=ending_at(fields, subscription_at_ms, now_ms),
        ending_at_given="ending_at" in body,
        overrides=overrides_of(body),
    )
    note_errors(fields)
    if request.id in definitions.subscription_versions:
        fields.fail("lago_id", TAKEN)
    fields.require_valid()
    return request


_NOTHING_SAID: Final[Mapping[str, Any]] = {}
"""One for all: most customers come with their subscriptions, and are told nothing more of."""


def _new_customer(command: Command, external_id: str, now_ms: int) -> Customer:
    return Customer(
        id=payload_text(command, "customer_id"),
        organization_id=command.organization_id,
        external_id=external_id,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
        attributes=_NOTHING_SAID,
    )


def _billing_time(fields: Fields) -> BillingTime:
    if fields.get("billing_time") == "":
        fields.fail("billing_time", MANDATORY)
        return "calendar"
    return fields.choice("billing_time", BILLING_TIMES) or "calendar"


def subscription_at(fields: Fields, now_ms: int) -> int:
    """Return the start that is asked for, by default now."""
    value = fields.get("subscription_at")
    if is_blank(value):
        return now_ms
    at_ms = parse_iso8601_ms(value) if isinstance(value, str) else None
    if at_ms is None or at_ms >= LATEST_START_MS:
        fields.fail("subscription_at", INVALID_DATE)
        return now_ms
    return at_ms


def ending_at(fields: Fields, subscription_at_ms: int, now_ms: int) -> int | None:
    """Return the wished end; as in Lago it is on a later day (UTC) than today and the start."""
    value = fields.get("ending_at")
    if is_blank(value):
        return None
    at_ms = parse_iso8601_ms(value) if isinstance(value, str) else None
    if at_ms is None or at_ms // DAY_MS <= max(now_ms, subscription_at_ms) // DAY_MS:
        fields.fail("ending_at", INVALID_DATE)
    return at_ms
