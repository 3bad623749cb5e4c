"""What of a request body goes into the log: known keys only, in one shape, of any type.

Nothing here judges values; a value of a wrong type stays and is refused when it is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import uuid4

from app.definitions.contacts import tidied

Body = dict[str, Any]

METRIC_KEYS = (
    "name",
    "code",
    "description",
    "aggregation_type",
    "weighted_interval",
    "recurring",
    "field_name",
    "expression",
    "rounding_function",
    "rounding_precision",
    "filters",
)
PLAN_KEYS = (
    "name",
    "code",
    "interval",
    "amount_cents",
    "amount_currency",
    "pay_in_advance",
    "description",
    "invoice_display_name",
    "trial_period",
    "bill_charges_monthly",
    "bill_fixed_charges_monthly",
    "metadata",
)
CHARGE_KEYS = (
    "id",
    "billable_metric_id",
    "billable_metric_code",
    "charge_model",
    "code",
    "invoice_display_name",
    "pay_in_advance",
    "prorated",
    "invoiceable",
    "regroup_paid_fees",
    "min_amount_cents",
    "accepts_target_wallet",
    "properties",
)
_NULL_IS_ABSENT = ("invoiceable", "accepts_target_wallet")
"""Keys of a charge whose null changes nothing. It is left out here: in a record of the log it is
the default, as in records of before."""
CHARGE_FILTER_KEYS = ("invoice_display_name", "properties", "values")
ALERT_KEYS = ("alert_type", "code", "name", "billable_metric_code", "thresholds")
ADDRESS_KEYS = ("address_line1", "address_line2", "city", "zipcode", "state", "country")
CUSTOMER_TEXT_KEYS = (
    "name",
    "firstname",
    "lastname",
    "customer_type",
    "email",
    "phone",
    "url",
    "logo_url",
    "legal_name",
    "legal_number",
    "tax_identification_number",
    *ADDRESS_KEYS,
    "finalize_zero_amount_invoice",
)
CUSTOMER_KEYS = (
    *CUSTOMER_TEXT_KEYS,
    "external_id",
    "currency",
    "timezone",
    "net_payment_term",
    "skip_invoice_custom_sections",
    "shipping_address",
    "billing_configuration",
    "metadata",
)
ORGANIZATION_TEXT_KEYS = (
    "country",
    "address_line1",
    "address_line2",
    "state",
    "zipcode",
    "email",
    "city",
    "legal_name",
    "legal_number",
    "tax_identification_number",
)
ORGANIZATION_KEYS = (
    *ORGANIZATION_TEXT_KEYS,
    "webhook_url",
    "net_payment_term",
    "default_currency",
    "timezone",
    "billing_configuration",
)
SUBSCRIPTION_KEYS = (
    "external_customer_id",
    "plan_code",
    "external_id",
    "name",
    "billing_time",
    "subscription_at",
    "ending_at",
    "on_termination_invoice",
)
WEBHOOK_ENDPOINT_KEYS = ("webhook_url", "signature_algo", "name", "event_types")


OVERRIDE_KEYS = (
    "amount_cents",
    "amount_currency",
    "name",
    "description",
    "invoice_display_name",
    "trial_period",
)


def new_id() -> str:
    """Return an id for an object that a command makes."""
    return str(uuid4())


def metric_body(body: object) -> Body:
    """Pick the known keys of a metric; a legacy `group` becomes `filters` unless there are some."""
    shaped = _pick(body, METRIC_KEYS)
    if shaped.get("filters") is None and isinstance(body, Mapping):
        filters = _group_filters(_without_nul(body.get("group")))
        if filters is not None:
            shaped["filters"] = filters
    return shaped


def plan_body(body: object) -> Body:
    """Pick the known keys of a plan; charges and charge filters get a `new_id` for their making."""
    return _pick(body, PLAN_KEYS) | _each(body, "charges", charge_body)


def customer_body(body: object) -> Body:
    """Pick the known keys of a customer; each metadata entry gets a `new_id` for its making."""
    shaped = _pick(body, CUSTOMER_KEYS)
    shaped |= tidied(shaped)
    address = shaped.get("shipping_address")
    if isinstance(address, Mapping):
        shaped["shipping_address"] = {**address, **_blanks(address)}
    return shaped | _blanks(shaped) | _each(body, "metadata", _metadata_body)


def _blanks(address: Mapping[str, Any]) -> Body:
    """Return null for each line of an address that is blank, as Lago keeps it."""
    lines = ((key, address.get(key)) for key in ADDRESS_KEYS)
    return {key: None for key, text in lines if isinstance(text, str) and not text.strip()}


def organization_body(body: object) -> Body:
    """Pick the known keys of an organization or of its billing entity."""
    shaped = _pick(body, ORGANIZATION_KEYS)
    return shaped | tidied(shaped)


def subscription_body(body: object) -> Body:
    """Pick the known keys of a subscription and of what it overrides of its plan."""
    return _pick(body, SUBSCRIPTION_KEYS) | _overrides(body)


def without_blanks(body: object) -> object:
    """Return the body of a new subscription without blanks around its ids and its name."""
    if not isinstance(body, Mapping):
        return body
    texts = {key: body.get(key) for key in ("external_customer_id", "external_id", "name")}
    return {
        **body,
        **{key: text.strip(_BLANKS) for key, text in texts.items() if isinstance(text, str)},
    }


_BLANKS = "\0\t\n\v\f\r "
"""What Ruby strips."""


def webhook_endpoint_body(body: object) -> Body:
    """Pick the known keys of a webhook endpoint."""
    return _pick(body, WEBHOOK_ENDPOINT_KEYS)


def charge_body(charge: object) -> Body:
    """Pick the known keys of a charge; it and its filters get a `new_id` for their making."""
    shaped = _pick(charge, CHARGE_KEYS) | _each(charge, "filters", charge_filter_body)
    for key in _NULL_IS_ABSENT:
        if key in shaped and shaped[key] is None:
            del shaped[key]
    return shaped | {"new_id": new_id()}


def charge_filter_body(charge_filter: object) -> Body:
    """Pick the known keys of a charge filter; it gets a `new_id` for its making.

    Keys that usage is presented by are those of its charge.
    """
    shaped = _pick(charge_filter, CHARGE_FILTER_KEYS) | {"new_id": new_id()}
    properties = shaped.get("properties")
    if isinstance(properties, dict):
        properties.pop("presentation_group_keys", None)
    return shaped


def _overrides(body: object) -> Body:
    """Return `plan_overrides` if there are any; null stands for none."""
    given = body.get("plan_overrides") if isinstance(body, Mapping) else None
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        return {"plan_overrides": _without_nul(given)}
    shaped = _pick(given, OVERRIDE_KEYS) | _each(given, "charges", charge_body)
    return {"plan_overrides": shaped}


def alert_body(alert: object) -> Body:
    """Pick the known keys of an alert; it gets a `new_id` for its making."""
    return _pick(alert, ALERT_KEYS) | {"new_id": new_id()}


def _metadata_body(entry: object) -> Body:
    return _pick(entry, ("id", "key", "value", "display_in_invoice")) | {"new_id": new_id()}


def _pick(body: object, keys: Iterable[str]) -> Body:
    if not isinstance(body, Mapping):
        return {}
    return {key: _without_nul(body[key]) for key in keys if key in body}


def _each(body: object, key: str, shape: Callable[[object], Body]) -> Body:
    """Return the list under `key` with every object shaped, or whatever else stands there."""
    if not isinstance(body, Mapping) or key not in body:
        return {}
    items = body[key]
    if not isinstance(items, list):
        return {key: _without_nul(items)}
    return {key: [shape(item) if isinstance(item, Mapping) else item for item in items]}


def _without_nul(value: Any) -> Any:
    """Drop the character U+0000 from any text, as Lago's storage does, which cannot hold it."""
    if isinstance(value, str):
        return value.replace("\0", "")
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, Mapping):
        return {_without_nul(key): _without_nul(item) for key, item in value.items()}
    return value


def _group_filters(group: object) -> list[Body] | None:
    """Return filters of a legacy group (metering-semantics §1.5), None when there is no group.

    One level is {key, values: [text…]}. On two levels each value is {name, key, values}: the names
    make one filter, and the united values of each inner key make another. seed 1 spells `values`
    as `value`.
    """
    if not isinstance(group, Mapping) or not group:
        return None
    values = group.get("values", group.get("value"))
    if not isinstance(values, list):
        return [{"key": group.get("key"), "values": values}]
    names: list[Any] = []
    inner: dict[Any, list[Any]] = {}
    for value in values:
        if not isinstance(value, Mapping):
            names.append(value)
            continue
        names.append(value.get("name"))
        key, nested = value.get("key"), value.get("values", value.get("value"))
        if isinstance(key, str):
            inner.setdefault(key, []).extend(nested if isinstance(nested, list) else [nested])
    parent = {"key": group.get("key"), "values": names}
    return [parent, *({"key": key, "values": values} for key, values in inner.items())]
