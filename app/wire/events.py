"""Events and corrections as every wire format gives them, and how their fields are read."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec

from app.bounds.limits import ID_BYTES
from app.bounds.nesting import PARSED_LEVELS, deeper_than
from app.numbers import ZERO, InvalidValue, bounded_decimal, parse_text, without_exponent
from app.wire.properties import NO_PROPERTIES
from app.wire.refusals import ElementRefused, RefusalCode
from app.wire.timestamps import JsonNumber, parse_timestamp, text_timestamp

MAX_BYTES: Final = 1_000_000
"""Size of a record, and so of an event."""

MAX_DEPTH: Final = 16
"""Levels of nesting in an event, the event itself being the first."""

# The shortest properties, of arrays and of objects alone, that could nest too deeply.
_SHORTEST_DEEP: Final = 5 + 2 * (MAX_DEPTH - 1)
_SHORTEST_DEEP_OBJECTS: Final = 5 * (MAX_DEPTH - 1) + 2
# The least beside properties that could nest too deeply to be parsed.
_SHORTEST_UNPARSED: Final = 2 * PARSED_LEVELS

_ABSENT_AMOUNT: Final = "0.0"

LAGO_NAMES: Final = {
    "organization_id": "organization_id",
    "external_subscription_id": "external_subscription_id",
    "transaction_id": "transaction_id",
    "code": "code",
    "timestamp": "timestamp",
    "precise_total_amount_cents": "precise_total_amount_cents",
    "properties": "properties",
}
"""Field of an event → its name in Lago's raw format."""

CLOUDEVENT_NAMES: Final = {
    "organization_id": "organizationid",
    "external_subscription_id": "subject",
    "transaction_id": "id",
    "code": "type",
    "timestamp": "time",
    "properties": "data",
}
"""Field of an event → the CloudEvents attribute that carries it."""

Fields = Mapping[str, bytes]
"""Field names with their JSON literals; null ones left out."""


class Event(msgspec.Struct, frozen=True, gc=False):
    """One usage event. `timestamp_ms` None means the append time; `properties` is a JSON object.

    `body` is the event's own bytes as received, `envelope` what headers added to them.
    """

    organization_id: str | None
    external_subscription_id: str
    transaction_id: str
    code: str
    timestamp_ms: int | None
    precise_total_amount_cents: Decimal | None
    properties: bytes
    body: bytes
    envelope: bytes = b""


CorrectionOperation = Literal["cancel", "amend"]


class Correction(msgspec.Struct, frozen=True, gc=False):
    """Cancels or amends the event of that identity; an amend carries the whole new event."""

    organization_id: str | None
    external_subscription_id: str
    transaction_id: str
    operation: CorrectionOperation
    event: Event | None
    correction_id: str
    body: bytes


_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _PlainEvent(msgspec.Struct, kw_only=True, gc=False):
    """What one typed decode reads of Lago's raw format; anything else takes the slow path.

    The order is that of Lago's API: the decoder looks for the next key where it left off.
    """

    organization_id: _Text | None = None
    external_subscription_id: _Text
    transaction_id: _Text
    timestamp: Any = None
    code: _Text
    precise_total_amount_cents: Any = None
    properties: msgspec.Raw = msgspec.Raw(NO_PROPERTIES)
    # Only CloudEvents and corrections have these.
    specversion: None = None
    operation: None = None


class _PlainCloudEvent(msgspec.Struct, kw_only=True, gc=False, rename=CLOUDEVENT_NAMES):
    """The same of an event in the JSON format of CloudEvents."""

    organization_id: _Text | None = None
    external_subscription_id: _Text
    transaction_id: _Text
    timestamp: Any = None
    code: _Text
    properties: msgspec.Raw = msgspec.Raw(NO_PROPERTIES)
    specversion: str
    data_base64: None = None
    operation: None = None
    precise_total_amount_cents: ClassVar[None] = None


_decode_plain: Final = msgspec.json.Decoder(_PlainEvent, float_hook=JsonNumber).decode
_decode_cloud: Final = msgspec.json.Decoder(_PlainCloudEvent, float_hook=JsonNumber).decode
_decode_text: Final = msgspec.json.Decoder(str).decode


def decode_plain(body: bytes) -> Event | None:
    """Decode an event in Lago's raw format or CloudEvents', fast; None when it is not ordinary.

    What is refused is decided by `build_event` alone. This is the hot path: what is called
    elsewhere is spelled out here.
    """
    if len(body) > MAX_BYTES or not (body.isascii() or is_utf8(body)):
        return None
    try:
        plain = _decoded(body)
        properties = bytes(plain.properties)
        if properties[0] != 123:
            return None
        size = len(properties)
        if (
            size >= _SHORTEST_DEEP
            and (91 in properties or size >= _SHORTEST_DEEP_OBJECTS)
            and too_deep(properties)
        ):
            return None
        # In what is passed over as well, the stack must not decide how deep is too deep.
        if len(body) - size > _SHORTEST_UNPARSED and deeper_than(body, PARSED_LEVELS):
            return None
        if len(body) > ID_BYTES and long_id(plain) is not None:
            return None
        # NUL can only come as an escape.
        if 92 in body and _has_nul(plain):
            return None
        timestamp = plain.timestamp
        amount = plain.precise_total_amount_cents
        return Event(
            plain.organization_id,
            plain.external_subscription_id,
            plain.transaction_id,
            plain.code,
            text_timestamp(timestamp) if type(timestamp) is str else _timestamp_ms(timestamp),
            ZERO if amount == _ABSENT_AMOUNT else _amount(amount),
            properties,
            body,
        )
    except (msgspec.DecodeError, RecursionError, ElementRefused):
        return None


