"""What the compiled kernel does, in Python: the same functions with the same answers.

It is used where no kernel was built, and it says what each function returns. The kernel hands more
back: escapes in properties, for one. What is handed back goes the way of one event after the other.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

import msgspec


class Event(Protocol):
    """What is read of an event."""

    @property
    def transaction_id(self) -> str: ...
    @property
    def timestamp_ms(self) -> int | None: ...
    @property
    def precise_total_amount_cents(self) -> Decimal | None: ...
    @property
    def properties(self) -> bytes: ...
    @property
    def body(self) -> bytes: ...
    @property
    def envelope(self) -> bytes: ...


class Arrival(Protocol):
    """What is read of an arrival."""

    @property
    def event(self) -> Any: ...
    @property
    def append_time_ms(self) -> int: ...
    @property
    def raw_partition(self) -> int: ...
    @property
    def raw_offset(self) -> int: ...
    @property
    def array_index(self) -> int: ...
    @property
    def rekeyed_offset(self) -> int: ...


Run = tuple[int, list[Decimal], list[tuple[Any, ...]]]
"""Sum of the digests, amounts and what was read of each event."""


def learn(known: object) -> None:
    """Find out where objects of a class have their fields, by one whose fields all differ."""


def arrive(
    value: bytes,
    append_time_ms: int,
    partition: int,
    offset: int,
    default: str | None,
    arrivals: dict[tuple[str, str, str], list[Any]],
    ways: tuple[Callable[..., Any], *tuple[Any, ...]],
    index: int = 0,
) -> bool:
    """Note an event beside others of its organization, subscription and code.

    `value`: all that a record, or an element of one, holds. Return False if that is not plain, or
    of no organization. The first of `ways` does so. Of most bytes the kernel makes the same itself,
    with the others: the classes of arrivals and of events, what reads a time and an amount, and
    zero.
    """
    taken: bool = ways[0](value, append_time_ms, partition, offset, default, arrivals, index)
    return taken


def index_rows(
    organization_id: str,
    external_subscription_id: str,
    run: Sequence[Arrival],
    start_ms: int,
    end_ms: int,
    after_ms: int,
    until_ms: int,
    hash_of: Callable[[bytes], int],
    hash_with: Callable[[Any], int],
    ids: list[bytes],
    packed: bytearray,
) -> bool:
    """Append the id and the packed row of each event; return False, and append none, if one is out.

    Event times are from `start_ms` on and before `end_ms`, append times from `after_ms` until
    `until_ms`. `hash_of` hashes a body, `hash_with` an event with an envelope.

    Raises:
        ValueError: a field is out of its range.
    """
    prefix = f"{organization_id}\0{external_subscription_id}\0"
    new_ids: list[bytes] = []
    rows: list[bytes] = []
    for arrival in run:
        event, append_time_ms = arrival.event, arrival.append_time_ms
        timestamp_ms = event.timestamp_ms
        if timestamp_ms is None:
            timestamp_ms = append_time_ms
        if not (start_ms <= timestamp_ms < end_ms and after_ms <= append_time_ms <= until_ms):
            return False
        identity = _blank_id()
        identity.update((prefix + event.transaction_id).encode())
        event_id = identity.digest()
        body = (hash_with(event) if event.envelope else hash_of(event.body)) & _LARGEST_48_BITS
        partition, index = arrival.raw_partition, arrival.array_index
        offset, rekeyed = arrival.raw_offset, arrival.rekeyed_offset
        if (
            append_time_ms >> 48
            or (partition | index) >> 16
            or offset >> 48
            or not -1 <= rekeyed < _LARGEST_48_BITS
        ):
            raise ValueError("a field of an entry is out of its range")
        if rekeyed < 0:
            rekeyed = _LARGEST_48_BITS
        new_ids.append(event_id)
        rows.append(
            _pack_row(
                event_id,
                append_time_ms << 16 | partition,
                offset << 16 | index,
                rekeyed << 16 | body >> 32,
                body & 0xFFFFFFFF,
            )
        )
    ids += new_ids
    packed += b"".join(rows)
    return True


def read_run(
    external_subscription_id: str,
    code: str,
    run: Sequence[Arrival],
    start_ms: int,
    end_ms: int,
    after_ms: int,
    until_ms: int,
    field: str | None,
    most_text: int,
    numbers: Mapping[str, Any] | None,
    number_of: Callable[[str], Any],
    zero: Decimal,
    ordered: bool,
) -> Run | None:
    """Read events that all fall into one cell; return None if one of them is not plain.

    Event times are from `start_ms` on and before `end_ms`, append times after `after_ms` until
    `until_ms`. `field`: the property that is read; None: none is, and nothing is noted of events.
    With `numbers` (literal to value) and `number_of` it is a number, and (number, event time,
    position) is noted. Else it is a text of at most `most_text` characters, and (text, whether
    it is added, event time, position) is noted. Of amounts that are `zero` not all are given.
    Unless `ordered` positions are empty.
    """
    total = 0
    amounts: list[Decimal] = []
    found: list[tuple[Any, ...]] = []
    prefix, suffix = f"{external_subscription_id}\0", f"\0{code}\0"
    text = ""
    position: tuple[int, ...] = ()
    for arrival in run:
        event, append_time_ms = arrival.event, arrival.append_time_ms
        timestamp_ms = event.timestamp_ms
        if timestamp_ms is None:
            timestamp_ms = append_time_ms
        if not (start_ms <= timestamp_ms < end_ms and after_ms < append_time_ms <= until_ms):
            return None
        if field is not None:
            properties = _properties_of(event.properties)
            raw = properties.get(field)
            if raw is None:
                return None
            literal = str(raw, "utf-8")
            if ordered:
                partition, offset = arrival.raw_partition, arrival.raw_offset
                position = append_time_ms, partition, offset, arrival.array_index
            if numbers is not None:
                value = numbers.get(literal) or number_of(literal)
                if value is None:
                    return None
                found.append((value[0], timestamp_ms, position))
                text = value[3]
            else:
                adds = _adds(properties.get("operation_type"))
                text = literal[1:-1]
                if adds is None or literal[0] != '"' or "\\" in literal or len(text) > most_text:
                    return None
                found.append((text, adds, timestamp_ms, position))
                text = f"add:{text}" if adds else f"remove:{text}"
        hashing = _blank_digest()
        hashing.update(f"{prefix}{event.transaction_id}\0{timestamp_ms}{suffix}{text}".encode())
        total += _from_bytes(hashing.digest(), "big")
        amount = event.precise_total_amount_cents
        if amount is not None and not (amount is zero and amounts):
            amounts.append(amount)
    return total & _DIGEST_MASK, amounts, found


def _adds(kind: msgspec.Raw | None) -> bool | None:
    """Return whether an operation adds; None: it is not known."""
    return True if kind is None else _OPERATIONS.get(bytes(kind))


_OPERATIONS = {b'"add"': True, b'""': True, b'"remove"': False}
_DIGEST_MASK = (1 << 128) - 1
_LARGEST_48_BITS = (1 << 48) - 1
_pack_row = struct.Struct(">12sQQQI").pack
_properties_of = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# A copy of a hash that nothing was fed to costs less than a new one.
_blank_id = hashlib.blake2b(digest_size=12).copy
_blank_digest = hashlib.blake2b(digest_size=16).copy
_from_bytes = int.from_bytes
