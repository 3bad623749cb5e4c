"""Records of the engine's topics as messages: alerts, instant records, dead letters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from app.api.events.fees import unpriced
from app.api.http import json_text
from app.billing_periods.instants import iso_milliseconds, iso_seconds, parse_iso8601_ms
from app.bounds.nesting import PARSED_LEVELS, deeper_than
from app.definitions.command import verbatim
from app.definitions.fields import scalar_text
from app.definitions.state import Definitions
from app.kafka.log_readers import LogRecord
from app.kafka.names import TopicPartition
from app.runtime.dead_letters import organization_of
from app.webhooks.message import Message, body_of
from app.wire.refusals import ElementRefused
from app.wire.timestamps import JsonNumber, parse_timestamp

_CLOUD_EVENT = {
    "transaction_id": "id",
    "code": "type",
    "external_subscription_id": "subject",
    "timestamp": "time",
    "properties": "data",
}
"""Attributes of a CloudEvent by the names of an event."""


_INSTANT = ("ce_type", b"usage.instant")
"""Header of the records that are told, so that no other is decoded."""


_DECODER = msgspec.json.Decoder(float_hook=verbatim)


def alert(record: LogRecord, _: TopicPartition, __: Definitions) -> Message | None:
    """Return the message of an alert; its record is the body as it stands."""
    told = _object(record.value)
    triggered = _mapping(told.get("triggered_alert"))
    if record.value is None or told.get("webhook_type") != "alert.triggered":
        return None
    return Message(
        _text(told.get("organization_id")),
        "alert.triggered",
        _text(triggered.get("lago_id")),
        _text(triggered.get("external_subscription_id")),
        record.value,
    )


def fee(record: LogRecord, _: TopicPartition, definitions: Definitions) -> Message | None:
    """Return the message of an instant record; None for other records, revisions too."""
    if _INSTANT not in record.headers:
        return None
    told = _object(record.value)
    organization_id = _text(told.get("organization_id"))
    subscription = definitions.subscription_by_id(_text(told.get("lago_subscription_id")))
    # The customer may be deleted by now.
    versions = None if subscription is None else definitions.customer_of(subscription)
    customer = None if versions is None else versions.last_before_deletion()
    customer_id = None if customer is None else customer.id
    return Message(
        organization_id,
        "fee.created",
        _text(told.get("id")),
        _text(told.get("external_subscription_id")),
        body_of(organization_id, "fee.created", "fee", fee_json(told, customer_id)),
    )


def event_error(record: LogRecord, tp: TopicPartition, _: Definitions) -> Message | None:
    """Return the message of a dead letter; None if it is no one organization's."""
    organization_id = organization_of(record)
    if organization_id is None:
        return None
    headers = {name: (text or b"").decode(errors="replace") for name, text in record.headers}
    code, text = headers.get("meter-error-code", ""), headers.get("meter-error-message", "")
    event = _event_json(record.value, headers)
    shown = {
        "status": 422,
        "error": "Unprocessable entity",
        "message": json_text.encode({code: [text]}).decode(),
        "event": event,
    }
    return Message(
        organization_id,
        "event.error",
        f"{tp.topic}:{tp.partition}:{record.offset}",
        _text(event["external_subscription_id"]),
        body_of(organization_id, "event.error", "event_error", shown),
    )


def fee_json(instant: Mapping[str, Any], customer_id: str | None) -> dict[str, Any]:
    """Return Lago's fee of an instant record; what a price would be needed for is 0."""
    metric = _mapping(instant.get("billable_metric"))
    charge = _mapping(instant.get("charge"))
    period = _mapping(instant.get("period"))
    name = metric.get("name")
    return {
        "lago_id": instant.get("instant_id"),
        "lago_charge_id": instant.get("lago_charge_id"),
        "lago_charge_filter_id": instant.get("lago_charge_filter_id"),
        "lago_subscription_id": instant.get("lago_subscription_id"),
        "external_subscription_id": instant.get("external_subscription_id"),
        "lago_customer_id": customer_id,
        "external_customer_id": instant.get("external_customer_id"),
        "item": {
            "type": "charge",
            "code": metric.get("code"),
            "name": name,
            "description": None,
            "invoice_display_name": name,
            "filters": instant.get("filters"),
            "filter_invoice_display_name": None,
            "lago_item_id": metric.get("lago_id"),
            "item_type": "BillableMetric",
            "grouped_by": instant.get("grouped_by") or {},
        },
        "invoiceable": charge.get("invoiceable", True),
        "total_aggregated_units": instant.get("units_after"),
        "units": instant.get("applied_units"),
        "events_count": instant.get("events_count"),
        "created_at": _in_seconds(instant.get("closed_at")),
        "from_date": period.get("from"),
        "to_date": period.get("to"),
        "event_transaction_id": instant.get("event_transaction_id"),
        **unpriced(instant.get("amount_currency")),
    }


def _event_json(value: bytes | None, headers: Mapping[str, str]) -> dict[str, Any]:
    """Return what a dead letter says of its event; null what it does not say."""
    told = _object(value)
    if "specversion" in told:
        told = {name: told.get(attribute) for name, attribute in _CLOUD_EVENT.items()}
    elif "ce_specversion" in headers:
        named = {name: headers.get(f"ce_{attribute}") for name, attribute in _CLOUD_EVENT.items()}
        told = {**named, "properties": told}
    return {
        "lago_id": None,
        "transaction_id": told.get("transaction_id"),
        "lago_customer_id": None,
        "code": told.get("code"),
        "timestamp": _moment(told.get("timestamp")),
        "precise_total_amount_cents": scalar_text(told.get("precise_total_amount_cents")),
        "properties": _mapping(told.get("properties")),
        "lago_subscription_id": None,
        "external_subscription_id": told.get("external_subscription_id"),
        "created_at": _in_seconds(headers.get("meter-failed-at")),
    }


def _moment(timestamp: object) -> object:
    """Return an event's timestamp as ISO 8601 with milliseconds; as it came if it is none."""
    read = timestamp
    if isinstance(timestamp, msgspec.Raw):
        read = JsonNumber(bytes(timestamp).decode())
    if not isinstance(read, str | int) or isinstance(read, bool):
        return timestamp
    try:
        return iso_milliseconds(parse_timestamp(read))
    except (ElementRefused, ValueError, OverflowError):
        return timestamp


def _in_seconds(text: object) -> str | None:
    """Return an instant of ISO 8601 without its milliseconds; None for anything else."""
    at_ms = parse_iso8601_ms(text) if isinstance(text, str) else None
    return None if at_ms is None else iso_seconds(at_ms)


def _object(value: bytes | None) -> dict[str, Any]:
    """Return the JSON object of a record; empty if it is none."""
    if value is None or deeper_than(value, PARSED_LEVELS):
        return {}
    try:
        found = _DECODER.decode(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
