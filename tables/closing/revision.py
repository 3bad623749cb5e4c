"""A cell at a cut, and the revision that says what is new about it."""

from __future__ import annotations

from decimal import Decimal
from typing import Final

import msgspec

from app.bounds.at_hand import keep
from app.definitions.by_identity import ByIdentity
from app.definitions.model import ChargeFilter
from app.numbers import EXACT, ZERO, plain
from app.wire.usage_records import (
    ARREARS,
    BillingText,
    Envelope,
    PublishedRecord,
    RecordedCell,
    RevisionReason,
    cell_named,
    groups_text,
    usage_record,
)
from tables.cells.figures import CellFigures
from tables.changelogged.packed_rows import Place
from tables.changelogged.published_period import PublishedCell, PublishedCellKey
from tables.closing.at_cut import AtCut
from tables.closing.beside import Beside, no_events
from tables.closing.billing import NOTHING_LEFT, RENEWAL
from tables.routing.period_charges import PeriodCharge, PeriodCharges


class ClosingCell(msgspec.Struct, gc=False):
    """A cell of a period at one cut, as all subscriptions have it that are alike."""

    name: PublishedCellKey
    period_charge: PeriodCharge
    charge_filter: ChargeFilter | None
    grouped_by: tuple[tuple[str, str | None], ...]
    named: bytes
    """`app.wire.usage_records.cell_named` of it."""
    groups: str
    """Its group as records have it."""
    echo: str = ""
    """`RecordedCell.echo` of it; empty until one is published."""
    no_events: BillingText = ARREARS
    """What its record says that has nothing beside its figures, once `echo` is there."""

    @classmethod
    def of(
        cls,
        name: PublishedCellKey,
        period_charge: PeriodCharge,
        charge_filter: ChargeFilter | None,
        keys: tuple[str, ...],
        start_ms: int,
    ) -> ClosingCell:
        """Make one that is grouped by these keys, of a period that starts then."""
        grouped_by = tuple(zip(keys, name[2], strict=False)) if name[2] else ()
        named = cell_named(period_charge.charge.id, name[1], grouped_by, start_ms)
        groups = groups_text(grouped_by)
        return cls(name, period_charge, charge_filter, grouped_by, named, groups)

    def told(self, envelope: Envelope) -> ClosingCell:
        """Return it with what its records say besides figures."""
        if not self.echo:
            charge, metric, *_ = self.period_charge
            found = _no_events.of(charge, metric, self.charge_filter)
            self.no_events = ARREARS if found == ARREARS else found
            self.echo = envelope.echo_of(charge, metric, self.charge_filter)
        return self


_no_events = ByIdentity(no_events)

_MOST_ALIKE: Final = 256
"""Cells of a period that are at hand: of very many each subscription may have others."""


class CellsAlike:
    """Cells at a cut of those whose periods begin together, under the same charges.

    Most who have a plan have the same ones.
    """

    def __init__(self, charges: PeriodCharges, start_ms: int):
        self.charges = charges
        self._start_ms = start_ms
        self.cells: dict[Place, ClosingCell] = {}
        """Some of them, by the place within their subscription."""

    @classmethod
    def of(cls, charges: PeriodCharges, at: AtCut) -> CellsAlike:
        """Return those that a period has at a cut."""
        start_ms = at.period.start_ms
        name = "cells", start_ms, at.schema_version
        return charges.alike(name, lambda: cls(charges, start_ms))

    def keep(self, place: Place, cell: ClosingCell) -> ClosingCell:
        """Have a cell at hand for all others that are alike."""
        return keep(self.cells, place, cell, _MOST_ALIKE)

    def make(
        self,
        place: Place,
        period_charge: PeriodCharge,
        charge_filter: ChargeFilter | None,
        keys: tuple[str, ...],
    ) -> ClosingCell:
        """Make a cell that is grouped by these keys."""
        name = self.charges.name_under(*place, keys)
        return ClosingCell.of(name, period_charge, charge_filter, keys, self._start_ms)


class Closing(msgspec.Struct, frozen=True, gc=False):
    """A cell that may be published, with its figures."""

    cell: ClosingCell
    figures: CellFigures
    beside: Beside | None = None
    """What its record says besides the figures; None: nothing."""


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
    cell = shown.cell.told(envelope)
    charge = cell.period_charge.charge
    units = plain(figures.units)
    # The same object, but of a level.
    is_total = figures.total_aggregated_units is figures.units
    prorated_text = _prorated_text(figures, billing) if charge.prorated else None
    if envelope.period.fold_version > 1:
        found = cell.no_events
        if shown.beside is not None:
            found = shown.beside.text(cell.charge_filter, cell.name[2])
        if found is not ARREARS:
            billing = _with_events(billing, found)
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
        RecordedCell(envelope, identity, cell.echo, cell.groups),
        entry,
        billing,
        previous,
        None if previous is None else _delta(units, previous),
        reason,
    )
    return entry, record


def _with_events(billing: BillingText, found: BillingText) -> BillingText:
    """Return the same with the rows and events that a record has beside its figures."""
    # Where nothing is left to bill no price asks for single events.
    per_event = "null" if billing.billing == NOTHING_LEFT else found.per_event
    return billing._replace(
        presentation_breakdowns=found.presentation_breakdowns, per_event=per_event
    )


def _prorated_text(figures: CellFigures, billing: BillingText) -> str | None:
    if billing.billing == RENEWAL:
        return None
    prorated = figures.prorated_units
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
