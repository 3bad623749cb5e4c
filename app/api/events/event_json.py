"""Events as the API answers them, and what the log's verdicts mean to a client."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec

from app.api.answering.call import Call
from app.api.http import json_text
from app.api.http.errors import FieldErrors
from app.billing_periods.instants import iso_milliseconds, iso_seconds
from app.expressions import EvaluationFailed, InvalidExpression, parse
from app.meter.events import Duplicate, DuplicateKind, Refused, StoredEvent, Verdict
from app.numbers import plain
from app.wire.encode import IncomingEvent
from app.wire.properties import read_properties

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "meterstream:events")
_TAKEN: FieldErrors = {"transaction_id": ["value_already_exist"]}
_REFUSAL_FIELDS = {
    "invalid_timestamp": ("timestamp", "invalid_format"),
    "timestamp_out_of_range": ("timestamp", "value_is_out_of_range"),
    "too_late": ("timestamp", "too_late"),
    "period_closed": ("timestamp", "period_closed"),
    "conflicting_duplicate": ("transaction_id", "value_already_exist"),
}


def evaluation_message(error: EvaluationFailed) -> str:
    """Return the message in place of the usual map when an expression has no value for an event."""
    return f"expression_evaluation_failed: {error}"


def as_shown(call: Call, event: StoredEvent) -> dict[str, Any]:
    """Return the `event` object of a taken event, with the result of its expression if any."""
    try:
        properties = bytes(with_expression(call, event))
    except EvaluationFailed:
        properties = event.properties
    return event_json(call.organization_id, msgspec.structs.replace(event, properties=properties))


def with_expression(call: Call, event: IncomingEvent | StoredEvent) -> msgspec.Raw:
    """Return the properties with the result of the metric's expression; raise EvaluationFailed."""
    metric = call.meter.definitions.metric(call.organization_id, event.code)
    if metric is None or not metric.expression or not metric.field_name:
        return msgspec.Raw(event.properties)
    properties: dict[str, Any] = dict(read_properties(event.properties))
    try:
        expression = parse(metric.expression)
    except InvalidExpression:
        return msgspec.Raw(event.properties)
    at_ms = call.now_ms if event.timestamp_ms is None else event.timestamp_ms
    as_lago = call.meter.definitions.settings_at().writes_as_lago
    value = expression.evaluate(event.code, at_ms, properties, as_lago=as_lago)
    properties[metric.field_name] = value if isinstance(value, str) else plain(value)
    return msgspec.Raw(json_text.encode(properties))


def problem(verdict: Verdict) -> FieldErrors | None:
    """Return the error codes of a refused event; None for an event that was taken."""
    if isinstance(verdict, Duplicate):
        return _TAKEN
    if isinstance(verdict, Refused):
        field, code = _REFUSAL_FIELDS.get(verdict.code, ("event", verdict.code))
        return {field: [code]}
    return None


def duplicate_header(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """Return the header `Meter-Duplicate`, conflicting if any is; nothing without duplicates."""
    kinds = {verdict.kind for verdict in verdicts if isinstance(verdict, Duplicate)}
    if not kinds:
        return {}
    kind: DuplicateKind = "conflicting" if "conflicting" in kinds else "identical"
    return {"Meter-Duplicate": kind}


def position_header(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """Return the header with the record's position, as `?wait_for=` takes it."""
    for verdict in verdicts:
        if verdict.position is not None:
            return {"Meter-Position": f"{verdict.position.partition}:{verdict.position.offset}"}
    return {}


def created_json(
    call: Call, event: IncomingEvent, properties: msgspec.Raw, verdict: Verdict
) -> dict[str, Any]:
    """Return an event just taken; one without a timestamp has the time of its reception."""
    position = verdict.position
    created_at_ms = call.now_ms if position is None else position.append_time_ms
    stored = StoredEvent(
        transaction_id=event.transaction_id,
        code=event.code,
        external_subscription_id=event.external_subscription_id,
        timestamp_ms=created_at_ms if event.timestamp_ms is None else event.timestamp_ms,
        properties=bytes(properties),
        precise_total_amount_cents=event.precise_total_amount_cents,
        created_at_ms=created_at_ms,
    )
    return event_json(call.organization_id, stored)


def event_json(organization_id: str, event: StoredEvent) -> dict[str, Any]:
    """Return the `event` object; its lago_id follows from its identity."""
    identity = [organization_id, event.external_subscription_id, event.transaction_id]
    precise = event.precise_total_amount_cents
    return {
        "lago_id": str(uuid.uuid5(_NAMESPACE, json_text.encode(identity).decode())),
        "transaction_id": event.transaction_id,
        "lago_customer_id": None,
        "code": event.code,
        "timestamp": iso_milliseconds(event.timestamp_ms),
        "precise_total_amount_cents": None if precise is None else plain(precise),
        "properties": msgspec.Raw(event.properties),
        "lago_subscription_id": None,
        "external_subscription_id": event.external_subscription_id,
        "created_at": iso_seconds(event.created_at_ms),
    }
