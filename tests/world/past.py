"""Past usage of a subscription all at once, and as the API prints it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from app.api.http.json_text import whole
from app.api.usage.usage_json import past_usage_stream
from app.bounds.turns import drained
from app.meter.usage import PeriodUsage
from app.wire.arrivals import SubscriptionKey
from tables.partition.partition import Partition
from tables.reading.usage import past_periods, past_usage_steps


def past_usage(partition: Partition, name: SubscriptionKey, at_ms: int) -> list[PeriodUsage]:
    """Return usage of every period that ended by `at_ms`, newest first."""
    past = past_periods(partition, name, at_ms)
    return [drained(past_usage_steps(partition, name, each)) for each in past]


def past_usage_json(usage: PeriodUsage) -> dict[str, Any]:
    """Return one of the `usage_periods`."""
    shown: dict[str, Any] = whole(past_usage_stream(usage))
    return shown


def as_told(ours: PeriodUsage | None, theirs: PeriodUsage | None) -> PeriodUsage | None:
    """Return usage without parts of rows that another cannot tell any more: its cells hold more."""
    if ours is None or theirs is None or len(ours.rows) != len(theirs.rows):
        return ours
    rows = zip(ours.rows, theirs.rows, strict=True)
    told = (replace(row, presented=None) if other.presented is None else row for row, other in rows)
    return replace(ours, rows=tuple(told))
