"""`POST /api/v1/history`: let published periods fold under the definitions as they are now."""

from __future__ import annotations

from typing import Any

from app.api.answering.call import Call
from app.api.http.errors import invalid, not_found
from app.billing_periods.instants import iso_milliseconds, parse_iso8601_ms
from app.definitions import commands
from app.definitions.model import HistoryRecord

_INVALID = ["value_is_invalid"]


async def create(call: Call) -> Any:
    """Append a history record (records-and-cuts §7); revisions follow at the next cut.

    Of charges of the metrics named, and of the charges named, in periods that start in [from, to).
    """
    body = await call.root("history")
    codes, charge_ids = _texts(body, "billable_metric_codes"), _texts(body, "charge_ids")
    from_ms, to_ms = instant(body, "from", 0), instant(body, "to", call.now_ms)
    errors = {
        field: _INVALID
        for field, value in (("billable_metric_codes", codes), ("charge_ids", charge_ids))
        if value is None
    }
    errors |= {f: _INVALID for f, at_ms in (("from", from_ms), ("to", to_ms)) if at_ms is None}
    if errors:
        raise invalid(errors)
    command = commands.apply_history(
        call.organization_id,
        metric_ids=[i for code in codes or () for i in metric_ids(call, code)],
        charge_ids=charge_ids or (),
        from_ms=from_ms or 0,
        to_ms=to_ms or 0,
    )
    return {"history": _shown(await call.define(command))}


def _texts(body: dict[str, Any], field: str) -> list[str] | None:
    """Return the texts of a field: [] when absent, None when it is no list of texts."""
    value = body.get(field)
    if value is None:
        return []
    texts = isinstance(value, list) and all(isinstance(text, str) for text in value)
    return value if texts else None


def instant(body: dict[str, Any], field: str, absent_ms: int) -> int | None:
    """Return an ISO 8601 text in ms; None when it is none."""
    value = body.get(field)
    if value is None:
        return absent_ms
    return parse_iso8601_ms(value) if isinstance(value, str) else None


def metric_ids(call: Call, code: str) -> list[str]:
    """Return the ids of all metrics that ever had the code: an earlier one may be published."""
    history = call.meter.definitions.metric_history(call.organization_id, code)
    if not history:
        raise not_found("billable_metric")
    return [next(versions.all()).id for versions in history]


def _shown(record: HistoryRecord) -> dict[str, Any]:
    return {
        "billable_metric_ids": list(record.metric_ids),
        "charge_ids": list(record.charge_ids),
        "from": iso_milliseconds(record.from_ms),
        "to": iso_milliseconds(record.to_ms),
        "definitions_offset": record.offset,
    }
