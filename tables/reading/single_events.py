"""The events of cells one by one, for an explanation: all that are read, not only those kept."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from app.definitions.model import Charge, Metric
from app.definitions.per_event import AskedLists, asked_of
from app.definitions.periods import Period
from app.meter.evidence import CellDay, DayShare, EventLists
from app.wire.arrivals import Arrival
from tables.aggregation import Groups
from tables.cells.cell import Span
from tables.cells.entries import source_of
from tables.closing.beside import told_of
from tables.entries import ListedEntry
from tables.per_event import ListSource, PerEvent, daily_sums, day_breakdown, per_event
from tables.reading.tracing import Traced

MOST_EXPLAINED = 50_000
"""Events of all explained cells; of more no list is made."""


class CellEvents(NamedTuple):
    """What the lists of one cell are made of."""

    asked: AskedLists
    source: ListSource
    whole: bool
    """False: there are too many events."""

    def lists(self, offset: int, limit: int) -> EventLists | None:
        """Return a page of the lists that the price asks for; None: it asks for none."""
        if self.asked.nothing:
            return None
        found = PerEvent(self.source.events)
        if self.whole:
            found = per_event(self.asked, self.source, MOST_EXPLAINED)
        pages = (None if each is None else each[offset : offset + limit] for each in found[1:])
        return EventLists(found.length, *pages)

    def days(self) -> tuple[CellDay, ...] | None:
        """Return the sum of each local date with events; None where nothing is summed."""
        if self.source.lists != "number" or not self.whole:
            return None
        return daily_sums(self.source)

    def breakdown(self) -> tuple[DayShare, ...] | None:
        """Return the parts of a prorated figure by date; None where nothing is prorated."""
        if not self.source.prorated or not self.whole:
            return None
        return day_breakdown(self.source)


class SingleEvents:
    """The events of explained cells, as they are traced."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, str | None, Groups], list[ListedEntry]] = {}
        self._count = 0

    def take(self, traced: Iterable[Traced], counted: Arrival) -> None:
        """Take in what charges made of an event."""
        for one in traced:
            lists = one.span.fold.aggregation.lists
            if lists == "none" or not one.value:
                continue
            self._count += 1
            if self._count > MOST_EXPLAINED:
                self._found.clear()
                return
            value = one.value if one.span.fold.unique else Decimal(one.value)
            entry = ListedEntry(counted.timestamp_ms, counted.position, value)
            self._found.setdefault((id(one.span), one.filter_id, one.groups), []).append(entry)

    def of_cell(
        self,
        span: Span,
        period: Period,
        charge: Charge,
        metric: Metric,
        filter_id: str | None,
        groups: Groups,
    ) -> CellEvents:
        """Return what the lists of a cell of a period are made of, under a charge in force."""
        bucket = told_of(charge, metric).filter(filter_id)
        entries = sorted(self._found.get((id(span), filter_id, groups), ()))
        own = [entry for entry in entries if entry.timestamp_ms >= period.start_ms]
        history = entries[: len(entries) - len(own)]
        source = source_of(span, None, period, filter_id, groups)._replace(
            entries=own, history=history, history_events=len(history)
        )
        return CellEvents(asked_of(charge, metric, bucket), source, self._count <= MOST_EXPLAINED)