def _decoded(body: bytes) -> _PlainEvent | _PlainCloudEvent:
    try:
        return _decode_plain(body)
    except msgspec.DecodeError:
        if b"specversion" in body:
            return _decode_cloud(body)
        raise


def is_utf8(text: bytes) -> bool:
    """Tell whether bytes are UTF-8, which the JSON decoder does not check in what it skips."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def long_id(named: Event | Correction | _PlainEvent | _PlainCloudEvent) -> str | None:
    """Return the first field of an event or a correction that is a longer name than one may be."""
    for field in _NAMES:
        text = getattr(named, field, None)
        # A character has at most four bytes: most texts are never encoded.
        if text and len(text) > ID_BYTES // 4 and len(text.encode()) > ID_BYTES:
            return field
    return None


_NAMES: Final = (
    "transaction_id",
    "external_subscription_id",
    "code",
    "organization_id",
    "correction_id",
)


def _has_nul(plain: _PlainEvent | _PlainCloudEvent) -> bool:
    identity = (plain.external_subscription_id, plain.transaction_id, plain.code)
    return any("\0" in text for text in (*identity, plain.organization_id or ""))


def build_event(
    fields: Fields, names: Mapping[str, str], body: bytes, envelope: bytes = b""
) -> Event:
    """Make an event of JSON literals under `names`; raises `ElementRefused`, naming the field."""
    identity = (
        optional_text(fields, names["organization_id"]),
        required_text(fields, names["external_subscription_id"]),
        required_text(fields, names["transaction_id"]),
        required_text(fields, names["code"]),
    )
    named = {field: fields[name] for field, name in names.items() if name in fields}
    timestamp = named.get("timestamp")
    amount = named.get("precise_total_amount_cents")
    return Event(
        *identity,
        None if timestamp is None else _timestamp_ms(_scalar(timestamp)),
        None if amount is None else _amount(_scalar(amount)),
        _properties(named.get("properties", NO_PROPERTIES), names["properties"]),
        body,
        envelope,
    )


def required_text(fields: Fields, name: str) -> str:
    """Read a non-empty string; raises `ElementRefused`."""
    text = optional_text(fields, name)
    if text is None:
        raise ElementRefused(
            RefusalCode.MISSING_FIELD, f"{name} is missing; send a non-empty string"
        )
    return text


def optional_text(fields: Fields, name: str) -> str | None:
    """Read a string, None when absent or empty; raises `ElementRefused` for others or a NUL."""
    literal = fields.get(name)
    if literal is None:
        return None
    if literal[0] != 34:
        raise ElementRefused(RefusalCode.INVALID_EVENT, f"{name} must be a string")
    text = _decode_text(literal)
    # Identities and digests separate their fields by NUL.
    if "\0" in text:
        raise ElementRefused(RefusalCode.INVALID_EVENT, f"{name} must not contain a NUL character")
    return text or None


def too_deep(properties: bytes) -> bool:
    """Tell whether valid properties nest so deeply that their event passes the limit."""
    if len(properties) < _SHORTEST_DEEP_OBJECTS and 91 not in properties:
        return False
    return deeper_than(properties, MAX_DEPTH - 1)


def _properties(literal: bytes, name: str) -> bytes:
    if literal[0] != 123:
        raise ElementRefused(RefusalCode.INVALID_EVENT, f"{name} must be a JSON object")
    if too_deep(literal):
        raise ElementRefused(
            RefusalCode.TOO_LARGE, f"{name} nests too deeply; an event may have {MAX_DEPTH} levels"
        )
    return literal


def _scalar(literal: bytes) -> object:
    """Read a literal as the fast decoder does: text, an int, a `JsonNumber`, or something else."""
    text = literal.decode()
    if text[0] == '"':
        return _decode_text(literal)
    return JsonNumber(text) if text[0] in "-0123456789" else literal


def _timestamp_ms(timestamp: object) -> int | None:
    if timestamp is None:
        return None
    if type(timestamp) in _SCALARS and isinstance(timestamp, str | int):
        return parse_timestamp(timestamp)
    raise ElementRefused(
        RefusalCode.INVALID_TIMESTAMP,
        "timestamp must be a number of unix seconds, such a number as text, or RFC 3339 text",
    )


def _amount(amount: object) -> Decimal | None:
    if amount is None:
        return None
    number = None
    try:
        if type(amount) is str:
            number = parse_text(amount)
        elif type(amount) in _SCALARS:
            number = bounded_decimal(str(amount))
    except InvalidValue as error:
        raise ElementRefused(
            RefusalCode.INVALID_EVENT, f"precise_total_amount_cents has {error}"
        ) from error
    if number is None:
        raise ElementRefused(
            RefusalCode.INVALID_EVENT,
            "precise_total_amount_cents must be a number or a plain decimal as text",
        )
    # A sum then looks the same whether zeros are added to it or left out.
    return without_exponent(number) if number else ZERO


_SCALARS: Final = frozenset((str, int, JsonNumber))

PLAIN: Final = (Event, text_timestamp, _amount, ZERO)
"""What `app.kernel.arrive` makes a plain event with."""
