"""Rows by presentation keys: where they are read of cells, live or as a period was published."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from decimal import Decimal
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from app.bounds.turns import STEP_ITEMS, Steps, batches
from app.definitions.model import Charge
from app.definitions.periods import Period
from app.meter.usage import ChargeInForce, PresentedRow
from app.numbers import plain
from app.wire.arrivals import SubscriptionKey
from tables.aggregation import Groups
from tables.breakdown_fold import breakdown_id
from tables.cells.breakdown import Breakdowns, breakdowns
from tables.cells.cell import Span
from tables.changelogged.checkpoint import FORGETTING_VERSION
from tables.changelogged.published_period import (
    PresentedCell,
    PublishedCell,
    PublishedCellKey,
)
from tables.closing.beside import span_named, spans_named
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
    spans = reversed(partition.views.route_of(meter_key).spans)
    yield from islice(spans_named(spans, subscription_id, in_force.charge.id, period), 1)


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
    """The rows of the records of one published period: kept, or as far as cells still tell them."""

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
        if isinstance(cell, PresentedCell):
            return _rows_in(cell)
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
    charges: Collection[ChargeInForce],
    period: Period,
) -> Steps[PublishedParts]:
    """Return the rows that records of a period say, as of its newest cut."""
    published = partition.published.find((subscription_id, period.start_ms))
    parts = PublishedParts(period, -1 if published is None else published.cut_ms)
    presenting = [c for c in charges if c.charge.presents and period.fold_version > 1]
    if not presenting or published is None:
        return parts
    asked, cells = set[str](), published.cells
    for some in batches(list(cells), STEP_ITEMS):
        asked |= {name[0] for name in some if not isinstance(cells.get(name), PresentedCell)}
        yield
    for in_force in presenting:
        if in_force.charge.id not in asked:
            continue
        for span in spans_of(partition, name, subscription_id, in_force, period):
            second = presenting_span(partition, in_force, span, period)
            found: Breakdowns | None = Breakdowns({}, {})
            if second is not None:
                found = yield from breakdowns(second, period, parts.cut_ms)
            parts.add(in_force.charge.id, span, found)
    return parts


def keeps_rows(charge: Charge, period: Period, cell: PublishedCell) -> bool:
    """Return whether what is published of a cell tells its rows, if it has any."""
    has_none = not (charge.presents and period.fold_version > 1 and cell.shows_usage)
    return has_none or isinstance(cell, PresentedCell)


def keeping_rows(
    partition: Partition,
    name: SubscriptionKey,
    subscription_id: str,
    in_force: ChargeInForce,
    period: Period,
) -> Steps[None]:
    """Have what is published of a charge keep its rows, by steps: it is final.

    Those of a cell that are longer than `KEPT_ROWS_BYTES` are left to the cells.
    """
    charge, period_name = in_force.charge, (subscription_id, period.start_ms)
    published = partition.published.find(period_name)
    if published is None or not charge.presents:
        return
    asked, cells = list[PublishedCellKey](), published.cells
    for some in batches([name for name in cells if name[0] == charge.id], STEP_ITEMS):
        known = ((name, cells.get(name)) for name in some)
        asked += [name for name, cell in known if cell and not keeps_rows(charge, period, cell)]
        yield
    if not asked:
        return
    parts = yield from published_parts(partition, name, subscription_id, (in_force,), period)
    for count, key in enumerate(asked, 1):
        # A flush between two steps may have packed it.
        now = partition.published.find(period_name)
        cell = None if now is None else now.cells.get(key)
        if cell is not None and not isinstance(cell, PresentedCell):
            kept = cell.presented_by(_packed(parts.of(charge.id, *key[1:3], cell)))
            if kept is not cell:
                partition.checkpoint.fold_version = FORGETTING_VERSION
                partition.published.put_cell(period_name, key, kept)
        if count % STEP_ITEMS == 0:
            yield


class _Row(msgspec.Struct):
    """A row as records have it."""

    presentation_by: dict[str, str | None]
    units: str


def _packed(rows: tuple[PresentedRow, ...] | None) -> bytes:
    if rows is None:
        return _encode(None)
    return _encode([_Row(dict(row.presentation_by), plain(row.units)) for row in rows])


def _rows_in(cell: PresentedCell) -> tuple[PresentedRow, ...] | None:
    rows = _decode(cell.rows)
    if rows is None:
        return None
    return tuple(
        PresentedRow(tuple(row.presentation_by.items()), Decimal(row.units)) for row in rows
    )


_encode: Final = msgspec.json.encode
_decode: Final = msgspec.json.Decoder(list[_Row] | None).decode
