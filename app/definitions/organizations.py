"""Organizations: what each says of itself, and of customers that do not say otherwise.

An organization and its one billing entity are the same definition. Rules: metering-semantics §7.4.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from app.bounds.turns import Steps
from app.definitions.command import Command
from app.definitions.currencies import described_currency
from app.definitions.decision import Decision, payload_body
from app.definitions.fields import OUT_OF_RANGE, Fields, integer
from app.definitions.model import DEFAULT_TIMEZONE, MAX_DAYS, Organization, Subscription
from app.definitions.outcome import Impact
from app.definitions.shapes import ORGANIZATION_TEXT_KEYS
from app.definitions.state import Definitions
from app.definitions.subscriptions import moved_downgrades
from app.definitions.webhook_endpoints import with_first_url

_ECHOED = ("invoice_footer", "document_locale")
"""Keys of a billing configuration that are only echoed."""


def update(definitions: Definitions, command: Command, now_ms: int) -> Steps[Decision]:
    """Change the given keys of an organization, and so of its billing entity."""
    organization_id = command.organization_id
    old = definitions.organization(organization_id) or Organization(
        id=organization_id, created_at_ms=now_ms, updated_at_ms=now_ms
    )
    fields = Fields(payload_body(command, "organization"))
    new = _described(fields, old, now_ms)
    endpoints = with_first_url(definitions, fields, command, now_ms)
    fields.require_valid()
    if msgspec.structs.replace(new, updated_at_ms=old.updated_at_ms) == old:
        return Decision(old, None, endpoints)
    if _shape(old) == _shape(new):
        return Decision(new, None, (new, *endpoints))
    moved: tuple[Subscription, ...] = ()
    if old.timezone != new.timezone:
        subscriptions = _following_the_organization(definitions, organization_id)
        moved = yield from moved_downgrades(definitions, subscriptions, new.timezone, now_ms)
    known = definitions.subscriptions_count(organization_id) > 0
    return Decision(new, Impact(organization_id) if known else None, (*moved, new, *endpoints))


def _following_the_organization(
    definitions: Definitions, organization_id: str
) -> Iterator[Subscription | None]:
    """Yield subscriptions whose customers have no timezone of their own; None for another."""
    for subscription in definitions.subscriptions_from_newest(organization_id):
        customer = definitions.customer_of(subscription).at()
        follows = customer is not None and customer.timezone is None
        yield subscription if follows else None


def _described(fields: Fields, old: Organization, now_ms: int) -> Organization:
    attributes = dict(old.attributes)
    attributes |= fields.texts(ORGANIZATION_TEXT_KEYS)
    if fields.has("net_payment_term"):
        attributes["net_payment_term"] = fields.integer("net_payment_term", 0, MAX_DAYS)
    if fields.has("default_currency"):
        attributes["default_currency"] = described_currency(fields, "default_currency")
    echoed = Fields(fields.mapping("billing_configuration"))
    attributes |= echoed.texts(_ECHOED)
    timezone = fields.timezone(DEFAULT_TIMEZONE) if fields.has("timezone") else old.timezone
    grace_days = old.grace_days
    if echoed.has("invoice_grace_period"):
        grace_days = _grace_days(echoed)
    fields.take_errors(echoed)
    return msgspec.structs.replace(
        old,
        updated_at_ms=now_ms,
        timezone=timezone,
        grace_days=grace_days,
        attributes=attributes,
    )


def _grace_days(fields: Fields) -> int | None:
    value = fields.get("invoice_grace_period")
    days = integer(value)
    if value is not None and (days is None or not 0 <= days <= MAX_DAYS):
        fields.fail("invoice_grace_period", OUT_OF_RANGE)
    return days


def _shape(organization: Organization) -> tuple[str, int | None]:
    """Return what of an organization shapes usage: its timezone and its grace in days."""
    return organization.timezone, organization.grace_days
