"""Past usage of a subscription all at once, and as the API prints it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from app.api.http.json_text import whole
from app.api.usage.usage_json import past_usage_stream
from app.bounds.turns import drained
from app.meter.usage import PeriodUsage, UsageRow
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
    """Return usage without parts of rows that another cannot tell any more: its cells hold more.

    Rows of what is published have no order: cells stand as they were published, or read again.
    """
    if ours is None or theirs is None:
        return ours
    untold = {_name(row) for row in theirs.rows if row.presented is None}
    told = (replace(row, presented=None) if _name(row) in untold else row for row in ours.rows)
    return replace(ours, rows=tuple(told))


def _name(row: UsageRow) -> tuple[object, ...]:
    return row.charge_id, row.filter_id, row.grouped_by
