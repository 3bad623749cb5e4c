"""What was not counted: a few samples by organization, reason and code, in bounded memory.

Kept while a worker has the partition: it explains what goes wrong now, and is no part of the state.
So it says since when it knows.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from app.bounds.limits import NOT_COUNTED_KINDS, NOT_COUNTED_SAMPLES
from app.meter.evidence import Uncounted, UncountedSample
from app.wire.arrivals import Arrival

Reason = Literal[
    "unknown_code",
    "unknown_subscription",
    "no_charge",
    "outside_periods",
    "pending",
    "missing_property",
    "not_numeric",
    "invalid_value",
    "unknown_operation_type",
    "expression_failed",
    "expression_too_costly",
    "value_too_long",
    "too_many_groups",
]
"""Why an event is taken and not counted."""

OTHER = "other"
"""Reason and code of what is beyond the limit."""

UncountedKey = tuple[str, str, str]
"""(organization_id, reason, code)"""


class NotCounted:
    """Uncounted events of one slice or one partition, by organization, reason and code."""

    def __init__(self) -> None:
        self._kinds: dict[UncountedKey, Uncounted] = {}
        self.since_ms = -1
        """Nothing is known of events appended up to then; -1: of all it is."""

    def note(self, reason: Reason, arrival: Arrival) -> None:
        """Count one more event, and keep it as a sample if there is room."""
        kind = self._kind((arrival.organization_id, reason, arrival.event.code))
        if kind is None:
            return
        at_ms = arrival.append_time_ms
        kind.events_count += 1
        kind.first_ms = min(kind.first_ms, at_ms)
        kind.last_ms = max(kind.last_ms, at_ms)
        if len(kind.samples) < NOT_COUNTED_SAMPLES:
            event = arrival.event
            name = (event.transaction_id, event.external_subscription_id)
            kind.samples.append(UncountedSample(*name, arrival.timestamp_ms))

    def take(self, others: NotCounted) -> None:
        """Add the uncounted events of a slice."""
        for key, other in others._kinds.items():
            kind = self._kind(key)
            if kind is None:
                continue
            kind.events_count += other.events_count
            kind.first_ms = min(kind.first_ms, other.first_ms)
            kind.last_ms = max(kind.last_ms, other.last_ms)
            kind.samples += other.samples[: NOT_COUNTED_SAMPLES - len(kind.samples)]

    def of(self, organization_id: str) -> Iterator[Uncounted | None]:
        """Yield the kinds of an organization, and None for each kind of another one."""
        for key, kind in list(self._kinds.items()):
            yield kind if key[0] == organization_id else None

    def _kind(self, key: UncountedKey) -> Uncounted | None:
        """Return where to note an event; None: even the organizations are too many."""
        kind = self._kinds.get(key)
        if kind is not None:
            return kind
        if len(self._kinds) >= NOT_COUNTED_KINDS:
            key = (key[0], OTHER, OTHER)
            kind = self._kinds.get(key)
            if kind is not None or len(self._kinds) >= 2 * NOT_COUNTED_KINDS:
                return kind
        kind = self._kinds[key] = Uncounted(key[1], key[2])
        return kind
