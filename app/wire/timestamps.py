"""Event timestamps: JSON numbers, decimal text and RFC 3339, floored to milliseconds exactly.

A JSON number may have any spelling. Text is a plain decimal (optional sign, digits, optional
fraction) of unix seconds, or RFC 3339 with a zone (records-and-cuts §11).
"""

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final

from app.billing_periods.instants import epoch_ms
from app.bounds.at_hand import keep
from app.numbers import take_apart
from app.wire.refusals import OUT_OF_RANGE_MESSAGE, ElementRefused, RefusalCode

_PLAIN: Final = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_RFC_3339: Final = re.compile(
    # Python 3.14 would read hour 24, which others refuse.
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt]((?:[01][0-9]|2[0-3]):[0-9]{2}:[0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))",
    re.ASCII,
)
# Seconds with more integer digits lie beyond any append time plus ten years.
_MAX_SECOND_DIGITS: Final = 13
_LIMIT_MS: Final = 10 ** (_MAX_SECOND_DIGITS + 3)

# Every fraction that needs no cutting off, and none.
_MILLISECONDS: Final[dict[str, int]] = {"": 0} | {
    f"{number:0{width}}": number * 10 ** (3 - width)
    for width in (1, 2, 3)
    for number in range(10**width)
}

_MAX_SECONDS: Final = 8192
_SECONDS: Final[dict[str, int]] = {}


class JsonNumber(str):
    """The literal text of a JSON number that is no integer."""

    __slots__ = ()


def parse_timestamp(value: str | int) -> int:
    """Return milliseconds since the epoch of a timestamp as decoded: text, int or `JsonNumber`.

    Raises `ElementRefused` with invalid_timestamp or timestamp_out_of_range.
    """
    return _in_bounds(value * 1000) if isinstance(value, int) else text_timestamp(value)


def text_timestamp(text: str) -> int:
    """Return a timestamp's text or `JsonNumber` as epoch ms; raises `ElementRefused`."""
    seconds, point, fraction = text.partition(".")
    try:
        if fraction or not point:
            return _SECONDS[seconds] + _MILLISECONDS[fraction]
    except KeyError:
        if fraction in _MILLISECONDS and _remember_seconds(seconds):
            return _SECONDS[seconds] + _MILLISECONDS[fraction]
    if isinstance(text, JsonNumber) or _PLAIN.fullmatch(text):
        return _floor_ms(text)
    return _rfc_3339_ms(text)


def _remember_seconds(digits: str) -> bool:
    """Remember the milliseconds of plain digits; return whether these are plain digits."""
    # Streams repeat seconds, so that most texts are two lookups.
    if len(digits) >= _MAX_SECOND_DIGITS or not digits.isdecimal() or not digits.isascii():
        return False
    keep(_SECONDS, digits, int(digits) * 1000, _MAX_SECONDS)
    return True


def _in_bounds(milliseconds: int) -> int:
    if not -_LIMIT_MS < milliseconds < _LIMIT_MS:
        raise ElementRefused(RefusalCode.TIMESTAMP_OUT_OF_RANGE, OUT_OF_RANGE_MESSAGE)
    return milliseconds


def _floor_ms(text: str) -> int:
    negative, coefficient, exponent = take_apart(text)
    if not coefficient:
        return 0
    if len(coefficient) + exponent > _MAX_SECOND_DIGITS:
        raise ElementRefused(RefusalCode.TIMESTAMP_OUT_OF_RANGE, OUT_OF_RANGE_MESSAGE)
    shift = exponent + 3
    digits = coefficient + "0" * shift if shift >= 0 else coefficient[:shift]
    milliseconds = int(digits or 0)
    if not negative:
        return milliseconds
    # The coefficient ends in a digit other than zero, so whatever was cut off was not zero.
    return -milliseconds - (shift < 0)


def _rfc_3339_ms(text: str) -> int:
    match = _RFC_3339.fullmatch(text)
    if match is None:
        raise _unreadable(text)
    date, time, fraction, sign, hours, minutes = match.groups("")
    try:
        whole_ms = _moment_ms(f"{date}T{time}", sign, hours, minutes)
    except ValueError as error:
        raise _unreadable(text) from error
    return whole_ms + int(f"{fraction}000"[:3])


@lru_cache(maxsize=_MAX_SECONDS)
def _moment_ms(local: str, sign: str, hours: str, minutes: str) -> int:
    return epoch_ms(datetime.fromisoformat(local).replace(tzinfo=_zone(sign, hours, minutes)))


def _zone(sign: str, hours: str, minutes: str) -> timezone:
    if not sign:
        return UTC
    if int(minutes) > 59:
        raise ValueError("minutes of a zone end at 59")
    offset = timedelta(hours=int(hours), minutes=int(minutes))
    return timezone(-offset if sign == "-" else offset)


def _unreadable(text: str) -> ElementRefused:
    return ElementRefused(
        RefusalCode.INVALID_TIMESTAMP,
        f"timestamp {text[:40]!r} must be unix seconds or RFC 3339 with a zone",
    )
