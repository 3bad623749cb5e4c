"""Redaction: raw records without what no metric reads.

A record is decoded as a worker does, and written anew in Lago's raw format: identity, code, time,
amount, and the properties that some definition names. What is refused anyway is left out; in an
array a null keeps its place. So usage, records and their digests stay as they are. A record that a
grant covers stays byte for byte, if it has no more than that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from app.definitions.judging import granted_offset
from app.definitions.model import (
    TARGET_WALLET_KEY,
    listed_group_keys,
    listed_presentation_keys,
)
from app.wire.decode import Decoded, Headers, decode_record
from app.wire.events import LAGO_NAMES, MAX_BYTES, Correction, Event
from app.wire.properties import read_properties
from app.wire.refusals import Refusal

ALWAYS_READ: Final = frozenset({"operation_type"})
_OF_EXPRESSIONS: Final = re.compile(r"event\.properties\.([A-Za-z][A-Za-z0-9_]*)", re.ASCII)
_OUR_HEADERS: Final = "meter-"
_OF_EVENTS: Final = {*LAGO_NAMES.values(), "ingested_at", "source"}
"""The last two the API adds."""
_OF_CORRECTIONS: Final = {
    "operation",
    "organization_id",
    "external_subscription_id",
    "transaction_id",
    "correction_id",
}


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


class CannotRedact(Exception):
    """A record cannot lose what no metric reads: it would count otherwise."""


def redacted(
    value: bytes | None, headers: Headers, read: frozenset[str]
) -> tuple[bytes | None, Headers]:
    """Return a record with only those properties; headers that carried an event are in it then.

    Raises:
        CannotRedact: without what nobody reads it would be refused, or be too large.
    """
    kept = [each for each in headers if each[0].startswith(_OUR_HEADERS)]
    elements = [element for _, element in decode_record(value, headers)]
    counting = [element for element in elements if not isinstance(element, Refusal)]
    if counting and granted_offset(headers) is not None:
        # A grant is one of these very bytes.
        if len(counting) < len(elements) or any(_holds_more(each, read) for each in counting):
            raise CannotRedact("is granted with its exact bytes, and has what no metric reads")
        return value, kept
    if value is not None and value.lstrip()[:1] == b"[":
        value = b"[" + b",".join(_text(element, read) or b"null" for element in elements) + b"]"
    else:
        value = _text(elements[0], read) if elements else None
    if len(value or b"") > MAX_BYTES:
        raise CannotRedact(f"would have over {MAX_BYTES} bytes in Lago's raw format")
    return value, kept


def _holds_more(element: Event | Correction, read: frozenset[str]) -> bool:
    """Return True if the bytes of an element have more than is kept of it."""
    if isinstance(element, Event) and element.envelope:
        return True
    try:
        fields = json.loads(element.body, object_pairs_hook=_each_once)
    except ValueError:
        return True
    if isinstance(element, Event):
        return not (fields.keys() <= _OF_EVENTS and fields.get("properties", {}).keys() <= read)
    amends = set() if element.event is None else {"event"}
    if not fields.keys() <= _OF_CORRECTIONS | amends:
        return True
    return element.event is not None and _holds_more(element.event, read)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name comes twice")
    return found


def _text(element: Decoded, read: frozenset[str]) -> bytes | None:
    if isinstance(element, Refusal):
        return None
    if isinstance(element, Event):
        return msgspec.json.encode(_event(element, read))
    return msgspec.json.encode(_correction(element, read))


def _event(event: Event, read: frozenset[str]) -> dict[str, Any]:
    """Return an event as short as it can be: an array must not grow."""
    properties = read_properties(event.properties)
    at_ms, amount = event.timestamp_ms, event.precise_total_amount_cents
    said: dict[str, Any] = {
        "organization_id": event.organization_id,
        "external_subscription_id": event.external_subscription_id,
        "transaction_id": event.transaction_id,
        "code": event.code,
        "timestamp": None if at_ms is None else _number(Decimal(at_ms) / 1000),
        "precise_total_amount_cents": None if amount is None else _number(amount),
        "properties": {name: properties[name] for name in properties if name in read} or None,
    }
    return {name: each for name, each in said.items() if each is not None}


def _number(number: Decimal) -> msgspec.Raw:
    return msgspec.Raw(f"{number:f}".encode())


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
