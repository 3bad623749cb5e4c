"""Decode Kafka records of `events-raw`: one event, an array of them, CloudEvents, corrections.

The plain single event takes one typed decode. Everything else takes the slow path, which alone
decides what is refused; nothing a record holds makes `decode_record` raise.
"""

import base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, TypeVar

import msgspec

from app.bounds.limits import ID_BYTES
from app.bounds.nesting import PARSED_LEVELS, deeper_than, split_array
from app.wire.events import (
    CLOUDEVENT_NAMES,
    LAGO_NAMES,
    MAX_BYTES,
    MAX_DEPTH,
    Correction,
    Event,
    Fields,
    build_event,
    decode_plain,
    is_utf8,
    optional_text,
    required_text,
    too_deep,
)
from app.wire.refusals import ElementRefused, Refusal, RefusalCode, quoted
from app.wire.timestamps import text_timestamp

MAX_ELEMENTS: Final = 10_000
TICK_HEADER: Final = "meter-tick"

_Parsed = TypeVar("_Parsed")

Headers = Sequence[tuple[str, bytes | None]]
Decoded = Event | Correction | Refusal

_WHITESPACE: Final = b" \t\r\n"
_BEGIN_SCALARS: Final = frozenset(bytes([character]) for character in b'"-0123456789tfn')
"""First bytes of JSON that nests nothing."""

_NO_OBJECT: Final = "an event must be a JSON object"
_CLOUDEVENTS_TYPE: Final = b"application/cloudevents+json"
_CLOUDEVENTS_BATCH_TYPE: Final = b"application/cloudevents-batch+json"
_CLOUDEVENT_PREFIX: Final = "ce_"
_TYPE_HEADER: Final = "content-type"
_CARRIED: Final = tuple(
    (_CLOUDEVENT_PREFIX + name, name.encode() + b"=") for name in sorted(CLOUDEVENT_NAMES.values())
)
"""Headers of binary mode that carry an event, and what they are called in its envelope."""


class _Named(msgspec.Struct, gc=False):
    """What one typed decode reads of whose an event is; anything else takes the slow path."""

    organization_id: str | None = None
    # Only CloudEvents have it.
    specversion: None = None


_validate: Final = msgspec.json.Decoder(msgspec.Raw).decode
_decode_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_named: Final = msgspec.json.Decoder(_Named).decode
_decode_elements: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


class _Mode(Enum):
    LAGO = "lago"
    STRUCTURED = "structured"
    BINARY = "binary"


def is_tick(key: bytes | None, value: bytes | None, headers: Headers) -> bool:
    """Tell a tick (null key and value, header `meter-tick`): it only moves append time on."""
    return key is None and value is None and any(name == TICK_HEADER for name, _ in headers)


def deciding_headers(headers: Headers) -> list[tuple[str, bytes]]:
    """Return the headers that say how a record's value is read and what its event is."""
    mode = _mode(headers)
    if mode is _Mode.LAGO:
        return []
    if mode is _Mode.STRUCTURED:
        return [("content-type", _CLOUDEVENTS_TYPE)]
    attributes = _attributes(headers)
    return [
        (f"{_CLOUDEVENT_PREFIX}{name}", attributes[name])
        for name in ("specversion", *CLOUDEVENT_NAMES.values())
        if name in attributes
    ]


def envelope_headers(envelope: bytes) -> list[tuple[str, bytes]]:
    """Return the headers that carried the event of an envelope."""
    found = dict(part.partition(b"=")[::2] for part in envelope.split(b"\0"))
    return [
        (f"{_CLOUDEVENT_PREFIX}{name}", found[name.encode()])
        for name in CLOUDEVENT_NAMES.values()
        if name.encode() in found
    ]


