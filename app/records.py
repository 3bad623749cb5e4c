"""The usage record: the bytes that consumers are invoiced by (records-and-cuts §5).

Field order, spelling and ids are the contract; the same cut computed again gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from uuid import NAMESPACE_URL, UUID, uuid5

import msgspec

from app.definitions.model import Charge, ChargeFilter, Metric, Plan, Subscription
from app.definitions.timeline import Period

SCHEMA_VERSION = 1
RECORDS_NAMESPACE = uuid5(NAMESPACE_URL, "meterstream:usage-records")

RecordType = Literal["usage.recorded", "usage.revised", "period.completed"]
RevisionReason = Literal["correction", "definition", "late_events"]


class PublishedRecord(NamedTuple):
    """A record ready for usage-records."""

    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]


class Envelope(NamedTuple):
    """What all records of one period and cut share."""

    subscription: Subscription
    plan: Plan
    period: Period
    closed_at_ms: int
    definitions_offset: int


class CellText(NamedTuple):
    """The figures of one cell as printed."""

    units: str
    prorated_units: str | None
    total_aggregated_units: str
    precise_total_amount_cents: str | None
    events_count: int
    digest: int


def instant(at_ms: int) -> str:
    """`YYYY-MM-DDThh:mm:ssZ`, floored to the second."""
    return _utc(at_ms // 1000 * 1000).strftime("%Y-%m-%dT%H:%M:%SZ")


def instant_ms(at_ms: int) -> str:
    """`YYYY-MM-DDThh:mm:ss.sssZ`."""
    return _utc(at_ms).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def _utc(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms // 1000, UTC)


def cell_id(
    subscription: Subscription,
    charge_id: str | None,
    filter_id: str | None,
    grouped_by: tuple[tuple[str, str | None], ...] | None,
    start_ms: int,
) -> UUID:
    """Identity of a cell, or with None thrice of the completion of a period."""
    name = [
        subscription.organization_id,
        subscription.id,
        charge_id,
        filter_id,
        None if grouped_by is None else [list(pair) for pair in grouped_by],
        instant_ms(start_ms),
    ]
    return uuid5(RECORDS_NAMESPACE, msgspec.json.encode(name).decode())


def record_id(cell: UUID, revision: int) -> UUID:
    """Identity of one revision."""
    return uuid5(RECORDS_NAMESPACE, f"{cell}:{revision}")


def usage_record(
    envelope: Envelope,
    cell: UUID,
    revision: int,
    charge: Charge,
    metric: Metric,
    charge_filter: ChargeFilter | None,
    grouped_by: tuple[tuple[str, str | None], ...],
    figures: CellText,
    previous_units: str | None,
    delta_units: str | None,
    reason: RevisionReason | None,
) -> PublishedRecord:
    """`usage.recorded` (revision 0) or `usage.revised`."""
    kind: RecordType = "usage.recorded" if revision == 0 else "usage.revised"
    period = envelope.period
    body = {
        **_head(envelope, cell, revision, kind),
        "lago_charge_id": charge.id,
        "lago_charge_filter_id": None if charge_filter is None else charge_filter.id,
        "charge": {
            "lago_id": charge.id,
            "code": charge.code,
            "charge_model": charge.charge_model,
            "pay_in_advance": charge.pay_in_advance,
            "prorated": charge.prorated,
            "properties": _sorted(charge.properties),
            "filter_properties": None
            if charge_filter is None
            else _sorted(charge_filter.properties),
        },
        "amount_currency": envelope.plan.amount_currency,
        "billable_metric": {
            "lago_id": metric.id,
            "code": metric.code,
            "name": metric.name,
            "aggregation_type": metric.aggregation_type,
            "recurring": metric.recurring,
        },
        "filters": None
        if charge_filter is None
        else {key: list(values) for key, values in sorted(charge_filter.values.items())},
        "grouped_by": dict(sorted(grouped_by)) if grouped_by else None,
        "period": _period(period),
        "units": figures.units,
        "prorated_units": figures.prorated_units,
        "total_aggregated_units": figures.total_aggregated_units,
        "precise_total_amount_cents": figures.precise_total_amount_cents,
        "events_count": figures.events_count,
        "previous_units": previous_units,
        "delta_units": delta_units,
        "closing_reason": period.closing_reason,
        "revision_reason": reason,
        **_tail(envelope, figures.digest),
    }
    return _published(envelope, kind, body)


def completion_record(
    envelope: Envelope, revision: int, records_count: int, digest: int
) -> PublishedRecord:
    """`period.completed`: a consumer with that many cells of that digest sum has everything."""
    cell = cell_id(envelope.subscription, None, None, None, envelope.period.start_ms)
    body = {
        **_head(envelope, cell, revision, "period.completed"),
        "period": _period(envelope.period),
        "records_count": records_count,
        "closing_reason": envelope.period.closing_reason,
        **_tail(envelope, digest),
    }
    return _published(envelope, "period.completed", body)


def _head(envelope: Envelope, cell: UUID, revision: int, kind: RecordType) -> dict[str, Any]:
    subscription = envelope.subscription
    return {
        "schema_version": SCHEMA_VERSION,
        "id": str(record_id(cell, revision)),
        "cell_id": str(cell),
        "type": kind,
        "revision": revision,
        "organization_id": subscription.organization_id,
        "external_customer_id": subscription.external_customer_id,
        "external_subscription_id": subscription.external_id,
        "lago_subscription_id": subscription.id,
        "plan_code": envelope.plan.code,
    }


def _tail(envelope: Envelope, digest: int) -> dict[str, Any]:
    return {
        "closed_at": instant_ms(envelope.closed_at_ms),
        "final_after": instant_ms(envelope.period.late_until_ms),
        "definitions_offset": envelope.definitions_offset,
        "digest": f"{digest:032x}",
    }


def _period(period: Period) -> dict[str, Any]:
    return {
        "from": instant(period.start_ms),
        "to": instant(period.to_ms),
        "timezone": period.timezone,
        "charges_duration_in_days": period.duration_days,
    }


def _sorted(value: Any) -> Any:
    """Objects with sorted keys, at any depth."""
    if isinstance(value, Mapping):
        return {key: _sorted(value[key]) for key in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, (list, tuple)) else value


def _published(envelope: Envelope, kind: RecordType, body: dict[str, Any]) -> PublishedRecord:
    subscription = envelope.subscription
    key = f"{subscription.organization_id}-{subscription.external_id}"
    headers = [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", str(body["id"]).encode()),
        ("ce_type", kind.encode()),
        ("ce_source", f"/organizations/{subscription.organization_id}".encode()),
        ("ce_subject", subscription.external_id.encode()),
        ("ce_time", str(body["closed_at"]).encode()),
    ]
    return PublishedRecord(key.encode(), msgspec.json.encode(body), headers)
