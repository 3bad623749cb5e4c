"""JSON in and out: numbers stay as spelled, and whatever arrives is either a value or a 400."""

from __future__ import annotations

from collections.abc import Generator
from decimal import Decimal, InvalidOperation
from typing import Any, TypeVar

import msgspec

from app.api.http.errors import bad_request
from app.bounds.nesting import deeper_than

Value = TypeVar("Value")

MAX_DEPTH = 17
"""One more than an event may have on Kafka: the level of the root object."""


def _as_spelled(text: str) -> msgspec.Raw:
    try:
        Decimal(text)
    except InvalidOperation as error:
        raise ValueError("a number's exponent is out of range") from error
    return msgspec.Raw(text.encode())


_DECODER = msgspec.json.Decoder(float_hook=_as_spelled)
_TOLD_CHARACTERS = 200
"""Shown of an error about a body: it may repeat a name of any length that the body has."""
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


def encode(value: Any) -> bytes:
    """Return compact JSON; `msgspec.Raw` as it stands."""
    return msgspec.json.encode(value)


def whole(value: Any) -> Any:
    """Return the value with lists in place of generators."""
    if isinstance(value, Generator):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {key: whole(item) for key, item in value.items()}
    return value


def decode(body: bytes) -> Any:
    """Return any JSON value, fractions as spelled (Raw); 400 if it is none or nested too deeply."""
    try:
        value = _DECODER.decode(body)
    except _UNREADABLE as error:
        raise bad_request("the body is not JSON") from error
    if deeper_than(body, MAX_DEPTH):
        raise bad_request(f"the body is nested deeper than {MAX_DEPTH} levels")
    return value


def decode_as(body: bytes, shape: type[Value]) -> Value:
    """Return JSON that is known to have this shape; 400 if it has not, with the field."""
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError as error:
        told = str(error)[:_TOLD_CHARACTERS]
        raise bad_request(f"the body is not of the expected shape: {told}") from error
    except _UNREADABLE as error:
        raise bad_request("the body is not of the expected shape") from error
