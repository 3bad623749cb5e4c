"""Explained: the figures of a cell as the tables have them, and as its events read again give them.

The tables know no balance as a closed period shows it: what came too late for it is merged in.
There the records say what is live, and the events are asked as of the cut that showed them last.
"""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from app.definitions.model import Charge
from app.definitions.periods import Period
from app.meter.evidence import FigureTexts
from tables.aggregation import Groups
from tables.cells.cell import Span
from tables.cells.forgotten import has_forgotten
from tables.cells.keys import OPEN_CUT_MS
from tables.changelogged.published_period import PublishedCell, PublishedCellKey
from tables.closing.at_cut import AtCut
from tables.partition.partition import Partition
from tables.reading.cell_differences import figure_texts
from tables.reading.shown_last import ShownLast, Turned

CellOf = tuple[str | None, Groups]
"""(filter id, groups)"""


class Figures(NamedTuple):
    """The figures of one cell, which are the same if all is well."""

    live: FigureTexts
    recomputed: FigureTexts
    published: PublishedCell | None


class ExplainedPeriod:
    """One period of one subscription, of whose cells figures are asked for."""

    def __init__(
        self,
        partition: Partition,
        subscription_id: str,
        period: Period,
        turned: Turned,
    ):
        """Take `turned`: by code, events before and after each of their corrections."""
        self._period = period
        self._settled_ms = partition.cuts.settled_ms
        subscription = partition.definitions.subscription_by_id(subscription_id, period.fixed_at_ms)
        self._shown_last: ShownLast | None = None
        if subscription is not None:
            name = (subscription.organization_id, subscription.external_id)
            at = AtCut(partition, name, subscription, period, None, self._settled_ms)
            self._shown_last = ShownLast(at, turned)
        self._known = partition.published.find((subscription_id, period.start_ms))

    def newest(self, charge: Charge) -> Charge:
        """Return a charge as the period has it now."""
        shown = self._shown_last
        known = None if shown is None else shown.charges.last(charge.id)
        return charge if known is None else known.charge

    def name_of(self, charge: Charge, cell: CellOf) -> PublishedCellKey | None:
        """Return how published figures name a cell; None: nothing of the period is published."""
        shown = None if self._known is None else self._shown_last
        return None if shown is None else shown.charges.name_of(charge, *cell)

    def shown_until_ms(self, charge: Charge) -> int | None:
        """Return up to when appended events its records show of a balance; None: they show all."""
        if self._known is None or self._shown_last is None:
            return None
        return self._shown_last.shown_until_ms(charge.id)

    def figures(self, live: Span, recomputed: Span, cell: CellOf) -> Figures | None:
        """Return the figures of a cell; None: only later periods show it."""
        entry, charge = None, recomputed.fold.charge
        name = self.name_of(charge, cell)
        if self._known is not None and name is not None:
            entry = self._known.cells.get(name)
        if has_forgotten(live, self._period):
            told = self._texts(live.emptied(), cell, OPEN_CUT_MS)
            raw = _as_billed(self._texts(recomputed, cell, OPEN_CUT_MS), entry)
            if entry is not None:
                told = published_texts(entry)
            if not live.fold.metric.recurring and (entry is None or entry.shows_nothing):
                # Operations that leave nothing active have no record, or one without events.
                told = told if recomputed.figures(self._period, *cell).counts else raw
            return Figures(told, raw, entry)
        until_ms = self.shown_until_ms(charge)
        if until_ms is None or until_ms >= self._settled_ms:
            shown_ms = OPEN_CUT_MS if until_ms is None else until_ms
            return self._folded(live, recomputed, cell, entry, shown_ms)
        if entry is None:
            # Its charge may be one that ends without a record.
            shows = recomputed.figures(self._period, *cell, until_ms).shows
            return self._folded(live, recomputed, cell, None, OPEN_CUT_MS) if shows else None
        raw = _as_billed(self._texts(recomputed, cell, until_ms), entry)
        told = published_texts(entry)
        # A cell that is there no more has a record without events.
        gone = raw.units == "0.0" and not entry.events_count and not any(entry.digest)
        return Figures(told, told if gone else raw, entry)

    def cells(self, live: Span, recomputed: Span) -> list[CellOf]:
        """Return the cells that any of both has; the records have those that are forgotten."""
        found = dict.fromkeys((*live.cells_of(self._period), *recomputed.cells_of(self._period)))
        if self._known is not None and has_forgotten(live, self._period):
            charge_id = live.fold.charge.id
            found.update((name[1:3], None) for name in self._known.cells if name[0] == charge_id)
        return list(found)

    def _folded(
        self, live: Span, raw: Span, cell: CellOf, entry: PublishedCell | None, cut_ms: int
    ) -> Figures:
        return Figures(self._texts(live, cell, cut_ms), self._texts(raw, cell, cut_ms), entry)

    def _texts(self, span: Span, cell: CellOf, cut_ms: int) -> FigureTexts:
        """Return the figures of a cell; those of a published period as its records show them."""
        figures = span.figures(self._period, *cell, cut_ms)
        billed = self._known is not None and self._period.fold_version > 1
        if billed:
            figures = figures.billed(in_advance=span.fold.in_advance)
        return figure_texts(figures)


def _as_billed(raw: FigureTexts, entry: PublishedCell | None) -> FigureTexts:
    """Return figures without a share if the record tells none: a renewal is billed in full."""
    is_renewed = entry is not None and entry.prorated_units is None
    return replace(raw, prorated_units=None) if is_renewed else raw


def published_texts(entry: PublishedCell) -> FigureTexts:
    """Return the figures of the newest record of a cell."""
    return FigureTexts(
        units=entry.units,
        prorated_units=entry.prorated_units,
        total_aggregated_units=entry.total_aggregated_units,
        precise_total_amount_cents=entry.precise_total_amount_cents,
        events_count=entry.events_count,
        digest=entry.digest.hex(),
    )
