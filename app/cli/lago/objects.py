"""Lago's objects as bodies for our API: what is taken, what has no place here, what differs."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple

from app.cli.remote import Json
from app.definitions import shapes
from app.definitions.aggregation_types import NOT_FOR_SALE

ORGANIZATION_KEYS: Final = ("timezone", "billing_configuration")
METRIC_KEYS: Final = tuple(key for key in shapes.METRIC_KEYS if key != "code")
PLAN_KEYS: Final = tuple(key for key in shapes.PLAN_KEYS if key != "code")
CHARGE_KEYS: Final = tuple(
    key for key in shapes.CHARGE_KEYS if key not in ("id", "billable_metric_id", "code")
)
FILTER_KEYS: Final = ("invoice_display_name", "properties")
CUSTOMER_KEYS: Final = tuple(key for key in shapes.CUSTOMER_KEYS if key != "external_id")
SUBSCRIPTION_KEYS: Final = tuple(key for key in shapes.SUBSCRIPTION_KEYS if key != "external_id")
_CONFIGURED: Final = (
    "invoice_grace_period",
    "document_locale",
    "subscription_invoice_issuing_date_anchor",
    "subscription_invoice_issuing_date_adjustment",
)
OF_OVERRIDDEN_CHARGES: Final = ("properties", "min_amount_cents", "invoice_display_name")
_INHERITED: Final = frozenset(PLAN_KEYS) - frozenset(shapes.OVERRIDE_KEYS)


class Difference(NamedTuple):
    """A field that Lago and we say differently."""

    field: str
    lago: Any
    here: Any


def metric_body(metric: Json) -> Json:
    """Return what is taken of a metric."""
    body = _picked(metric, METRIC_KEYS)
    if "filters" in body:
        filters = [
            {"key": each.get("key"), "values": sorted(map(str, each.get("values") or ()))}
            for each in body["filters"] or ()
        ]
        body["filters"] = sorted(filters, key=lambda each: str(each["key"]))
    return body


def organization_body(organization: Json) -> Json:
    """Return what shapes usage of an organization: its timezone and its grace."""
    body = _configured(_picked(organization, ORGANIZATION_KEYS), _CONFIGURED[:1])
    # What says nothing: no timezone, and a grace of 0, which is Lago's default.
    grace = (body.get("billing_configuration") or {}).get("invoice_grace_period")
    said = {"timezone": body.get("timezone"), "billing_configuration": grace}
    return {key: value for key, value in body.items() if said[key]}


def customer_body(customer: Json) -> Json:
    """Return what is taken of a customer."""
    body = _configured(_picked(customer, CUSTOMER_KEYS), _CONFIGURED)
    if "metadata" in body:
        entries = [_picked(m, ("key", "value", "display_in_invoice")) for m in body["metadata"]]
        body["metadata"] = sorted(entries, key=lambda entry: str(entry.get("key")))
    return body


def plan_body(plan: Json) -> Json:
    """Return what is taken of a plan."""
    charges = [charge_body(charge) for charge in plan.get("charges") or ()]
    return _picked(plan, PLAN_KEYS) | {"charges": charges}


def has_place(charge: Json, not_here: Container[str]) -> bool:
    """Return whether a charge can be made here: not on a metric that has no place."""
    model, metric = charge.get("charge_model"), charge.get("billable_metric_code")
    return model != "custom" and metric not in not_here


def charge_name(charge: Json) -> str:
    """Return what a charge is called in what is told."""
    return f"charge {charge.get('code') or charge.get('billable_metric_code')}"


def charge_body(charge: Json) -> Json:
    """Return what is taken of a charge."""
    body = _picked(charge, CHARGE_KEYS)
    if charge.get("code"):
        body["code"] = charge["code"]
    if "properties" in body:
        body["properties"] = _properties(body["properties"])
    return body | {"filters": [filter_body(each) for each in charge.get("filters") or ()]}


def filter_body(charge_filter: Json) -> Json:
    """Return what is taken of a filter of a charge."""
    values = {key: list(texts) for key, texts in (charge_filter.get("values") or {}).items()}
    body = _picked(charge_filter, FILTER_KEYS) | {"values": values}
    if "properties" in body:
        body["properties"] = _properties(body["properties"])
    return body


def subscription_body(subscription: Json) -> Json:
    """Return what is taken of a subscription; its overrides come apart."""
    return _picked(subscription, SUBSCRIPTION_KEYS)


def overrides_of(plan: Json, charge_here: Callable[[Json], str | None]) -> Json:
    """Return a child plan as overrides; `charge_here` names our charge that one was copied from."""
    charges = []
    for charge in plan.get("charges") or ():
        parent = charge_here(charge)
        if parent is not None:
            body = charge_body(charge)
            taken = _picked(body, (*OF_OVERRIDDEN_CHARGES, "filters"))
            charges.append({"id": parent, **taken})
    return _picked(plan, shapes.OVERRIDE_KEYS) | {"charges": charges}


def differences(lago: Json, here: Json, keys: Iterable[str]) -> list[Difference]:
    """Return the fields that Lago says and we say otherwise; nothing and its default are equal."""
    return [
        Difference(key, lago[key], here.get(key))
        for key in keys
        if key in lago and not same(lago[key], here.get(key))
    ]


def plan_differences(lago: Json, here: Json) -> list[Difference]:
    """Return what differs of a plan, charge by charge; both are bodies."""
    found = differences(lago, here, PLAN_KEYS)
    pairs, extra = paired(lago["charges"], here["charges"])
    for name, wanted, known in pairs:
        if known is None:
            found.append(Difference(name, "there", "missing"))
        else:
            found += [
                Difference(f"{name}.{field}", theirs, ours)
                for field, theirs, ours in charge_differences(wanted, known)
            ]
    return found + [Difference(name, "missing", "there") for name in extra]


def override_differences(lago: Json, here: Json) -> list[Difference]:
    """Return how a child plan differs from the plan of our subscription."""
    if not here.get("parent_id"):
        return [Difference("plan_overrides", "there", "missing")]
    return [
        Difference(f"plan_overrides.{each.field}", each.lago, each.here)
        for each in plan_differences(plan_body(lago), plan_body(here))
        if each.field not in _INHERITED
    ]


def charge_differences(lago: Json, here: Json) -> list[Difference]:
    """Return what differs of a charge, with its filters; both are bodies."""
    found = differences(lago, here, CHARGE_KEYS)
    if not same(_by_values(lago["filters"]), _by_values(here["filters"])):
        found.append(Difference("filters", lago["filters"], here["filters"]))
    return found


def paired(
    lago: Sequence[Json], here: Sequence[Json]
) -> tuple[list[tuple[str, Json, Json | None]], list[str]]:
    """Return each of Lago's charges with ours of that code, else of that metric; and who is left.

    Old versions of Lago have no codes of charges: there the order decides.
    """
    left = list(here)
    pairs: list[tuple[str, Json, Json | None]] = []
    for charge in lago:
        known = next((each for each in left if _is_pair(charge, each)), None)
        if known is not None:
            left.remove(known)
        pairs.append((charge_name(charge), charge, known))
    return pairs, [charge_name(charge) for charge in left]


def _is_pair(lago: Json, here: Json) -> bool:
    if lago.get("code"):
        return bool(lago["code"] == here.get("code"))
    return bool(lago.get("billable_metric_code") == here.get("billable_metric_code"))


def same(one: Any, other: Any) -> bool:
    """Return whether two values say the same: what is empty is not there, also inside."""
    return bool(_plain(one) == _plain(other))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        plain = {key: _plain(item) for key, item in value.items()}
        return {key: item for key, item in plain.items() if item is not None} or None
    if isinstance(value, list):
        return [_plain(item) for item in value] or None
    # By identity: 0 is a value, and equals False.
    return None if value is False or value == "" else value


def values_text(charge_filter: Json) -> str:
    """Return what a filter selects as one text, in whatever order it is listed."""
    values: Json = charge_filter.get("values") or {}
    return repr(sorted((name, sorted(texts)) for name, texts in values.items()))


def _by_values(filters: Sequence[Json]) -> list[Any]:
    return sorted(
        ([values_text(each), _picked(each, FILTER_KEYS)] for each in filters),
        key=lambda pair: str(pair[0]),
    )


def _properties(properties: Json | None) -> Json:
    """Return properties with group keys under their present name only."""
    taken = dict(properties or {})
    former = taken.pop("grouped_by", None)
    if former and not taken.get("pricing_group_keys"):
        taken["pricing_group_keys"] = former
    return taken


def _configured(body: Json, keys: Sequence[str]) -> Json:
    if "billing_configuration" in body:
        body["billing_configuration"] = _picked(body["billing_configuration"] or {}, keys)
    return body


def _picked(body: Json, keys: Iterable[str]) -> Json:
    return {key: body[key] for key in keys if key in body}


def without_place(kind: str, item: Json) -> Iterator[str]:
    """Yield what of an object has no place here, as words."""
    if kind == "metric" and item.get("aggregation_type") == NOT_FOR_SALE:
        yield NOT_FOR_SALE
    for name, words in _NO_PLACE.get(kind, {}).items():
        held = item.get(name)
        if held:
            yield f"{words}{_codes(held)}"
    if kind == "plan":
        yield from _of_charges(item)
    if kind == "customer":
        yield from _of_customer(item)


def _of_charges(plan: Json) -> Iterator[str]:
    for charge in plan.get("charges") or ():
        for name, words in _NO_PLACE["charge"].items():
            if charge.get(name):
                yield f"{words}{_codes(charge[name])} of {charge_name(charge)}"


def _of_customer(customer: Json) -> Iterator[str]:
    entity = customer.get("billing_entity_code")
    if entity not in (None, "", "default"):
        yield f"billing entity {entity}: here its organization has one"
    provider = (customer.get("billing_configuration") or {}).get("payment_provider")
    if provider:
        yield f"payment provider {provider}"


def _codes(held: Any) -> str:
    codes = [str(each["code"]) for each in _list(held) if isinstance(each, dict) and "code" in each]
    return f" {', '.join(codes)}" if codes else ""


def _list(held: Any) -> list[Any]:
    return held if isinstance(held, list) else [held]


_NO_PLACE: Final[dict[str, dict[str, str]]] = {
    "plan": {
        "taxes": "taxes",
        "usage_thresholds": "thresholds in money",
        "minimum_commitment": "a minimum commitment",
        "fixed_charges": "fixed charges",
        "entitlements": "entitlements",
    },
    "charge": {"taxes": "taxes", "applied_pricing_unit": "a pricing unit"},
    "customer": {"taxes": "taxes", "integration_customers": "integrations"},
    "subscription": {"usage_thresholds": "thresholds in money", "entitlements": "entitlements"},
}
