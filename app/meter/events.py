"""Events that a meter takes, and lists as the log holds them."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, NamedTuple

import msgspec

DuplicateKind = Literal["identical", "conflicting"]


class RawPosition(msgspec.Struct, frozen=True):
    """Where the log holds a record, and the append time (ms) it has there."""

    partition: int
    offset: int
    append_time_ms: int


class Accepted(msgspec.Struct, frozen=True):
    """The fold took the event as the first of its identity."""

    position: RawPosition | None


class Duplicate(msgspec.Struct, frozen=True):
    """The identity is in the log already; by another producer's race if `position` is set."""

    kind: DuplicateKind
    position: RawPosition | None = None


class Refused(msgspec.Struct, frozen=True):
    """The fold refused the event; `code` is one of the dead letter codes."""

    code: str
    message: str
    position: RawPosition | None


class Pending(msgspec.Struct, frozen=True):
    """Appended; the fold's verdict did not come in time, or comes on another worker."""

    position: RawPosition | None = None


class NotAppended(msgspec.Struct, frozen=True):
    """Nothing wrong with this event, but another one of its all-or-nothing batch was refused."""

    position: None = None


Verdict = Accepted | Duplicate | Refused | Pending | NotAppended


class StoredEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event as the log holds it."""

    transaction_id: str
    code: str
    external_subscription_id: str
    timestamp_ms: int
    properties: bytes
    """A JSON object, every number spelled as the sender did."""
    precise_total_amount_cents: Decimal | None
    created_at_ms: int
    """Append time."""


class EventQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which events to list; both ends of the time range are inclusive."""

    code: str | None = None
    external_subscription_id: str | None = None
    timestamp_from_ms: int | None = None
    timestamp_to_ms: int | None = None


class ListedEvent(NamedTuple):
    """One event of a listing, in its order: (timestamp descending, transaction_id, position)."""

    before_ms: int
    """The timestamp, negative: newer ones come first."""
    transaction_id: str
    partition: int
    """The raw partition, with offset and place in the array: where the log has it."""
    offset: int
    array_index: int
    append_time_ms: int
