"""Customers: upsert and deletion (metering-semantics §7.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.command import Command
from app.definitions.currencies import described_currency
from app.definitions.decision import Decision, Deletion, payload_body, payload_text
from app.definitions.fields import INVALID, Fields, is_blank, scalar_text
from app.definitions.model import MAX_DAYS, Customer, Subscription
from app.definitions.outcome import Impact, Rejection, not_found
from app.definitions.shapes import CUSTOMER_TEXT_KEYS
from app.definitions.state import Definitions
from app.definitions.subscriptions import ended_chains, moved_downgrades


def upsert(definitions: Definitions, command: Command, now_ms: int) -> Steps[Decision]:
    """Make a new customer, or change the given keys of the known one."""
    fields = Fields(payload_body(command, "customer"))
    external_id = fields.mandatory_text("external_id")
    old = definitions.customer(command.organization_id, external_id)
    base = old or Customer(
        id=payload_text(command, "id"),
        organization_id=command.organization_id,
        external_id=external_id,
        created_at_ms=now_ms,
        updated_at_ms=now_ms,
    )
    customer = _described(fields, base, now_ms)
    # So records are read that were appended while a currency in use stayed.
    stays = command.payload.get("any_currency") is not True
    if stays and (yield from _currency_in_use_changes(definitions, base, customer)):
        fields.fail("currency", "currencies_does_not_match")
    fields.require_valid()
    if (
        old is not None
        and msgspec.structs.replace(customer, updated_at_ms=old.updated_at_ms) == old
    ):
        return Decision(old, None, ())
    # A new one has no subscriptions: those of a deleted one keep the terms that it last had.
    if old is None or _shape(old) == _shape(customer):
        return Decision(customer, None, (customer,))
    impact = _impact(customer) if definitions.has_subscriptions(customer) else None
    moved: tuple[Subscription, ...] = ()
    if old.timezone != customer.timezone:
        timezone = definitions.timezone_of(customer.organization_id, customer)
        subscriptions = definitions.subscriptions_of_customer(customer)
        moved = yield from moved_downgrades(definitions, subscriptions, timezone, now_ms)
    return Decision(customer, impact, (*moved, customer))


def note_errors(fields: Fields) -> None:
    """Note what is wrong with a body whatever the definitions are."""
    external_id = fields.mandatory_text("external_id")
    nobody = Customer(
        id="", organization_id="", external_id=external_id, created_at_ms=0, updated_at_ms=0
    )
    _described(fields, nobody, 0)


def delete(definitions: Definitions, command: Command, now_ms: int) -> Steps[Decision]:
    """End the customer, and the subscriptions with it."""
    external_id = payload_text(command, "external_id")
    customer = definitions.customer(command.organization_id, external_id)
    if customer is None:
        raise Rejection(not_found("customer"))
    subscriptions = definitions.subscriptions_of_customer(customer)
    ended = yield from ended_chains(definitions, subscriptions, now_ms)
    return Decision(customer, _impact(customer) if ended else None, (*ended, Deletion(customer)))


def _described(fields: Fields, customer: Customer, now_ms: int) -> Customer:
    changed = msgspec.structs.replace(
        customer,
        updated_at_ms=now_ms,
        attributes={**customer.attributes, **_attributes(fields, customer.attributes)},
    )
    if fields.has("timezone"):
        changed = msgspec.structs.replace(changed, timezone=fields.timezone(None))
    billing = Fields(fields.mapping("billing_configuration"))
    if billing.has("invoice_grace_period"):
        grace_days = billing.integer("invoice_grace_period", 0, MAX_DAYS)
        fields.take_errors(billing)
        changed = msgspec.structs.replace(changed, grace_days=grace_days)
    return changed


def _attributes(fields: Fields, old: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given ones of the fields that are only echoed."""
    attributes: dict[str, Any] = dict(fields.texts(CUSTOMER_TEXT_KEYS))
    if fields.has("currency"):
        attributes["currency"] = described_currency(fields, "currency")
    if fields.has("net_payment_term"):
        attributes["net_payment_term"] = fields.integer("net_payment_term", 0, MAX_DAYS)
    if fields.has("skip_invoice_custom_sections"):
        attributes["skip_invoice_custom_sections"] = fields.flag("skip_invoice_custom_sections")
    for key in ("shipping_address", "billing_configuration"):
        if fields.has(key):
            attributes[key] = {**old.get(key, {}), **fields.mapping(key)}
    if fields.has("metadata"):
        attributes["metadata"] = _metadata(fields, old.get("metadata", []))
    return attributes


def _metadata(fields: Fields, old: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace all entries; an entry keeps its id by `id`, or by its key.

    One that is named by its id keeps what is not given.
    """
    ids = {entry["lago_id"]: entry["lago_id"] for entry in old}
    ids |= {entry["key"]: entry["lago_id"] for entry in old}
    kept = {entry["lago_id"]: entry for entry in old}
    entries: list[dict[str, Any]] = []
    for given in fields.objects("metadata") or ():
        named = given.get("id")
        body = {**kept.get(named if isinstance(named, str) else "", {}), **given}
        key, value = scalar_text(body.get("key")), scalar_text(body.get("value"))
        if key is None or is_blank(key) or (value is None and body.get("value") is not None):
            fields.fail("metadata", INVALID)
            continue
        entry_id = (ids.get(named) if isinstance(named, str) else None) or ids.get(key)
        entries.append(
            {
                "lago_id": entry_id or scalar_text(body.get("new_id")),
                "key": key,
                "value": value,
                "display_in_invoice": given.get("display_in_invoice") is True,
            }
        )
    return entries


def _currency_in_use_changes(definitions: Definitions, old: Customer, new: Customer) -> Steps[bool]:
    was = old.attributes.get("currency")
    if was is None or new.attributes.get("currency") == was:
        return False
    for count, subscription in enumerate(definitions.subscriptions_of_customer(old), 1):
        if subscription.canceled_at_ms is None:
            return True
        if count % STEP_ITEMS == 0:
            yield
    return False


def _shape(customer: Customer) -> tuple[str | None, int | None]:
    """Return what of a customer shapes usage: its timezone and its grace in days."""
    return customer.timezone, customer.grace_days


def _impact(customer: Customer) -> Impact:
    return Impact(customer.organization_id, external_customer_id=customer.external_id)
