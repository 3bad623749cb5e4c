"""Reasons: why a cut revises cells of a period."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from operator import itemgetter

from app.definitions.periods import ceil_to
from app.wire.usage_records import RevisionReason
from tables.aggregation import Groups
from tables.changelogged.published_period import PublishedCell
from tables.charge import ChargeFold
from tables.closing.at_cut import AtCut
from tables.closing.billing import Moved
from tables.closing.revision import Closing
from tables.partition.revised import Kept
from tables.routing.period_charges import PeriodCharges


class Reasons:
    """What came since the cuts before of one period: corrections and history records."""

    def __init__(self, at: AtCut, moved: Moved):
        self._partition, self._name, self._subscription, self._period, _, self._cut_ms = at
        self._moved = moved
        self._corrected: dict[ChargeFold, dict[tuple[str | None, Groups], int]] = {}

    def of(self, closing: Closing, known: PublishedCell, charges: PeriodCharges) -> RevisionReason:
        """Return why the cut revises a cell."""
        # What was shown before, in time or for an earlier period, is no reason any more.
        shown_ms = known.cut_ms
        if self._is_corrected(closing, shown_ms):
            return "correction"
        known_ms = max(self.known_ms, shown_ms)
        if charges.changed_since(closing.cell.period_charge.charge.id, known_ms):
            return "definition"
        return "late_events"

    def _is_corrected(self, closing: Closing, shown_ms: int) -> bool:
        """Return True if the cut shows corrections of events that count or counted in the cell.

        A group without events may have lost its place to a group that a correction made.
        """
        charge, metric, *_ = closing.cell.period_charge
        fold = self._partition.routes.fold_of(charge, metric, self._period.timezone)
        corrected = self.corrected_in(fold)
        if closing.figures.digest == 0 and closing.cell.name[2]:
            return any(at_ms > shown_ms for at_ms in corrected.values())
        return corrected.get(closing.cell.name[1:3], -1) > shown_ms

    def corrected_in(self, fold: ChargeFold) -> Mapping[tuple[str | None, Groups], int]:
        """Return cells of corrected events with the append time of the newest correction (ms)."""
        if fold not in self._corrected:
            # The newest of several corrections wins: it comes last.
            self._corrected[fold] = dict(sorted(self._corrected_cells(fold), key=itemgetter(1)))
        return self._corrected[fold]

    def _corrected_cells(self, fold: ChargeFold) -> Iterator[tuple[tuple[str | None, Groups], int]]:
        """Yield cells of corrected events, before and after, with the corrections' append times."""
        since_ms = 0 if fold.metric.recurring else self._period.start_ms
        for kept in self.corrections(fold.metric.code):
            if kept.place_only and not fold.gives_places:
                continue
            if since_ms <= kept.timestamp_ms < self._period.end_ms:
                cell = fold.cell_of_event(kept.arrival())
                if cell is not None:
                    yield cell, kept.since_ms
        if fold.in_advance:
            yield from self._moved.cells(self._subscription.id, fold.charge.id, self._period)

    def corrections(self, code: str) -> Iterator[Kept]:
        """Yield events before and after corrections that no earlier cut of this period showed."""
        partition, every_ms = self._partition, self._period.revise_every_ms
        for version in partition.corrected.revised(self._name, code, self._cut_ms):
            if ceil_to(version.since_ms, every_ms) >= self._cut_ms:
                yield version

    @cached_property
    def known_ms(self) -> int:
        """History records appended until then had their revision cut before."""
        partition = self._partition
        records = partition.definitions.history_of(self._name[0], partition.standing.history_ms)
        times_ms = [record.append_time_ms for record in records]
        every_ms = self._period.revise_every_ms
        done_ms = [at_ms for at_ms in times_ms if ceil_to(at_ms, every_ms) < self._cut_ms]
        return max(done_ms, default=-1)
