"""Redaction: raw records without what no metric reads.

A record is decoded as a worker does, and written anew in Lago's raw format: identity, code, time,
amount, and the properties that some definition names. What is refused anyway is left out; in an
array a null keeps its place. So usage, records and their digests stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from app.definitions.model import (
    TARGET_WALLET_KEY,
    listed_group_keys,
    listed_presentation_keys,
)
from app.wire.decode import Decoded, Headers, decode_record
from app.wire.events import Correction, Event
from app.wire.refusals import Refusal

ALWAYS_READ: Final = frozenset({"operation_type"})
_OF_EXPRESSIONS: Final = re.compile(r"event\.properties\.([A-Za-z][A-Za-z0-9_]*)", re.ASCII)

_decode_properties = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def names_read(payload: object) -> Iterator[str]:
    """Yield the names of properties that a definition says anywhere."""
    if isinstance(payload, list):
        for each in payload:
            yield from names_read(each)
    if not isinstance(payload, Mapping):
        return
    for name in ("field_name", "key"):
        if isinstance(payload.get(name), str):
            yield payload[name]
    if isinstance(payload.get("expression"), str):
        yield from _OF_EXPRESSIONS.findall(payload["expression"])
    if isinstance(payload.get("values"), Mapping):
        yield from map(str, payload["values"])
    if payload.get("accepts_target_wallet"):
        yield TARGET_WALLET_KEY
    yield from listed_group_keys(payload)
    yield from listed_presentation_keys(payload)
    for each in payload.values():
        yield from names_read(each)


def redacted(
    value: bytes | None, headers: Headers, read: frozenset[str]
) -> tuple[bytes | None, Headers]:
    """Return a record with only those properties; headers that carried an event are in it then."""
    kept = [
        each
        for each in headers
        if not each[0].startswith("ce_") and each[0].lower() != "content-type"
    ]
    elements = [_text(element, read) for _, element in decode_record(value, headers)]
    if value is not None and value.lstrip()[:1] == b"[":
        return b"[" + b",".join(text or b"null" for text in elements) + b"]", kept
    return elements[0] if elements else None, kept


def _text(element: Decoded, read: frozenset[str]) -> bytes | None:
    if isinstance(element, Refusal):
        return None
    if isinstance(element, Event):
        return msgspec.json.encode(_event(element, read))
    return msgspec.json.encode(_correction(element, read))


def _event(event: Event, read: frozenset[str]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "organization_id": event.organization_id,
        "external_subscription_id": event.external_subscription_id,
        "transaction_id": event.transaction_id,
        "code": event.code,
    }
    if event.timestamp_ms is not None:
        said["timestamp"] = f"{Decimal(event.timestamp_ms) / 1000:f}"
    if event.precise_total_amount_cents is not None:
        said["precise_total_amount_cents"] = f"{event.precise_total_amount_cents:f}"
    properties = _decode_properties(event.properties)
    said["properties"] = {name: properties[name] for name in properties if name in read}
    return {name: each for name, each in said.items() if each is not None}


def _correction(correction: Correction, read: frozenset[str]) -> dict[str, Any]:
    event = correction.event
    said = {
        "operation": correction.operation,
        "organization_id": correction.organization_id,
        "external_subscription_id": correction.external_subscription_id,
        "transaction_id": correction.transaction_id,
        "correction_id": correction.correction_id,
        "event": None if event is None else _event(event, read),
    }
    return {name: each for name, each in said.items() if each is not None}
