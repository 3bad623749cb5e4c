"""Which keys of a vector the checks read, so that no other is passed over in silence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Known = Mapping[str, Any]
"""Key to the known keys below it; None where nothing below it is looked into."""


def _keys(*names: str) -> dict[str, None]:
    return dict.fromkeys(names)


_TOLD = _keys(
    "id",
    "name",
    "topic",
    "source",
    "also",
    "kind",
    "basis",
    "note",
    "notes",
    "reference",
    "store_answers",
    "verified",
    "asserted_by_source",
)
"""What a vector says about itself."""

_PERIOD = _keys("from", "to", "duration_days", "timezone")
_FILTER = _keys("name", "values", "grouped_by")

AGGREGATION: Known = {
    **_TOLD,
    **_keys("expect", "compare", "mode", "dedup", "input_units", "filter_buckets", "carry"),
    **_keys("match_filters", "ignore_filters", "group_values", "bill_full_amount", "context"),
    "free_units": _keys("per_events", "per_total_aggregation"),
    "metric": {
        **_keys("code", "name", "aggregation_type", "field_name", "expression", "recurring"),
        **_keys("rounding_function", "rounding_precision", "weighted_interval"),
        "filters": _keys("key", "values"),
    },
    "charge": {
        **_keys("prorated", "grouped_by", "pay_in_advance", "accepts_target_wallet"),
        **_keys("presentation_by"),
        "filters": _FILTER,
    },
    "subscription": {
        **_keys("external_id", "started_at", "ended_at", "upgraded", "subscription_at"),
        **_keys("billing_time", "interval", "timezone", "resolve_at", "terminated_at"),
        **_keys("pay_in_advance", "bill_charges_monthly", "bill_fixed_charges_monthly"),
        "previous": _keys("started_at", "ended_at"),
    },
    "period": _PERIOD,
    "events": _keys(
        "organization_id",
        "external_subscription_id",
        "transaction_id",
        "code",
        "timestamp",
        "precise_total_amount_cents",
        "properties",
    ),
    "checkpoints": {
        **_keys("at", "events_ingested", "expect"),
        "period": _PERIOD,
        "subscription": _keys("external_id"),
    },
}
"""Of `aggregation/*.json`. What `expect` and `compare` may hold, their checks know."""

PERIODS: Known = {
    **_TOLD,
    **_keys("interval", "billing_time", "timezone", "subscription_at", "started_at", "billing_at"),
    **_keys("current_usage", "terminated_at", "pay_in_advance", "expect"),
    **_keys("bill_charges_monthly", "bill_fixed_charges_monthly"),
    "next_subscription": _keys("status", "downgrade"),
    "last_invoice": _keys("timezone", "charges_to_datetime", "fixed_charges_to_datetime"),
}
"""Of `periods.json`."""

BILLING_DAYS: Known = {
    **_TOLD,
    **_keys("interval", "billing_time", "timezone", "subscription_at", "expect"),
    **_keys("bill_charges_monthly", "bill_fixed_charges_monthly"),
    **_keys("runs_at", "idle_at", "runs_on_a_billing_day"),
}
"""Of `billing_days.json`."""

LATE: Known = {
    **_TOLD,
    **_keys("settings", "at", "expect"),
    "definitions": _keys("_append_time", "method", "path", "body"),
    "events": None,
}
"""Of `late.json`. The fold reads all of an event; what `expect` may hold, its check knows."""

DAY_COUNTS: Known = {**_TOLD, **_keys("timezone", "from", "to", "expect")}
"""Of `day_counts.json`."""

_THRESHOLD = _keys("code", "value", "recurring")
ALERTS: Known = {
    **_TOLD,
    **_keys("previous", "current"),
    "thresholds": _THRESHOLD,
    "expect": {"crossed": _THRESHOLD},
}
"""Of `alerts.json`."""


def unread(vector: Any, known: Known) -> tuple[str, ...]:
    """Places of the keys that no check reads, in order and each once."""
    return tuple(dict.fromkeys(_unread(vector, known, "")))


def _unread(value: Any, known: Known, place: str) -> Iterator[str]:
    if isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _unread(item, known, place)
    elif isinstance(value, Mapping):
        for key, below in value.items():
            inner = f"{place}.{key}" if place else key
            if key not in known:
                yield inner
            elif known[key] is not None:
                yield from _unread(below, known[key], inner)
