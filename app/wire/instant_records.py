"""The instant record: what one event of a charge paid in advance bills (records-and-cuts §5)."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

from app.billing_periods.instants import iso_milliseconds
from app.wire.arrivals import Position
from app.wire.usage_records import (
    RECORD_IDS,
    PublishedRecord,
    RecordedCell,
    RecordLabels,
    head_of,
    published_as,
    quoted,
    record_id,
    text_of,
)

InstantType = Literal["usage.instant", "usage.instant_revised"]
INSTANT_TYPES: Final = frozenset(("usage.instant", "usage.instant_revised"))
InstantReason = Literal["correction"]


class BilledEvent(NamedTuple):
    """The event that an instant record bills."""

    transaction_id: str
    timestamp_ms: int
    position: Position
    presentation_by: dict[str, str | None] | None
    """Its texts under the presentation keys of the charge; None: it has none."""


class InstantText(NamedTuple):
    """The figures of one event in one cell as printed."""

    units: str
    prorated_units: str | None
    applied_units: str
    units_before: str
    units_after: str
    current_units: str
    peak_units: str
    precise_total_amount_cents: str | None
    counts: bool


def instant_id(cell: str, transaction_id: str) -> str:
    """Return the id of an event in a cell, the same in every revision."""
    return RECORD_IDS.of(f"{cell}:{transaction_id}".encode())


def instant_record(
    cell: RecordedCell,
    revision: int,
    billed: BilledEvent,
    figures: InstantText,
    previous_units: str | None,
    delta_units: str | None,
) -> PublishedRecord:
    """Return a `usage.instant` record (revision 0) or a `usage.instant_revised` record."""
    kind: InstantType = "usage.instant" if revision == 0 else "usage.instant_revised"
    reason: InstantReason | None = None if revision == 0 else "correction"
    envelope = cell.envelope
    instant = instant_id(cell.id, billed.transaction_id)
    identity = record_id(instant, revision)
    append_time_ms, partition, offset, index = billed.position
    presented = "null" if billed.presentation_by is None else text_of(billed.presentation_by)
    head = head_of(envelope, identity, cell.id, revision, kind, f'"instant_id":"{instant}",')
    # Figures are digits, signs and points: nothing in them is escaped in JSON.
    value = (
        f"{head},{cell.echoed},"
        f'"event_transaction_id":{text_of(billed.transaction_id)},'
        f'"event_timestamp":"{iso_milliseconds(billed.timestamp_ms)}",'
        f'"position":{{"append_time":"{iso_milliseconds(append_time_ms)}",'
        f'"partition":{partition},"offset":{offset},"index":{index}}},'
        f'"units":"{figures.units}","prorated_units":{quoted(figures.prorated_units)},'
        f'"applied_units":"{figures.applied_units}","units_before":"{figures.units_before}",'
        f'"units_after":"{figures.units_after}","current_units":"{figures.current_units}",'
        f'"peak_units":"{figures.peak_units}","presentation_by":{presented},'
        f'"precise_total_amount_cents":{quoted(figures.precise_total_amount_cents)},'
        f'"events_count":{int(figures.counts)},"previous_units":{quoted(previous_units)},'
        f'"delta_units":{quoted(delta_units)},"revision_reason":{quoted(reason)},'
        f'"closed_at":"{iso_milliseconds(envelope.closed_at_ms)}",'
        f'"definitions_offset":{envelope.definitions_offset}}}'
    )
    return published_as(envelope, identity, RecordLabels(kind, reason or ""), value)
