"""Usage records as rows: one a cell and revision, flat, in an order of columns that only grows.

Figures are the texts that records spell, never floats. Groups and filters are `key=value` texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

Json = Mapping[str, Any]

COLUMNS: Final = (
    "type",
    "external_customer_id",
    "external_subscription_id",
    "plan_code",
    "period_from",
    "period_to",
    "timezone",
    "charges_duration_in_days",
    "billable_metric_code",
    "billable_metric_name",
    "aggregation_type",
    "recurring",
    "charge_code",
    "charge_model",
    "pay_in_advance",
    "prorated",
    "filters",
    "grouped_by",
    "revision",
    "units",
    "prorated_units",
    "total_aggregated_units",
    "precise_total_amount_cents",
    "events_count",
    "previous_units",
    "delta_units",
    "billing",
    "billed_in_advance",
    "amount_currency",
    "closing_reason",
    "revision_reason",
    "closed_at",
    "final_after",
    "definitions_offset",
    "digest",
    "records_count",
    "event_transaction_id",
    "event_timestamp",
    "id",
    "cell_id",
    "instant_id",
    "organization_id",
    "lago_subscription_id",
    "lago_charge_id",
    "lago_charge_filter_id",
    "schema_version",
)
"""New ones come at the end."""

INSTANTS: Final = frozenset(
    {"period_from", "period_to", "closed_at", "final_after", "event_timestamp"}
)
"""Columns that hold an instant as ISO text."""

_MOVED: Final = {
    "period_from": ("period", "from"),
    "period_to": ("period", "to"),
    "timezone": ("period", "timezone"),
    "charges_duration_in_days": ("period", "charges_duration_in_days"),
    "billable_metric_code": ("billable_metric", "code"),
    "billable_metric_name": ("billable_metric", "name"),
    "aggregation_type": ("billable_metric", "aggregation_type"),
    "recurring": ("billable_metric", "recurring"),
    "charge_code": ("charge", "code"),
    "charge_model": ("charge", "charge_model"),
    "pay_in_advance": ("charge", "pay_in_advance"),
    "prorated": ("charge", "prorated"),
}


def row_of(record: Json) -> list[str]:
    """Return the texts of a record's columns; empty: it has no such field, or null there."""
    return [_text(column, _value(record, column)) for column in COLUMNS]


def pairs_text(values: Mapping[str, Any] | None) -> str:
    """Return groups or filters as `key=value`, by `;`; several values by `|`, null as nothing."""
    if values is None:
        return ""
    return ";".join(f"{key}={_joined(value)}" for key, value in values.items())


def _joined(value: Any) -> str:
    if isinstance(value, list):
        return "|".join(map(str, value))
    return "" if value is None else str(value)


def _value(record: Json, column: str) -> Any:
    where = _MOVED.get(column)
    if where is None:
        return record.get(column)
    return (record.get(where[0]) or {}).get(where[1])


def _text(column: str, value: Any) -> str:
    return pairs_text(value) if column in ("filters", "grouped_by") else cell_text(value)


def cell_text(value: object) -> str:
    """Return a JSON value as one text: numbers as they are, objects as JSON, null as nothing."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