def organizations_named(value: bytes | None, headers: Headers) -> set[str | None]:
    """Return the organizations that the elements of a record name; None stands for no name.

    If a record that cannot be read may name one, nobody can tell which: the set is empty. For an
    array, reading stops at the second organization.
    """
    mode = _mode(headers)
    if mode is _Mode.BINARY:
        text = _attributes(headers).get(CLOUDEVENT_NAMES["organization_id"], b"")
        return {text.decode() or None} if is_utf8(text) else set()
    if value is None or (b"organization" not in value and b"\\" not in value):
        # Both names of the field begin so, unless they are escaped. It may be no JSON at all.
        return {None}
    if len(value) > MAX_BYTES or not is_utf8(value):
        return set()
    is_array = value.lstrip(_WHITESPACE)[:1] == b"["
    named: set[str | None] = set()
    try:
        for element in _elements(value) if is_array else [value]:
            named.add(_organization_named(element, mode))
            if len(named) > 1:
                break
    except ElementRefused:
        # Of an element that cannot be read, too: a letter tells whose all of the record is.
        return set()
    return named or {None}


def _organization_named(body: bytes, mode: _Mode) -> str | None:
    _check_depth(body)
    if mode is _Mode.LAGO:
        try:
            named = _decode_named(body).organization_id
        except msgspec.DecodeError:
            pass
        else:
            return named if named and "\0" not in named else None
    fields = _fields(body)
    cloud = mode is _Mode.STRUCTURED or "specversion" in fields
    return optional_text(fields, (CLOUDEVENT_NAMES if cloud else LAGO_NAMES)["organization_id"])


def decode_record(value: bytes | None, headers: Headers = ()) -> list[tuple[int, Decoded]]:
    """Give (index within the record, event, correction or refusal) for everything in a record.

    Null values (ticks among them) and empty arrays give nothing.
    """
    if not headers and value is not None:
        event = decode_plain(value)
        if event is not None:
            return [(0, event)]
    return list(decoding(value, headers))


def decode_plain_binary(value: bytes, headers: Headers) -> Event | None:
    """Decode a CloudEvent of binary mode, fast; None when it is not ordinary.

    What is refused is decided by `build_event` alone, as with `decode_plain`.
    """
    attributes: dict[str, bytes] = {}
    for name, text in headers:
        if name[:3] == _CLOUDEVENT_PREFIX:
            if text is None:
                return None
            attributes[name] = text
        elif name[:6] == "meter-" or (
            text and name.lower() == _TYPE_HEADER and b"cloudevents" in text.lower()
        ):
            return None
    named = [label + attributes[name] for name, label in _CARRIED if name in attributes]
    envelope, told = b"\0".join(named), b"\0".join(attributes.values())
    if (
        len(told) + sum(map(len, attributes)) > ID_BYTES
        or envelope.count(b"\0") >= len(named)
        or len(value) > MAX_BYTES
    ):
        return None
    properties = value.strip(_WHITESPACE)
    if properties[:1] != b"{" or "ce_data" in attributes or too_deep(properties):
        return None
    try:
        # The values of others have to be text as well.
        told.decode()
        value.decode()
        _validate(properties)
        time = attributes.get("ce_time")
        return Event(
            attributes.get("ce_organizationid", b"").decode() or None,
            _text_in(attributes, "ce_subject"),
            _text_in(attributes, "ce_id"),
            _text_in(attributes, "ce_type"),
            None if time is None else text_timestamp(time.decode()),
            None,
            properties,
            value,
            envelope,
        )
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ElementRefused, KeyError):
        return None


def _text_in(attributes: Mapping[str, bytes], name: str) -> str:
    """Return a text that is not empty, or raise KeyError."""
    text = attributes[name]
    if not text:
        raise KeyError(name)
    return text.decode()


def decoding(value: bytes | None, headers: Headers) -> Iterable[tuple[int, Decoded]]:
    """Give what `decode_record` gives, element by element: a record may have thousands."""
    mode = _mode(headers)
    if value is None:
        if mode is not _Mode.BINARY:
            return []
        value = b""
    if len(value) > MAX_BYTES:
        message = f"a record may have {MAX_BYTES} bytes; send smaller arrays"
        return [(0, Refusal(RefusalCode.TOO_LARGE, message, value))]
    if not is_utf8(value):
        return [(0, Refusal(RefusalCode.INVALID_JSON, "the record is not UTF-8", value))]
    try:
        return _decode_slowly(value, headers, mode)
    except ElementRefused as refused:
        return [(0, Refusal(refused.code, refused.message, value))]


