"""How large a definition may be: checked at the door, before it is appended.

What lies in the log already stays valid, so none of this is asked when a record is applied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from app.bounds import limits
from app.definitions.command import Command
from app.definitions.contacts import note_contacts
from app.definitions.customers import note_errors
from app.definitions.decision import Decision
from app.definitions.fields import INVALID, TAKEN, Fields, scalar_text
from app.definitions.model import Plan
from app.definitions.outcome import Rejected, invalid
from app.definitions.shapes import CUSTOMER_TEXT_KEYS, ORGANIZATION_TEXT_KEYS

TOO_LONG = "value_is_too_long"

_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f]")
_CUSTOMER_NAMES = ("name", "firstname", "lastname", "legal_name")
_OBJECTS = ("metadata", "shipping_address", "billing_configuration")

Body = Mapping[str, Any]


def oversized(command: Command) -> Rejected | None:
    """Tell what of a command is too long, too many or unreachable; None: nothing."""
    for root, check in _CHECKS.items():
        body = command.payload.get(root)
        if root == "alerts" and isinstance(body, list):
            body = {"alerts": body}
        if isinstance(body, Mapping):
            fields = Fields(body)
            check(fields, body, command.payload.get("code"))
            return invalid(fields.errors) if fields.errors else None
    return None


def outgrown(command: Command, decision: Decision) -> Rejected | None:
    """Tell what of a plan would be too many after a change: charges may keep what they had."""
    if not _adds(command):
        return None
    fields = Fields({})
    for change in decision.changes:
        if isinstance(change, Plan):
            count = sum(len(charge.filters) for charge in change.charges)
            _most(fields, "charges", len(change.charges), limits.PLAN_CHARGES)
            _most(fields, "filters", count, limits.PLAN_CHARGE_FILTERS)
    return invalid(fields.errors) if fields.errors else None


def _adds(command: Command) -> bool:
    """Return True if a command may add charges or filters to a plan."""
    kinds = ("create_charge", "create_charge_filter", "create_subscription_charge_filter")
    if command.type in kinds:
        return True
    lists = (("plan", "charges"), ("charge", "filters"))
    bodies = [(command.payload.get(root), name) for root, name in lists]
    subscription = command.payload.get("subscription")
    if isinstance(subscription, Mapping):
        bodies.append((subscription.get("plan_overrides"), "charges"))
    return any(isinstance(body, Mapping) and name in body for body, name in bodies)


def _metric(fields: Fields, body: Body, code: object) -> None:
    _names(fields, body, ("name",), limits.NAME_CHARACTERS)
    _names(fields, body, ("description",), limits.DESCRIPTION_CHARACTERS)
    _identifiers(fields, body, ("code", "field_name"))
    _reachable(fields, body, code)
    filters = _objects(body.get("filters"))
    _most(fields, "filters", len(filters), limits.FILTER_KEYS)
    for each in filters[: limits.FILTER_KEYS]:
        _names(fields, each, ("key",), limits.FILTER_VALUE_CHARACTERS)
        values = each.get("values")
        values = values if isinstance(values, list) else [values]
        _most(fields, "values", len(values), limits.FILTER_VALUES)
        if any(_characters(value) > limits.FILTER_VALUE_CHARACTERS for value in values):
            fields.fail("values", TOO_LONG)


def _plan(fields: Fields, body: Body, code: object) -> None:
    _names(fields, body, ("name", "invoice_display_name"), limits.NAME_CHARACTERS)
    _names(fields, body, ("description",), limits.DESCRIPTION_CHARACTERS)
    _identifiers(fields, body, ("code",))
    _reachable(fields, body, code)
    _encoded(fields, body, "metadata", limits.PROPERTIES_BYTES)
    charges = _objects(body.get("charges"))
    _most(fields, "charges", len(charges), limits.PLAN_CHARGES)
    filters = sum(len(_objects(charge.get("filters"))) for charge in charges)
    _most(fields, "filters", filters, limits.PLAN_CHARGE_FILTERS)
    if fields.errors:
        return
    kept = [charge["id"] for charge in charges if isinstance(charge.get("id"), str)]
    if len(set(kept)) < len(kept):
        fields.fail("id", TAKEN)
    for charge in charges:
        _charge(fields, charge, None)


def _charge(fields: Fields, body: Body, _: object) -> None:
    _names(fields, body, ("invoice_display_name",), limits.NAME_CHARACTERS)
    _identifiers(fields, body, ("code",))
    _priced(fields, body)
    filters = _objects(body.get("filters"))
    _most(fields, "filters", len(filters), limits.PLAN_CHARGE_FILTERS)
    for each in filters[: limits.PLAN_CHARGE_FILTERS]:
        _filter(fields, each, None)


def _filter(fields: Fields, body: Body, _: object) -> None:
    _names(fields, body, ("invoice_display_name",), limits.NAME_CHARACTERS)
    _encoded(fields, body, "values", limits.CHARGE_FILTER_VALUES_BYTES)
    _priced(fields, body)


def _priced(fields: Fields, body: Body) -> None:
    _encoded(fields, body, "properties", limits.PROPERTIES_BYTES)
    properties = body.get("properties")
    for name in ("pricing_group_keys", "grouped_by"):
        keys = properties.get(name) if isinstance(properties, Mapping) else None
        if isinstance(keys, list):
            _most(fields, name, len(keys), limits.GROUP_KEYS)


def _customer(fields: Fields, body: Body, _: object) -> None:
    _identifiers(fields, body, ("external_id",))
    _names(fields, body, _CUSTOMER_NAMES, limits.NAME_CHARACTERS)
    _names(fields, body, CUSTOMER_TEXT_KEYS, limits.CUSTOMER_TEXT_CHARACTERS)
    for name in _OBJECTS:
        _encoded(fields, body, name, limits.PROPERTIES_BYTES)
    for entry in _objects(body.get("metadata")):
        if any(_characters(text) > limits.CUSTOMER_TEXT_CHARACTERS for text in entry.values()):
            fields.fail("metadata", TOO_LONG)
    note_contacts(fields, body)
    if fields.errors:
        # All that is wrong with a customer is told at once, as in Lago.
        note_errors(fields)


def _organization(fields: Fields, body: Body, _: object) -> None:
    _names(fields, body, (*ORGANIZATION_TEXT_KEYS, "webhook_url"), limits.CUSTOMER_TEXT_CHARACTERS)
    _encoded(fields, body, "billing_configuration", limits.PROPERTIES_BYTES)
    note_contacts(fields, body)


def _subscription(fields: Fields, body: Body, _: object) -> None:
    _identifiers(fields, body, ("external_id", "external_customer_id", "plan_code"))
    _names(fields, body, ("name",), limits.NAME_CHARACTERS)
    overrides = body.get("plan_overrides")
    if isinstance(overrides, Mapping):
        _plan(fields, overrides, None)


def _webhook_endpoint(fields: Fields, body: Body, _: object) -> None:
    _names(fields, body, ("name",), limits.NAME_CHARACTERS)
    _names(fields, body, ("webhook_url",), limits.CUSTOMER_TEXT_CHARACTERS)


def _alert(fields: Fields, body: Body, _: object) -> None:
    _names(fields, body, ("name",), limits.NAME_CHARACTERS)
    _identifiers(fields, body, ("code",))
    for each in _objects(body.get("thresholds")):
        _names(fields, each, ("code",), limits.NAME_CHARACTERS)


def _alerts(fields: Fields, body: Body, _: object) -> None:
    for each in _objects(body.get("alerts")):
        _alert(fields, each, None)


_CHECKS: dict[str, Callable[[Fields, Body, object], None]] = {
    "billable_metric": _metric,
    "plan": _plan,
    "charge": _charge,
    "filter": _filter,
    "customer": _customer,
    "organization": _organization,
    "subscription": _subscription,
    "webhook_endpoint": _webhook_endpoint,
    "alert": _alert,
    "alerts": _alerts,
}


def _names(fields: Fields, body: Body, keys: Iterable[str], most: int) -> None:
    for key in keys:
        if _characters(body.get(key)) > most:
            fields.fail(key, TOO_LONG)


def _identifiers(fields: Fields, body: Body, keys: Iterable[str]) -> None:
    for key in keys:
        text = scalar_text(body.get(key))
        if text is not None and len(text.encode("utf-8", "surrogatepass")) > limits.CODE_BYTES:
            fields.fail(key, TOO_LONG)


def _reachable(fields: Fields, body: Body, had: object) -> None:
    """Refuse control characters in a new code: what is printed and typed could not name it."""
    code = scalar_text(body.get("code"))
    if code is not None and code != had and _CONTROL.search(code):
        fields.fail("code", INVALID)


def _encoded(fields: Fields, body: Body, key: str, most: int) -> None:
    value = body.get(key)
    if value is not None and len(msgspec.json.encode(value)) > most:
        fields.fail(key, TOO_LONG)


def _most(fields: Fields, field: str, count: int, most: int) -> None:
    if count > most:
        fields.fail(field, f"limit_is_{most}")


def _objects(value: object) -> list[Body]:
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, Mapping)]


def _characters(value: object) -> int:
    return len(scalar_text(value) or "")
