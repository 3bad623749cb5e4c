"""What makes two events the same one, and the hashes that stand for them."""

import hashlib
import json
from itertools import count
from typing import Final

import xxhash

from app.bounds.limits import COMPARED_BYTES
from app.bounds.turns import Steps, drained
from app.numbers import ZERO, plain, take_apart
from app.wire.events import Event

BODY_HASH_MASK: Final = (1 << 48) - 1
_COMPARED_A_STEP: Final = 64


class _Number(str):
    __slots__ = ()


_parse_properties: Final = json.JSONDecoder(parse_int=_Number, parse_float=_Number).decode


def event_id(organization_id: str, external_subscription_id: str, transaction_id: str) -> bytes:
    """Hash an event's identity to 12 bytes (BLAKE2b of the three, separated by NUL)."""
    identity = f"{organization_id}\0{external_subscription_id}\0{transaction_id}".encode()
    return hashlib.blake2b(identity, digest_size=12).digest()


def event_body_hash(event: Event) -> int:
    """Hash an event's own bytes to 48 bits (XXH3); equal hashes mean the same event sent again.

    What its record's headers said when they carried it is hashed as well.
    """
    envelope = event.envelope
    body = event.body + b"\0" + envelope if envelope else event.body
    return xxhash.xxh3_64_intdigest(body) & BODY_HASH_MASK


def same_body(one: Event, other: Event) -> bool:
    """Tell an identical duplicate from a conflicting one (records-and-cuts §3).

    An absent timestamp equals any, an absent amount is 0, and keys may stand in any order. Numbers
    have to be the same in plain text: 1 is 1e0, and not 1.0.
    """
    return drained(comparing_bodies(one, other))


def comparing_bodies(one: Event, other: Event) -> Steps[bool]:
    """Do `same_body` by small steps. Properties over 64 KiB are equal when their bytes are."""
    times = (one.timestamp_ms, other.timestamp_ms)
    if None not in times and times[0] != times[1]:
        return False
    amounts = (one.precise_total_amount_cents or ZERO, other.precise_total_amount_cents or ZERO)
    if one.code != other.code or plain(amounts[0]) != plain(amounts[1]):
        return False
    if one.properties == other.properties:
        return True
    if max(len(one.properties), len(other.properties)) > COMPARED_BYTES:
        return False
    ours = _parse_properties(one.properties.decode())
    yield
    theirs = _parse_properties(other.properties.decode())
    yield
    pairs = [(ours, theirs)]
    for compared in count(1):
        if not pairs:
            return True
        left, right = pairs.pop()
        if type(left) is not type(right):
            return False
        if isinstance(left, dict):
            if left.keys() != right.keys():
                return False
            pairs += [(value, right[key]) for key, value in left.items()]
        elif isinstance(left, list):
            if len(left) != len(right):
                return False
            pairs += zip(left, right, strict=True)
        elif left != right and not (
            isinstance(left, _Number) and _spelling(left) == _spelling(right)
        ):
            return False
        if compared % _COMPARED_A_STEP == 0:
            yield
    raise AssertionError("counting has no end")


def digest_of(
    external_subscription_id: str,
    transaction_id: str,
    timestamp_ms: int,
    code: str,
    value_text: str,
) -> int:
    """Return an event's part of a cell's digest (records-and-cuts §5): BLAKE2b-128 as integer."""
    text = f"{external_subscription_id}\0{transaction_id}\0{timestamp_ms}\0{code}\0{value_text}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")


def _spelling(number: str) -> tuple[bool, str, int, int]:
    """Return sign, digits, power of ten and printed fraction digits.

    They tell a number's plain text, which is never written out.
    """
    mantissa, _, exponent = number.lower().partition("e")
    _, digits, power = take_apart(number)
    shift = take_apart(f"1e{exponent}").exponent if exponent else 0
    fraction = mantissa.partition(".")[2]
    return number[0] == "-", digits, power, max(0, len(fraction) - shift)
