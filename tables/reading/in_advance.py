"""What usage shows of charges paid in advance, beside their units."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from app.bounds.turns import Steps
from app.definitions.model import Subscription
from app.definitions.periods import NEVER_MS, Period
from app.meter.errors import Unavailable
from app.meter.usage import ChargeInForce, EstimatedFee, UsageRow
from app.wire.arrivals import Arrival, SubscriptionKey
from app.wire.usage_records import cell_id
from tables.cells.cell import Span
from tables.cells.figures import window_of
from tables.closing.beside import spans_named, told_of
from tables.closing.instant_records import subscription_at
from tables.closing.instants import Deciding, chains_ahead
from tables.instants.book import Book
from tables.instants.chain import Chain, in_advance_units
from tables.instants.deciding import decided
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
            route = partition.views.route_of((*name, metric.code))
            for span in spans_named(route.spans, subscription.id, charge.id, period):
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


def estimated(
    partition: Partition, name: SubscriptionKey, arrival: Arrival
) -> Steps[list[EstimatedFee]]:
    """Return what an event would bill at once, if it came after all that was folded.

    One that would be refused bills nothing: its period may be forgotten. Raises Unavailable while
    it would be billed elsewhere than definitions say, until a refold is swapped in.
    """
    book = yield from chains_ahead(partition, name)
    if partition.refolding(*name) and not _counts_as_defined(partition, book, arrival):
        raise Unavailable(f"{name} is refolded: what bills an event at once is not known yet")
    deciding = Deciding(partition, book, NEVER_MS, partition.views.route_of)
    fees: list[EstimatedFee] = []
    now_ms = max(arrival.append_time_ms, partition.checkpoint.append_time_ms)
    for span, counted in deciding.places(arrival, groups_known=False):
        if now_ms > counted.period.open_until_ms and not span.fold.metric.recurring:
            continue
        subscription = subscription_at(partition, span.key.subscription_id, None)
        charge = span.fold.charge
        bucket = told_of(charge, span.fold.metric).filter(counted.filter_id)
        keys = charge.group_keys(bucket)
        grouped_by = tuple(zip(keys, counted.groups, strict=False)) if counted.groups else ()
        start_ms = counted.period.start_ms
        identity = cell_id(subscription, charge.id, counted.filter_id, grouped_by, start_ms)
        _, figure = decided(counted, _chain_of(book, identity, start_ms), deciding.sweep)
        told = charge, span.fold.metric, bucket, grouped_by
        fees.append(EstimatedFee(*told, figure.applied_units, counted.period))
        yield
    return fees


def _counts_as_defined(partition: Partition, book: Book, arrival: Arrival) -> bool:
    """Return whether an event counts in the very charges, at once, that definitions name."""
    standing, defined = (
        {
            (span.key, span.fold.key, counted.filter_id, counted.groups)
            for span, counted in Deciding(partition, book, NEVER_MS, route_of).places(
                arrival, groups_known=False
            )
        }
        for route_of in (partition.views.route_of, partition.routes.compile)
    )
    return standing == defined


def _chain_of(book: Book, identity: str, start_ms: int) -> Chain:
    stored = book.chain(identity, start_ms)
    return Chain() if stored is None else Chain(stored.current, stored.peak, stored.billed)


def _units(
    span: Span, subscription: Subscription, period: Period, row: UsageRow, book: Book
) -> Decimal:
    identity = cell_id(subscription, row.charge_id, row.filter_id, row.grouped_by, period.start_ms)
    chain = _chain_of(book, identity, period.start_ms)
    groups = tuple(text for _, text in row.grouped_by)
    state, before = span.states(period, row.filter_id, groups)
    window, metric = window_of(period), span.fold.metric
    total = span.fold.aggregation.result(state, before, window).full_units
    rounding = (metric.rounding_function, metric.rounding_precision)
    return in_advance_units(total, chain, window, rounding, prorates=span.fold.charge.prorated)
