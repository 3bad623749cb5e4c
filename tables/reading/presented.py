"""Rows by presentation keys: where they are read of cells, live or as a period was published."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from app.bounds.turns import Steps
from app.definitions.timeline import Period
from app.meter.usage import ChargeInForce, PresentedRow
from app.wire.arrivals import SubscriptionKey
from tables.aggregation import Groups
from tables.breakdown_fold import breakdown_id
from tables.cells.breakdown import Breakdowns, breakdowns
from tables.cells.cell import Span
from tables.changelogged.published_period import PublishedCell
from tables.closing.beside import span_named
from tables.partition.partition import Partition


def presenting_span(
    partition: Partition, in_force: ChargeInForce, span: Span, period: Period
) -> Span | None:
    """Return the span that presents the cells of another; None: nothing does."""
    if not in_force.charge.presents:
        return None
    route = partition.views.route_of((*span.name, span.fold.metric.code))
    return span_named(route, span, breakdown_id(span.key.charge_id), period)


def spans_of(
    partition: Partition,
    name: SubscriptionKey,
    subscription_id: str,
    in_force: ChargeInForce,
    period: Period,
) -> Iterator[Span]:
    """Yield the spans that fold a charge in a period: one, or none if it has no cells there."""
    meter_key = (*name, in_force.metric.code)
    if not partition.routes.may_have_cells(meter_key):
        return
    # Of who began anew very often the last ones are asked for.
    for span in reversed(partition.views.route_of(meter_key).spans):
        if span.key[:2] == (subscription_id, in_force.charge.id) and (
            span.key.start_ms <= period.start_ms < span.end_ms
        ):
            yield span
            return


def presented(
    found: Breakdowns | None, filter_id: str | None, groups: tuple[str | None, ...]
) -> tuple[PresentedRow, ...] | None:
    """Return the rows of a cell; None: there are too many."""
    if found is None:
        return None
    return tuple(
        PresentedRow(tuple(zip(found.keys[filter_id], texts, strict=True)), units)
        for texts, units in found.rows.get((filter_id, groups), ())
    )


class _Part(NamedTuple):
    """The rows of one charge of a published period, and what tells whether they are still those."""

    span: Span
    found: Breakdowns | None


class PublishedParts:
    """The rows of the records of one published period, as far as the cells still tell them."""

    def __init__(self, period: Period, cut_ms: int):
        self._period = period
        self.cut_ms = cut_ms
        self._parts: dict[str, _Part] = {}

    def add(self, charge_id: str, span: Span, found: Breakdowns | None) -> None:
        """Take the rows of a charge as of the newest cut."""
        self._parts[charge_id] = _Part(span, found)

    def of(
        self, charge_id: str, filter_id: str | None, groups: Groups, cell: PublishedCell
    ) -> tuple[PresentedRow, ...] | None:
        """Return the rows of a record; None: there are too many, or nobody can tell any more.

        The cells may hold what came too late for the period: a balance shows it later on.
        """
        part = self._parts.get(charge_id)
        if part is None or cell.cut_ms < 0:
            return ()
        figures = part.span.figures(self._period, filter_id, groups, self.cut_ms)
        if figures.digest.to_bytes(16, "big") != cell.digest:
            return None
        return presented(part.found, filter_id, groups)


def published_parts(
    partition: Partition,
    name: SubscriptionKey,
    subscription_id: str,
    charges: tuple[ChargeInForce, ...],
    period: Period,
) -> Steps[PublishedParts]:
    """Return the rows that records of a period say, as of its newest cut."""
    published = partition.published.find((subscription_id, period.start_ms))
    parts = PublishedParts(period, -1 if published is None else published.cut_ms)
    presenting = (c for c in charges if c.charge.presents and period.fold_version > 1)
    for in_force in presenting:
        for span in spans_of(partition, name, subscription_id, in_force, period):
            second = presenting_span(partition, in_force, span, period)
            found: Breakdowns | None = Breakdowns({}, {})
            if second is not None:
                found = yield from breakdowns(second, period, parts.cut_ms)
            parts.add(in_force.charge.id, span, found)
    return parts
