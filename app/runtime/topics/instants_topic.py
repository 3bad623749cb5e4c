"""Instant records read again: chains and figures follow from the records themselves."""

from __future__ import annotations

from decimal import Decimal
from functools import partial

import msgspec

from app.billing_periods.instants import parse_iso8601_ms
from app.definitions.state import Definitions
from app.kafka.topics import output_tp
from app.numbers import ZERO, exact_difference, exact_sum
from app.runtime.topics.published_topic import OutputRecord, put_all_again
from app.settings import Settings
from app.wire.identity import event_id
from app.wire.instant_records import INSTANT_TYPES
from tables.changelogged.instants import InstantTable, StoredChain, StoredFigure


class _InstantRecord(OutputRecord, kw_only=True):
    """The fields of an instant record that say what was decided."""

    event_transaction_id: str = ""
    event_timestamp: str = ""
    units: Decimal = ZERO
    prorated_units: Decimal | None = None
    current_units: Decimal = ZERO
    peak_units: Decimal = ZERO
    events_count: int = 0


_decode = msgspec.json.Decoder(_InstantRecord).decode


async def read_instants(
    table: InstantTable, settings: Settings, definitions: Definitions, number: int
) -> None:
    """Put into the table what a partition has decided, as usage-records has it."""
    if definitions.plan_index.in_advance:
        tp = output_tp(settings, number)
        await put_all_again(settings, tp, partial(put_again, table, definitions))


def put_again(table: InstantTable, definitions: Definitions, value: bytes) -> None:
    """Put into the table what a record says; records in the order of the topic."""
    record = _decode(value)
    if record.type not in INSTANT_TYPES:
        return
    cut_ms, timestamp_ms = (
        parse_iso8601_ms(text) for text in (record.closed_at, record.event_timestamp)
    )
    chain = table.chain(record.cell_id)
    start_ms = None if chain is None else chain.start_ms
    if start_ms is None:
        # An event that is dated ahead may be of a period that is no more.
        found = record.period_in(definitions) or record.period_in(definitions, cut_ms)
        start_ms = None if found is None else found[1].start_ms
    if cut_ms is None or timestamp_ms is None or start_ms is None:
        return
    identity = event_id(
        record.organization_id, record.external_subscription_id, record.event_transaction_id
    )
    known = {figure.cell_id: figure for figure in table.figures(identity)}
    before = known.get(record.cell_id)
    # What the chain moved by is the part, and what the event's earlier part was.
    moved = exact_difference(record.current_units, ZERO if chain is None else chain.current)
    billed = record.units if record.prorated_units is None else record.prorated_units
    if before is not None:
        moved = exact_sum((moved, before.part))
        shown = before.units if before.prorated_units is None else before.prorated_units
        billed = exact_difference(billed, shown)
    known[record.cell_id] = StoredFigure(
        record.cell_id,
        record.event_transaction_id,
        timestamp_ms,
        moved,
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
            record.groups,
            start_ms,
            record.current_units,
            record.peak_units,
            exact_sum((billed, ZERO if chain is None else chain.billed)),
            cut_ms,
        ),
    )
