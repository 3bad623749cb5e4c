"""What records say of a cell besides its figures: the rows that it is presented by."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from app.bounds.turns import Steps
from app.definitions.model import Charge
from app.definitions.timeline import Period
from app.numbers import plain
from tables.aggregation import Groups
from tables.breakdown_fold import breakdown_id
from tables.cells.breakdown import Breakdowns, breakdowns
from tables.cells.cell import Span
from tables.routing.route import Route


class Presented(NamedTuple):
    """Rows of the cells of one charge and period, for their records."""

    wanted: bool
    """Whether the charge has presentation keys."""
    found: Breakdowns | None = None
    """None: there are too many."""

    def text(self, filter_id: str | None, groups: Groups) -> str:
        """Return the rows of a cell as JSON."""
        if not self.wanted or self.found is None:
            return "null"
        rows = self.found.rows.get((filter_id, groups))
        if rows is None:
            return "[]"
        keys = self.found.keys[filter_id]
        shown = [
            {
                "presentation_by": dict(zip(keys, row.texts, strict=True)),
                "units": plain(row.units),
            }
            for row in rows
        ]
        return msgspec.json.encode(shown).decode()


NOTHING_PRESENTED = Presented(wanted=False)


def presented(
    route: Route, subscription_id: str, charge: Charge, period: Period, cut_ms: int
) -> Steps[Presented]:
    """Return the rows of a charge's cells of a period as of a cut, by steps."""
    span = breakdown_span(route, subscription_id, charge.id, period)
    found: Breakdowns | None = Breakdowns({}, {})
    if span is not None:
        found = yield from breakdowns(span, period, cut_ms)
    return Presented(True, found)


def breakdown_span(
    route: Route, subscription_id: str, charge_id: str, period: Period
) -> Span | None:
    """Return the span of a charge's second fold that has a period; None: it has none."""
    name = (subscription_id, breakdown_id(charge_id))
    for span in route.spans:
        if span.key[:2] == name and span.key.start_ms <= period.start_ms < span.end_ms:
            return span
    return None