def _mode(headers: Headers) -> _Mode:
    mode = _Mode.LAGO
    for name, text in headers:
        if name.lower() == _TYPE_HEADER:
            media_type = (text or b"").split(b";")[0].strip().lower()
            if media_type in (_CLOUDEVENTS_TYPE, _CLOUDEVENTS_BATCH_TYPE):
                return _Mode.STRUCTURED
        elif name.startswith(_CLOUDEVENT_PREFIX):
            mode = _Mode.BINARY
    return mode


def _decode_slowly(value: bytes, headers: Headers, mode: _Mode) -> Iterable[tuple[int, Decoded]]:
    if mode is _Mode.BINARY:
        return [(0, _binary_event(value, headers))]
    if value.lstrip(_WHITESPACE)[:1] != b"[":
        # Without headers it was tried as a plain event before.
        return [(0, (_decode_element if headers else decode_odd)(value, 0, mode))]
    elements = _elements(value)
    if len(elements) > MAX_ELEMENTS:
        raise ElementRefused(RefusalCode.TOO_LARGE, f"an array may hold {MAX_ELEMENTS} events")
    return ((index, _decode_element(body, index, mode)) for index, body in enumerate(elements))


def elements_of(value: bytes) -> list[bytes]:
    """Return the elements of an array that came without headers; none if it is anything else."""
    if len(value) > MAX_BYTES or value.lstrip(_WHITESPACE)[:1] != b"[" or not is_utf8(value):
        return []
    try:
        elements = _elements(value)
    except ElementRefused:
        return []
    return elements if len(elements) <= MAX_ELEMENTS else []


def _elements(value: bytes) -> list[bytes]:
    try:
        if deeper_than(value, PARSED_LEVELS):
            return split_array(value, MAX_ELEMENTS + 1)
        return [bytes(element) for element in _decode_elements(value)[: MAX_ELEMENTS + 1]]
    except msgspec.DecodeError as error:
        raise _not_json(error) from error


def _decode_element(body: bytes, index: int, mode: _Mode) -> Decoded:
    if mode is _Mode.LAGO and body.lstrip(_WHITESPACE).startswith(b"{"):
        event = decode_plain(body)
        if event is not None:
            return event
    return decode_odd(body, index, mode)


def decode_odd(body: bytes, index: int, mode: _Mode = _Mode.LAGO) -> Decoded:
    """Decode an element that is no plain event, or refuse it."""
    try:
        if body[:1] in _BEGIN_SCALARS:
            # Thousands may come at once: to raise costs more than to look.
            _parse(_validate, body)
            return Refusal(RefusalCode.INVALID_EVENT, _NO_OBJECT, body, index)
        return _decode_object(body, mode)
    except ElementRefused as refused:
        return Refusal(refused.code, refused.message, body, index)


def _decode_object(body: bytes, mode: _Mode) -> Event | Correction:
    _check_depth(body)
    fields = _fields(body)
    if mode is _Mode.STRUCTURED or "specversion" in fields:
        return build_event(_with_data(fields), CLOUDEVENT_NAMES, body)
    if "operation" in fields:
        return _correction(fields, body)
    return build_event(fields, LAGO_NAMES, body)


def _check_depth(text: bytes) -> None:
    if deeper_than(text, PARSED_LEVELS):
        raise ElementRefused(
            RefusalCode.TOO_LARGE,
            f"the JSON nests too deeply; an event may have {MAX_DEPTH} levels",
        )


def _with_data(fields: Fields) -> Fields:
    """Return the attributes of a CloudEvent with its `data_base64`, JSON in base64, as `data`."""
    encoded = optional_text(fields, "data_base64")
    if encoded is None:
        return fields
    if "data" in fields:
        raise ElementRefused(RefusalCode.INVALID_EVENT, "send data or data_base64, not both")
    try:
        data = base64.b64decode(encoded, validate=True).strip(_WHITESPACE)
    except ValueError as error:
        raise ElementRefused(RefusalCode.INVALID_EVENT, "data_base64 is not base64") from error
    if not is_utf8(data):
        raise ElementRefused(
            RefusalCode.INVALID_EVENT, "data_base64 must hold JSON: it is not UTF-8"
        )
    _parse(_validate, data)
    return {**fields, "data": data} if data != b"null" else fields


