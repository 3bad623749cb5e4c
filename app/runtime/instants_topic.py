"""Instant records read again: chains and figures follow from the records themselves."""

from __future__ import annotations

import logging
from decimal import Decimal

import msgspec

from app.billing_periods.instants import iso_seconds, parse_iso8601_ms
from app.definitions.model import listed_group_keys
from app.definitions.state import Definitions
from app.definitions.terms import subscription_timeline
from app.kafka.log_readers import read_to_end
from app.numbers import ZERO
from app.runtime.published_topic import output_tp
from app.settings import Settings
from app.wire.identity import event_id
from app.wire.instant_records import INSTANT_TYPES
from tables.changelogged.instants import InstantTable, StoredChain, StoredFigure

log = logging.getLogger(__name__)


class _Charge(msgspec.Struct):
    properties: dict[str, object]
    filter_properties: dict[str, object] | None


class _Period(msgspec.Struct):
    from_: str = msgspec.field(name="from")


class _InstantRecord(msgspec.Struct):
    """The fields of an instant record that say what was decided."""

    type: str
    revision: int
    organization_id: str
    external_subscription_id: str
    lago_subscription_id: str
    closed_at: str
    period: _Period
    cell_id: str = ""
    lago_charge_id: str = ""
    lago_charge_filter_id: str | None = None
    charge: _Charge | None = None
    grouped_by: dict[str, str | None] | None = None
    event_transaction_id: str = ""
    event_timestamp: str = ""
    units: Decimal = ZERO
    prorated_units: Decimal | None = None
    current_units: Decimal = ZERO
    peak_units: Decimal = ZERO
    events_count: int = 0


_decode = msgspec.json.Decoder(_InstantRecord).decode


async def read_instants(settings: Settings, definitions: Definitions, number: int) -> InstantTable:
    """Return what a partition has decided as usage-records has it."""
    table = InstantTable()
    tp = output_tp(settings, number)
    async for _, records in read_to_end(settings, [tp]):
        for offset, _, value in records:
            try:
                put_again(table, definitions, value or b"")
            except (msgspec.MsgspecError, ValueError):
                log.warning("%s %s/%s is no usage record", tp.topic, tp.partition, offset)
    return table


def put_again(table: InstantTable, definitions: Definitions, value: bytes) -> None:
    """Put into the table what a record says; records in the order of the topic."""
    record = _decode(value)
    if record.type not in INSTANT_TYPES:
        return
    cut_ms, timestamp_ms = (
        parse_iso8601_ms(text) for text in (record.closed_at, record.event_timestamp)
    )
    start_ms = _start_of(record, definitions)
    if cut_ms is None or timestamp_ms is None or start_ms is None:
        return
    identity = event_id(
        record.organization_id, record.external_subscription_id, record.event_transaction_id
    )
    known = {figure.cell_id: figure for figure in table.figures(identity)}
    before, chain = known.get(record.cell_id), table.chain(record.cell_id)
    # What the chain moved by is the part, and what the event's earlier part was.
    part = record.current_units - (chain.current if chain is not None else ZERO)
    billed = record.units if record.prorated_units is None else record.prorated_units
    if before is not None:
        part += before.part
        billed -= before.units if before.prorated_units is None else before.prorated_units
    known[record.cell_id] = StoredFigure(
        record.cell_id,
        record.event_transaction_id,
        timestamp_ms,
        part,
        record.units,
        record.prorated_units,
        record.revision,
        bool(record.events_count),
        cut_ms,
    )
    table.put_figures(identity, known.values())
    table.put_chain(
        record.cell_id,
        StoredChain(
            record.lago_subscription_id,
            record.lago_charge_id,
            record.lago_charge_filter_id,
            _grouped_by(record),
            start_ms,
            record.current_units,
            record.peak_units,
            billed + (chain.billed if chain is not None else ZERO),
            cut_ms,
        ),
    )


def _grouped_by(record: _InstantRecord) -> tuple[tuple[str, str | None], ...]:
    """Return the groups as the charge names their keys, a wallet's last."""
    groups = dict(record.grouped_by or {})
    charge = record.charge
    if not groups or charge is None:
        return ()
    by_filter = charge.filter_properties
    named = listed_group_keys(charge.properties if by_filter is None else by_filter)
    in_order = [(key, groups.pop(key)) for key in named if key in groups]
    return (*in_order, *groups.items())


def _start_of(record: _InstantRecord, definitions: Definitions) -> int | None:
    """Return the start of a record's period; records print whole seconds."""
    printed_ms = parse_iso8601_ms(record.period.from_)
    if printed_ms is None:
        return None
    name = (record.organization_id, record.external_subscription_id)
    for subscription in definitions.subscriptions(*name):
        known = subscription.at(None)
        if known is None or known.id != record.lago_subscription_id:
            continue
        timeline = subscription_timeline(definitions, subscription)
        for period in reversed(timeline.until(printed_ms + 999)):
            if iso_seconds(period.start_ms) == record.period.from_:
                return period.start_ms
    return None
