"""The daily record: what a cell has at the end of a local day (records-and-cuts §4)."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import NamedTuple

import msgspec

from app.billing_periods.instants import iso_milliseconds
from app.wire.usage_records import (
    PublishedRecord,
    RecordedCell,
    RecordLabels,
    Topic,
    published_as,
    quoted,
    record_id,
)

USAGE_DAILY: Topic = "usage-daily"
DAILY_TYPE = "usage.daily"


class DailyText(NamedTuple):
    """The figures of one cell at the end of a day as printed."""

    units: str
    prorated_units: str | None
    total_aggregated_units: str
    events_count: int
    delta_units: str
    delta_events_count: int
    presentation_breakdowns: str
    """As JSON."""


class _Metric(msgspec.Struct):
    code: str
    recurring: bool


class Addition(msgspec.Struct):
    """The fields of a daily record that say what its day added."""

    lago_subscription_id: str
    day: date
    plan_code: str
    amount_currency: str
    billable_metric: _Metric
    delta_units: Decimal


addition_of = msgspec.json.Decoder(Addition).decode
"""Return what a daily record says. Raises: msgspec.MsgspecError: it is none."""


def daily_record(cell: RecordedCell, day: str, text: DailyText) -> PublishedRecord:
    """Return the `usage.daily` record of a cell; `day`: as YYYY-MM-DD."""
    envelope = cell.envelope
    identity = record_id(cell.id, day)
    value = (
        f'{{"schema_version":{envelope.schema_version},"id":"{identity}","cell_id":"{cell.id}",'
        f'"type":"{DAILY_TYPE}","day":"{day}",{envelope.names},{cell.echoed},'
        f'"units":"{text.units}","prorated_units":{quoted(text.prorated_units)},'
        f'"total_aggregated_units":"{text.total_aggregated_units}",'
        f'"events_count":{text.events_count},"delta_units":"{text.delta_units}",'
        f'"delta_events_count":{text.delta_events_count},'
        f'"presentation_breakdowns":{text.presentation_breakdowns},'
        f'"closed_at":"{iso_milliseconds(envelope.closed_at_ms)}",'
        f'"definitions_offset":{envelope.definitions_offset}}}'
    )
    return published_as(envelope, identity, RecordLabels(DAILY_TYPE), value, USAGE_DAILY)
