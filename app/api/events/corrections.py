"""`POST /events/corrections`: cancel or amend an event by transaction_id (records-and-cuts §9)."""

from __future__ import annotations

import uuid
from typing import Any

import msgspec

from app.api.answering.call import Call, Reply
from app.api.events.event_input import EventFields, InvalidEvent, read_event
from app.api.http import json_text
from app.api.http.errors import invalid
from app.meter.events import RawPosition
from app.wire.arrivals import long_name
from app.wire.decode import decode_record
from app.wire.encode import record_value
from app.wire.events import Correction
from app.wire.refusals import Refusal

_MANDATORY = ["value_is_mandatory"]
_INVALID = ["value_is_invalid"]


class Fields(msgspec.Struct):
    """The keys that are read; of any type until they are checked."""

    external_subscription_id: Any = None
    transaction_id: Any = None
    operation: Any = None
    correction_id: Any = None
    event: msgspec.Raw = msgspec.Raw(b"null")


class _Body(msgspec.Struct):
    correction: Fields


async def create(call: Call) -> Any:
    """Append a correction: 200 once it is in the log, whether its event has come or not."""
    await call.root("correction")
    shown, position = await append(call, json_text.decode_as(await call.body(), _Body).correction)
    headers = {"Meter-Position": f"{position.partition}:{position.offset}"}
    return Reply.json({"correction": shown}, headers)


async def append(call: Call, fields: Fields) -> tuple[dict[str, str], RawPosition]:
    """Append a correction; return it as it is answered, and where it lies. Raises 422."""
    errors = _errors(fields)
    if errors:
        raise invalid(errors)
    correction_id = fields.correction_id or str(uuid.uuid4())
    value = _value(call, fields, correction_id)
    decoded = decode_record(value)[0][1]
    if isinstance(decoded, Refusal) or not isinstance(decoded, Correction):
        raise invalid({"correction": ["invalid_correction"]})
    if (field := long_name(decoded)) is not None:
        raise invalid({field: ["value_is_too_long"]})
    position = await call.meter.ingest.correct(
        call.organization_id, decoded.external_subscription_id, value, call.key_name
    )
    shown = {
        "correction_id": correction_id,
        "external_subscription_id": decoded.external_subscription_id,
        "transaction_id": decoded.transaction_id,
        "operation": decoded.operation,
    }
    return shown, position


def _errors(fields: Fields) -> dict[str, list[str]]:
    errors: dict[str, list[str]] = {}
    for name in ("external_subscription_id", "transaction_id"):
        value = getattr(fields, name)
        if value in (None, ""):
            errors[name] = _MANDATORY
        elif not isinstance(value, str):
            errors[name] = _INVALID
    if fields.operation not in ("cancel", "amend"):
        errors["operation"] = _MANDATORY if fields.operation in (None, "") else _INVALID
    if fields.correction_id is not None and not isinstance(fields.correction_id, str):
        errors["correction_id"] = _INVALID
    if fields.operation == "amend" and bytes(fields.event)[:1] != b"{":
        errors["event"] = _MANDATORY if bytes(fields.event) == b"null" else _INVALID
    return errors


def _value(call: Call, fields: Fields, correction_id: str) -> bytes:
    """Return the raw record's value; an amended event keeps the identity in the correction."""
    correction: dict[str, Any] = {
        "organization_id": call.organization_id,
        "external_subscription_id": fields.external_subscription_id,
        "transaction_id": fields.transaction_id,
        "operation": fields.operation,
        "correction_id": correction_id,
    }
    if fields.operation == "amend":
        given = json_text.decode_as(bytes(fields.event), EventFields)
        given.external_subscription_id = _literal(fields.external_subscription_id)
        given.transaction_id = _literal(fields.transaction_id)
        try:
            event = read_event(given, call.now_ms)
        except InvalidEvent as error:
            raise invalid(error.errors) from error
        correction["event"] = msgspec.Raw(record_value(call.organization_id, [event], call.now_ms))
    return json_text.encode(correction)


def _literal(text: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(text))
