"""The period before, as it was published: units of a balance in it are followed by a zero."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property

from app.definitions.model import Charge, ChargeFilter
from tables.aggregation import Groups
from tables.changelogged.published_period import PublishedCell, PublishedCellKey
from tables.closing.at_cut import AtCut
from tables.closing.revision import Closing
from tables.routing.period_charges import PeriodCharges


class PeriodBefore:
    """What a cut of a period has from the period before it: cells as they were published last.

    A state that is folded anew takes the cut again. Some of them are of later cuts then, and do not
    tell any more what the cut came to; but who published those had published this one.
    """

    def __init__(self, at: AtCut):
        self._partition, _, self._subscription, _, self._period, self._cut_ms = at

    def closes(self, closing: Closing) -> bool:
        """Return True if a cell that shows nothing is published all the same, as one zero."""
        cell = self._cell_of(closing)
        return cell is not None and self._is_closed(cell)

    def is_ahead(self, closing: Closing) -> bool:
        """Return True if a cell was published by a later cut."""
        cell = self._cell_of(closing)
        return cell is not None and cell.cut_ms > self._cut_ms

    def closed(
        self, charge: Charge, filters: Mapping[str, ChargeFilter]
    ) -> Iterator[tuple[str | None, Groups]]:
        """Yield cells of a charge that a zero follows.

        Whether the tables still have such a cell depends on what came after the cut.
        """
        for name in self._closed.get(charge.id, ()):
            _, filter_id, groups, *_ = name
            if filter_id is None or filter_id in filters:
                now = charge.group_keys(None if filter_id is None else filters[filter_id])
                # The same values of other keys are another cell.
                if now == (self._charges.keys_of(name) if groups else ()):
                    yield filter_id, groups

    def _is_closed(self, cell: PublishedCell) -> bool:
        return cell.units != "0.0" and cell.cut_ms <= self._cut_ms

    def _cell_of(self, closing: Closing) -> PublishedCell | None:
        name = closing.cell.name
        if name[2] and self._cells:
            keys = tuple(key for key, _ in closing.cell.grouped_by)
            name = self._charges.name_under(name[0], name[1], name[2], keys)
        return self._cells.get(name)

    @cached_property
    def _cells(self) -> Mapping[PublishedCellKey, PublishedCell]:
        if self._period is None:
            return {}
        start_ms = self._period.start_ms
        published = self._partition.published.find((self._subscription.id, start_ms))
        return {} if published is None else published.cells

    @cached_property
    def _closed(self) -> dict[str, list[PublishedCellKey]]:
        """Cells that a zero follows, by charge: it is looked at for each."""
        names: dict[str, list[PublishedCellKey]] = {}
        for name, cell in self._cells.items():
            if self._is_closed(cell):
                names.setdefault(name[0], []).append(name)
        return names

    @cached_property
    def _charges(self) -> PeriodCharges:
        # Asked for where there are cells alone.
        return self._partition.routes.charges_of(self._subscription, self._period)  # type: ignore[arg-type]
