"""Write events of REST clients in Lago's raw format (metering-semantics §3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import msgspec

from app.billing_periods.instants import iso_milliseconds
from app.numbers import plain
from app.wire.events import MAX_BYTES, Event


class RecordTooLarge(Exception):
    """Events would make a record of over `MAX_BYTES`, which the fold would refuse whole."""


class IncomingEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event that passed the API's checks and is not in the log yet."""

    transaction_id: str
    code: str
    external_subscription_id: str
    timestamp: bytes | None
    """The sender's own JSON literal, seconds since the epoch; None means reception time."""
    timestamp_ms: int | None
    """`timestamp`, floored to milliseconds."""
    properties: bytes
    """A JSON object, every number spelled as the sender did."""
    precise_total_amount_cents: Decimal | None


def record_value(organization_id: str, events: Sequence[IncomingEvent], now_ms: int) -> bytes:
    """Return the raw record's value: an object for one event, an array of them for several.

    Every number is as the sender spelled it. Each event gains some 200 bytes.

    Raises:
        RecordTooLarge: the fold would refuse the record whole.
    """
    objects = [_event_object(organization_id, event, now_ms) for event in events]
    value = msgspec.json.encode(objects[0] if len(objects) == 1 else objects)
    if len(value) > MAX_BYTES:
        raise RecordTooLarge(f"a record has {MAX_BYTES} bytes at most")
    return value


def _event_object(organization_id: str, event: IncomingEvent, now_ms: int) -> dict[str, Any]:
    precise = event.precise_total_amount_cents
    return {
        "organization_id": organization_id,
        "external_subscription_id": event.external_subscription_id,
        "transaction_id": event.transaction_id,
        "timestamp": None if event.timestamp is None else msgspec.Raw(event.timestamp),
        "code": event.code,
        "precise_total_amount_cents": None if precise is None else plain(precise),
        "properties": msgspec.Raw(event.properties),
        "ingested_at": iso_milliseconds(now_ms).removesuffix("Z"),
        "source": "http_meterstream",
    }


def as_event(organization_id: str, event: IncomingEvent) -> Event:
    """Return the event as the fold will see it, to compare it with others."""
    return Event(
        organization_id=organization_id,
        external_subscription_id=event.external_subscription_id,
        transaction_id=event.transaction_id,
        code=event.code,
        timestamp_ms=event.timestamp_ms,
        precise_total_amount_cents=event.precise_total_amount_cents,
        properties=event.properties,
        body=b"",
    )
