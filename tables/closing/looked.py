"""Looked: the cells of a period that a cut looks at, where others show what they were told to show.

Whatever a cell shows follows from its states, but for what was billed in advance. A balance that is
0 shows what the period before it was published with, too.
"""

from __future__ import annotations

from tables.aggregation import Groups
from tables.cells.cell import Cell, Span
from tables.cells.grids import decided_until
from tables.cells.noted import Noted
from tables.closing.at_cut import AtCut
from tables.closing.billing import Moved


class Looked:
    """What one cut of a period looks at."""

    def __init__(self, at: AtCut, moved: Moved):
        """Take `moved`: for all periods of the cut."""
        self._partition, self._name, subscription, self._period, self._earlier, self._cut_ms = at
        self._subscription_id = subscription.id
        self._moved = moved
        self._noted: list[Noted[Cell]] = []
        """Layers and balances whose changes the cut tells."""

    def changed_in(self, span: Span) -> dict[tuple[str | None, Groups], None] | None:
        """Return the cells of a span that may show anything new; None: all of them may."""
        fold, period = span.fold, self._period
        recurs = fold.metric.recurring
        noted = span.balances_noted_in(period) if recurs else span.noted_in(period)
        if noted is None:
            return None
        tells_later = fold.in_advance and self._bills_later
        if not tells_later and not (recurs and self._is_ahead(fold.metric.code)):
            self._noted.append(noted)
        changed = noted.look(self._partition.published)
        if changed is None:
            return None
        names = {(cell.filter_id, cell.groups): None for cell in changed}
        if fold.in_advance:
            moved = self._moved.cells(self._subscription_id, fold.charge.id, period)
            names.update((name, None) for name, _ in moved)
        return names

    def _is_ahead(self, code: str) -> bool:
        """Return whether the period before may be published otherwise though no cell changes.

        It is due later, or shows a correction later, or was published by cuts that are taken again.
        """
        partition, earlier = self._partition, self._earlier
        if code in partition.corrected.revised_codes(self._name):
            return True
        if earlier is None:
            return False
        before = partition.published.find((self._subscription_id, earlier.start_ms))
        is_later = before is not None and before.is_ahead(self._cut_ms)
        return is_later or earlier.due_at_ms > self._cut_ms

    @property
    def _bills_later(self) -> bool:
        """Whether some of what came by the cut may be billed after it, by a grid of before."""
        grids = self._partition.definitions.close_grids_ms()
        return decided_until(self._cut_ms, grids) < self._cut_ms

    def told(self) -> None:
        """Note that all which was looked at is told."""
        for noted in self._noted:
            noted.told(self._partition.published)
