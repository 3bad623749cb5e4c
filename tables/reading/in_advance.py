"""What usage shows of charges paid in advance, beside their units."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from app.bounds.turns import Steps
from app.definitions.model import Subscription
from app.definitions.timeline import Period
from app.meter.usage import ChargeInForce, UsageRow
from app.wire.usage_records import cell_id
from tables.cells.cell import Span, window_of
from tables.closing.instants import chains_ahead
from tables.instants.book import Book
from tables.instants.chain import Chain, in_advance_units
from tables.partition.partition import Partition


def with_in_advance(
    partition: Partition,
    subscription: Subscription,
    charges: Sequence[ChargeInForce],
    period: Period,
    rows: Sequence[UsageRow],
) -> Steps[tuple[UsageRow, ...]]:
    """Return the rows with what was billed in advance in those of charges paid so.

    As if all that was folded were decided now.
    """
    name = (subscription.organization_id, subscription.external_id)
    spans: dict[str, Span] = {}
    for charge, metric in ((each.charge, each.metric) for each in charges):
        if charge.is_billed_at_once(metric):
            for span in partition.views.route_of((*name, metric.code)).spans:
                holds = span.key.start_ms <= period.start_ms < span.end_ms
                if holds and span.key[:2] == (subscription.id, charge.id):
                    spans[charge.id] = span
    if not spans:
        return tuple(rows)
    book = yield from chains_ahead(partition, name)
    found: list[UsageRow] = []
    for row in rows:
        held = spans.get(row.charge_id)
        if held is not None:
            units = _units(held, subscription, period, row, book)
            row = msgspec.structs.replace(row, in_advance_units=units)
        found.append(row)
        yield
    return tuple(found)


def _units(
    span: Span, subscription: Subscription, period: Period, row: UsageRow, book: Book
) -> Decimal:
    identity = cell_id(subscription, row.charge_id, row.filter_id, row.grouped_by, period.start_ms)
    stored = book.chain(identity)
    chain = Chain() if stored is None else Chain(stored.current, stored.peak, stored.billed)
    groups = tuple(text for _, text in row.grouped_by)
    state, before = span.states(period, row.filter_id, groups)
    window, metric = window_of(period), span.fold.metric
    total = span.fold.aggregation.result(state, before, window).full_units
    rounding = (metric.rounding_function, metric.rounding_precision)
    return in_advance_units(total, chain, window, rounding, prorates=span.fold.charge.prorated)
