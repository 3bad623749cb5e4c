"""Events as REST clients send them: read and checked."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import msgspec

from app.api.http.errors import FieldErrors
from app.bounds.limits import ID_BYTES
from app.numbers import (
    ZERO,
    InvalidValue,
    bounded_decimal,
    is_white_space,
    parse_any_spelling,
)
from app.wire.encode import IncomingEvent
from app.wire.events import optional_text
from app.wire.refusals import ElementRefused, RefusalCode, check_range
from app.wire.timestamps import JsonNumber, parse_timestamp

_ABSENT = msgspec.Raw(b"null")
_BOTH_ENDS_BLANK = re.compile(r"\s*")
_PLAIN_DECIMAL = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?", re.ASCII)
_NUMBER_START = b"-0123456789"


class InvalidEvent(Exception):
    """The event is refused; field name -> error codes."""

    def __init__(self, errors: FieldErrors) -> None:
        super().__init__(errors)
        self.errors = errors


class EventFields(msgspec.Struct):
    """The keys that are read, each as the sender spelled it; anything else is ignored."""

    transaction_id: msgspec.Raw = _ABSENT
    code: msgspec.Raw = _ABSENT
    external_subscription_id: msgspec.Raw = _ABSENT
    timestamp: msgspec.Raw = _ABSENT
    properties: msgspec.Raw = _ABSENT
    precise_total_amount_cents: msgspec.Raw = _ABSENT


class SingleBody(msgspec.Struct):
    """The body of `POST /events`."""

    event: EventFields


class BatchBody(msgspec.Struct):
    """The body of `POST /events/batch`: elements may be anything."""

    events: list[msgspec.Raw]


def read_event(fields: EventFields, now_ms: int) -> IncomingEvent:
    """Check one event against the clock `now_ms`; raises InvalidEvent with every field at fault."""
    errors: FieldErrors = {}

    def checked(name: str, read: Callable[[bytes], Any]) -> Any:
        try:
            return read(bytes(getattr(fields, name)))
        except _InvalidFieldError as error:
            errors[name] = [error.code]

    transaction_id = checked("transaction_id", _mandatory_text)
    code = checked("code", _mandatory_text)
    external_subscription_id = checked("external_subscription_id", _mandatory_text)
    timestamp_ms = checked("timestamp", lambda literal: _timestamp_ms(literal, now_ms))
    properties = checked("properties", _properties)
    precise = checked("precise_total_amount_cents", _precise_amount)
    if errors:
        raise InvalidEvent(errors)
    return IncomingEvent(
        transaction_id=transaction_id,
        code=code,
        external_subscription_id=external_subscription_id,
        timestamp=None if timestamp_ms is None else bytes(fields.timestamp),
        timestamp_ms=timestamp_ms,
        properties=properties,
        precise_total_amount_cents=precise,
    )


class _InvalidFieldError(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _mandatory_text(literal: bytes) -> str:
    """Return a text that is not blank, as the fold takes it; numbers are cast, as Lago does.

    Raises _InvalidFieldError when it is blank, too long or no text.
    """
    if literal[0] in _NUMBER_START:
        text = literal.decode()
    elif literal == b"null":
        text = ""
    else:
        try:
            text = optional_text({"text": literal}, "text") or ""
        except ElementRefused as refused:
            raise _InvalidFieldError("value_is_invalid") from refused
    if _BOTH_ENDS_BLANK.fullmatch(text):
        raise _InvalidFieldError("value_is_mandatory")
    if len(text.encode()) > ID_BYTES:
        raise _InvalidFieldError("value_is_too_long")
    return text


def _timestamp_ms(literal: bytes, now_ms: int) -> int | None:
    if literal == b"null":
        return None
    try:
        timestamp_ms = parse_timestamp(_seconds_text(literal))
    except ElementRefused as refused:
        out_of_range = refused.code is RefusalCode.TIMESTAMP_OUT_OF_RANGE
        code = "value_is_out_of_range" if out_of_range else "invalid_format"
        raise _InvalidFieldError(code) from refused
    if check_range(timestamp_ms, now_ms) is not None:
        raise _InvalidFieldError("value_is_out_of_range")
    return timestamp_ms


def _seconds_text(literal: bytes) -> str:
    """Return the decimal; a text may hold a plain one only, while Kafka takes dates too."""
    if literal[0] in _NUMBER_START:
        return JsonNumber(literal.decode())
    if literal[:1] == b'"':
        text: str = msgspec.json.decode(literal, type=str)
        if _PLAIN_DECIMAL.fullmatch(text):
            return text
    raise _InvalidFieldError("invalid_format")


def _properties(literal: bytes) -> bytes:
    if literal[:1] == b"{":
        return literal
    # PHP writes a map without entries as an empty list.
    if literal in (b"null", b'""') or (literal[:1] == b"[" and not literal[1:-1].strip()):
        return b"{}"
    raise _InvalidFieldError("value_is_invalid")


def _precise_amount(literal: bytes) -> Any:
    if literal == b"null":
        return None
    try:
        if literal[:1] == b'"':
            text = msgspec.json.decode(literal, type=str)
            if is_white_space(text):
                return None
            # As in Lago, what is no number is stored as 0.
            return parse_any_spelling(text) or ZERO
        return bounded_decimal(literal.decode())
    except (InvalidValue, ValueError) as error:
        raise _InvalidFieldError("value_is_not_valid_number") from error