def _fields(body: bytes) -> Fields:
    """Read a JSON object; explicit nulls are left out, since they mean absent everywhere."""
    if not body.lstrip(_WHITESPACE).startswith(b"{"):
        _parse(_validate, body)
        raise ElementRefused(RefusalCode.INVALID_EVENT, _NO_OBJECT)
    fields = _parse(_decode_fields, body)
    return {name: literal for name, raw in fields.items() if (literal := bytes(raw)) != b"null"}


def _parse(decode: Callable[[bytes], _Parsed], text: bytes) -> _Parsed:
    try:
        return decode(text)
    except msgspec.DecodeError as error:
        raise _not_json(error) from error


def _not_json(error: Exception) -> ElementRefused:
    return ElementRefused(RefusalCode.INVALID_JSON, f"the bytes are not JSON: {error}")


def _binary_event(value: bytes, headers: Headers) -> Event:
    attributes = _attributes(headers)
    if sum(len(name) + len(text) for name, text in attributes.items()) > MAX_BYTES:
        raise ElementRefused(
            RefusalCode.TOO_LARGE, f"the ce_ headers of a record may have {MAX_BYTES} bytes"
        )
    fields = {name: _header_literal(name, text) for name, text in attributes.items()}
    fields.pop("data", None)
    data = value.strip(_WHITESPACE)
    _check_depth(data)
    if data:
        _parse(_validate, data)
    if data not in (b"", b"null"):
        fields["data"] = data
    named = ((label, attributes.get(name[3:])) for name, label in _CARRIED)
    envelope = b"\0".join(label + text for label, text in named if text is not None)
    return build_event(fields, CLOUDEVENT_NAMES, value, envelope)


def _attributes(headers: Headers) -> dict[str, bytes]:
    """Return CloudEvents attributes of headers without nulls; the last of equal names holds."""
    return {
        name.removeprefix(_CLOUDEVENT_PREFIX): text
        for name, text in headers
        if name.startswith(_CLOUDEVENT_PREFIX) and text is not None
    }


def _header_literal(name: str, text: bytes) -> bytes:
    try:
        return msgspec.json.encode(text.decode())
    except UnicodeDecodeError as error:
        told = quoted(f"{_CLOUDEVENT_PREFIX}{name}")
        raise ElementRefused(RefusalCode.INVALID_EVENT, f"header {told} is not UTF-8") from error


def _correction(fields: Fields, body: bytes) -> Correction:
    try:
        return _read_correction(fields, body)
    except ElementRefused as refused:
        raise ElementRefused(RefusalCode.INVALID_CORRECTION, refused.message) from refused


def _read_correction(fields: Fields, body: bytes) -> Correction:
    operation = optional_text(fields, "operation")
    organization_id = optional_text(fields, "organization_id")
    external_subscription_id = required_text(fields, "external_subscription_id")
    transaction_id = required_text(fields, "transaction_id")
    correction_id = required_text(fields, "correction_id")
    if operation == "cancel":
        event = None
    elif operation == "amend":
        event = _amended_event(fields)
        # Where the correction has no organization, the default one is known to `arrivals_of`.
        stated = organization_id or event.organization_id
        identity = (event.organization_id, event.external_subscription_id, event.transaction_id)
        if identity != (stated, external_subscription_id, transaction_id):
            raise ElementRefused(
                RefusalCode.INVALID_CORRECTION,
                "an amend keeps organization_id, external_subscription_id and transaction_id",
            )
    else:
        raise ElementRefused(RefusalCode.INVALID_CORRECTION, "operation must be cancel or amend")
    return Correction(
        organization_id,
        external_subscription_id,
        transaction_id,
        "cancel" if event is None else "amend",
        event,
        correction_id,
        body,
    )


def _amended_event(fields: Fields) -> Event:
    body = fields.get("event")
    if body is None:
        raise ElementRefused(
            RefusalCode.INVALID_CORRECTION, "event is missing; an amend carries it whole"
        )
    event_fields = _fields(body)
    names = LAGO_NAMES
    if "specversion" in event_fields:
        names, event_fields = CLOUDEVENT_NAMES, _with_data(event_fields)
    # The event may leave out the identity that its correction states.
    identity = {
        names[field]: fields[field]
        for field in ("organization_id", "external_subscription_id", "transaction_id")
        if field in fields
    }
    return build_event({**identity, **event_fields}, names, body)
