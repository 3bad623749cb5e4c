"""What makes two events the same one, and the hashes that stand for them."""

import hashlib
import json
from typing import Final

import xxhash

from app.numbers import ZERO, plain, take_apart
from app.wire.events import Event

BODY_HASH_MASK: Final = (1 << 48) - 1
# Beyond this a number's plain form would be padding only; its digits stand for it.
_MAX_PLAIN_EXPONENT: Final = 400


class _Number(str):
    __slots__ = ()


_parse_properties: Final = json.JSONDecoder(parse_int=_Number, parse_float=_Number).decode


def event_id(organization_id: str, external_subscription_id: str, transaction_id: str) -> bytes:
    """Hash an event's identity to 12 bytes (BLAKE2b of the three, separated by NUL)."""
    identity = f"{organization_id}\0{external_subscription_id}\0{transaction_id}".encode()
    return hashlib.blake2b(identity, digest_size=12).digest()


def body_hash(raw_value: bytes) -> int:
    """Hash bytes to 48 bits (XXH3); equal hashes mean the same event sent again."""
    return xxhash.xxh3_64_intdigest(raw_value) & BODY_HASH_MASK


def event_body_hash(event: Event) -> int:
    """Hash an event's own bytes, with what its record's headers said when they carried it."""
    envelope = event.envelope
    body = event.body + b"\0" + envelope if envelope else event.body
    return xxhash.xxh3_64_intdigest(body) & BODY_HASH_MASK


def canonical_body(event: Event) -> bytes:
    """Give the text two equal bodies share, timestamps aside (records-and-cuts §3).

    Keys are sorted and numbers in plain text, so 1 and 1.0 differ; an absent amount is 0.
    """
    amount = plain(event.precise_total_amount_cents or ZERO)
    properties = _canonical(_parse_properties(event.properties.decode()))
    return f"[{json.dumps(event.code)},{amount},{properties}]".encode()


def same_body(one: Event, other: Event) -> bool:
    """Tell an identical duplicate from a conflicting one; an absent timestamp equals any."""
    times = (one.timestamp_ms, other.timestamp_ms)
    if None not in times and times[0] != times[1]:
        return False
    return canonical_body(one) == canonical_body(other)


def digest_of(
    external_subscription_id: str,
    transaction_id: str,
    timestamp_ms: int,
    code: str,
    value_text: str,
) -> int:
    """One event's part of a cell's digest (records-and-cuts §5): BLAKE2b-128 as an integer."""
    text = f"{external_subscription_id}\0{transaction_id}\0{timestamp_ms}\0{code}\0{value_text}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def _canonical(value: object) -> str:
    if isinstance(value, dict):
        items = (f"{json.dumps(key)}:{_canonical(value[key])}" for key in sorted(value))
        return "{" + ",".join(items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_canonical, value)) + "]"
    return _plain_text(value) if isinstance(value, _Number) else json.dumps(value)


def _plain_text(number: _Number) -> str:
    """Expand the exponent, keeping every fraction digit: 1e3 is 1000, 10e-1 is 1.0."""
    mantissa, _, exponent = number.lower().partition("e")
    if not exponent:
        return number
    shift = take_apart(f"1e{exponent}").exponent
    if abs(shift) > _MAX_PLAIN_EXPONENT:
        return f"{mantissa}e{shift}"
    sign = "-" if mantissa[0] == "-" else ""
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    point = len(whole) + shift
    digits = (whole + fraction).ljust(point, "0")
    if point <= 0:
        digits, point = digits.rjust(len(digits) + 1 - point, "0"), 1
    whole, fraction = digits[:point].lstrip("0") or "0", digits[point:]
    return f"{sign}{whole}.{fraction}" if fraction else f"{sign}{whole}"
