"""What a vector describes, as requests of the REST API and as a raw record."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from app.billing_periods.instants import iso_milliseconds
from app.definitions.aggregation_types import AGGREGATION_TYPES
from app.definitions.model import ALL_FILTER_VALUES
from app.numbers import plain
from tests.conformance.files import Json, Vector
from tests.conformance.live_plans import LivePlan
from tests.conformance.scenario import external_id
from tests.world import bodies

CUSTOMER = "customer"
PLAN = "plan"

_METRIC_FIELDS = (
    "field_name",
    "expression",
    "recurring",
    "rounding_function",
    "rounding_precision",
    "weighted_interval",
)


def takes_by_rest(vector: Json) -> bool:
    """Whether the API takes all of its events: it refuses what a stream passes over."""
    ids = [event.get("transaction_id") for event in vector.get("events") or ()]
    return len(set(ids)) == len(ids) and not vector["metric"].get("expression")


def metric_body(vector: Json) -> dict[str, Any]:
    """POST /billable_metrics. What only the vector's filters name is made known to the metric."""
    described = vector["metric"]
    filters = {f["key"]: list(f["values"]) for f in described.get("filters") or ()}
    charge_filters = (vector.get("charge") or {}).get("filters") or ()
    for selection in (vector.get("match_filters") or {}, *(f["values"] for f in charge_filters)):
        for key, values in selection.items():
            known = filters.setdefault(key, [])
            known += [v for v in values if v not in known and v != ALL_FILTER_VALUES]
    body = {
        "name": described.get("name") or described["code"],
        "code": described["code"],
        "aggregation_type": described["aggregation_type"],
        "filters": [{"key": key, "values": values} for key, values in filters.items()],
    }
    given = {key: described[key] for key in _METRIC_FIELDS if described.get(key) is not None}
    return {"billable_metric": body | given}


def plan_body(vector: Json, plan: LivePlan, metric_id: str) -> dict[str, Any]:
    """POST /plans, with the one charge; `match_filters` become its one filter."""
    described = vector.get("charge") or {}
    grouped_by = described.get("grouped_by")
    filters = described.get("filters") or ()
    if vector.get("match_filters"):
        filters = [{"values": vector["match_filters"], "grouped_by": grouped_by}]
    charge = {
        "billable_metric_id": metric_id,
        "charge_model": "standard",
        "prorated": bool(described.get("prorated")),
        # It shapes no figure, and the API has it for these types only.
        "pay_in_advance": bool(described.get("pay_in_advance"))
        and AGGREGATION_TYPES[vector["metric"]["aggregation_type"]].in_advance,
        "accepts_target_wallet": bool(described.get("accepts_target_wallet")),
        "properties": _properties(grouped_by),
        "filters": [
            {
                "invoice_display_name": f.get("name"),
                "values": f["values"],
                "properties": _properties(f.get("grouped_by")),
            }
            for f in filters
        ],
    }
    body = bodies.plan(PLAN, [charge], interval=plan.interval)
    return {"plan": body}


def _properties(grouped_by: list[str] | None) -> dict[str, Any]:
    return {"amount": "1"} | ({"pricing_group_keys": grouped_by} if grouped_by else {})


def customer_body(plan: LivePlan) -> dict[str, Any]:
    """POST /customers."""
    return {"customer": {"external_id": CUSTOMER, "timezone": plan.timezone}}


def subscription_body(external_id: str, plan: LivePlan) -> dict[str, Any]:
    """POST /subscriptions."""
    body = {
        "external_customer_id": CUSTOMER,
        "plan_code": PLAN,
        "external_id": external_id,
        "billing_time": plan.billing_time,
        "subscription_at": iso_milliseconds(plan.subscription_at_ms),
    }
    return {"subscription": body}


def raw_record(vector: Vector, number: int, organization_id: str) -> bytes:
    """The raw record of an event, its values as spelled in the file."""
    return msgspec.json.encode({**_event(vector, number), "organization_id": organization_id})


def event_body(vector: Vector, number: int, timestamp_ms: int) -> dict[str, Any]:
    """POST /events; its timestamp in unix seconds, as that takes no other."""
    seconds = plain(Decimal(timestamp_ms).scaleb(-3))
    return {"event": {**_event(vector, number), "timestamp": seconds}}


def _event(vector: Vector, number: int) -> dict[str, Any]:
    defaults = {
        "external_subscription_id": external_id(vector.json),
        "transaction_id": f"event {number}",
        "code": vector.json["metric"]["code"],
    }
    return {**defaults, **vector.events[number]}
