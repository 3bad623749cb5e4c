"""A cell at a cut, and the revision that says what is new about it."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

import msgspec

from app.definitions.by_identity import ByIdentity
from app.definitions.model import Charge, ChargeFilter, Metric
from app.numbers import EXACT, ZERO, plain
from app.wire.usage_records import (
    ARREARS,
    BillingText,
    Envelope,
    PublishedRecord,
    RecordedCell,
    RevisionReason,
    echoes,
    usage_record,
)
from tables.cells.figures import CellFigures
from tables.changelogged.published_period import PublishedCell, PublishedCellKey
from tables.closing.beside import Beside, no_events
from tables.closing.billing import NOTHING_LEFT, RENEWAL
from tables.routing.period_charges import PeriodCharge


class Closing(msgspec.Struct, frozen=True, gc=False):
    """A cell that may be published, with what its record echoes."""

    name: PublishedCellKey
    period_charge: PeriodCharge
    charge_filter: ChargeFilter | None
    grouped_by: tuple[tuple[str, str | None], ...]
    figures: CellFigures
    beside: Beside | None = None
    """What its record says besides the figures; None: nothing."""


class _ToldBeside(NamedTuple):
    """What the records of all cells of a charge, or of one of its filters, say besides figures."""

    echo: str
    no_events: BillingText
    """What they say that have nothing beside their figures."""


def _told(
    charge: Charge,
    metric: Metric,
    charge_filter: ChargeFilter | None,
    currency: str,
    schema_version: int,
) -> _ToldBeside:
    echo = echoes.of(charge, metric, charge_filter, currency, schema_version)
    found = no_events(charge, metric, charge_filter)
    return _ToldBeside(echo, ARREARS if found == ARREARS else found)


_told_of = ByIdentity(_told)


def next_revision(
    envelope: Envelope,
    identity: str,
    shown: Closing,
    billing: BillingText,
    published: PublishedCell | None,
    reason: RevisionReason | None,
    again: bool,
) -> tuple[PublishedCell | None, PublishedRecord | None]:
    """Return the next revision of a cell, None when it would say nothing new.

    `again`: the cut was taken before, and what was billed by then was told then.
    """
    figures, precise = shown.figures, shown.figures.precise_total_amount_cents
    charge, metric, *_ = shown.period_charge
    currency, version = envelope.plan.amount_currency, envelope.schema_version
    told = _told_of.of(charge, metric, shown.charge_filter, currency, version)
    units = plain(figures.units)
    # The same object, but of a level.
    is_total = figures.total_aggregated_units is figures.units
    prorated_text = _prorated_text(shown, billing)
    if envelope.period.fold_version > 1:
        billing = _with_events(billing, shown, told)
    revision = 0 if published is None else published.revision + 1
    entry = PublishedCell(
        revision,
        units,
        prorated_text,
        units if is_total else plain(figures.total_aggregated_units),
        None if precise is None else plain(precise),
        figures.events_count,
        figures.digest.to_bytes(16, "big"),
        envelope.closed_at_ms,
        billing.digest,
    )
    if published is not None:
        is_same = published.same_but_billing if again else published.same_figures
        if is_same(entry):
            return None, None
    previous = None if published is None else published.units
    record = usage_record(
        envelope,
        RecordedCell(identity, told.echo, shown.grouped_by),
        entry,
        billing,
        previous,
        None if previous is None else _delta(units, previous),
        reason,
    )
    return entry, record


def _with_events(billing: BillingText, shown: Closing, told: _ToldBeside) -> BillingText:
    """Return the same with the rows and events that a record has beside its figures."""
    found = told.no_events
    if shown.beside is not None:
        found = shown.beside.text(shown.charge_filter, shown.name[2])
    if found is ARREARS or found == ARREARS:
        return billing
    # Where nothing is left to bill no price asks for single events.
    per_event = "null" if billing.billing == NOTHING_LEFT else found.per_event
    return billing._replace(
        presentation_breakdowns=found.presentation_breakdowns, per_event=per_event
    )


def _prorated_text(shown: Closing, billing: BillingText) -> str | None:
    if not shown.period_charge.charge.prorated or billing.billing == RENEWAL:
        return None
    prorated = shown.figures.prorated_units
    return plain(ZERO if prorated is None else prorated)


def _delta(units: str, previous: str) -> str:
    return plain(EXACT.subtract(EXACT.create_decimal(units), EXACT.create_decimal(previous)))


def figures_told(cell: PublishedCell) -> CellFigures:
    """Return the figures of a record."""
    units, prorated = Decimal(cell.units), cell.prorated_units
    precise = cell.precise_total_amount_cents
    return CellFigures(
        units=units,
        prorated_units=None if prorated is None else Decimal(prorated),
        total_aggregated_units=Decimal(cell.total_aggregated_units),
        precise_total_amount_cents=None if precise is None else Decimal(precise),
        events_count=cell.events_count,
        digest=int.from_bytes(cell.digest, "big"),
        carries=False,
        period_events=cell.events_count,
        aggregate=units,
    )
