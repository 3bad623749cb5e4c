"""Reading: the usage of a subscription's periods, as the tables have it between two slices."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from decimal import Decimal

import msgspec

from app.bounds.turns import STEP_ITEMS, Steps, drained
from app.definitions.aggregation_types import AGGREGATION_TYPES
from app.definitions.model import HistoryRecord, Plan, Subscription
from app.definitions.periods import NEVER_MS, Period, ceil_to
from app.meter.usage import (
    NOT_BILLED,
    OPEN,
    AsOf,
    ChargeInForce,
    EvaluatedAlert,
    PastPeriod,
    PeriodUsage,
    Publication,
    UsageRow,
)
from app.wire.arrivals import SubscriptionKey
from tables.cells.breakdown import Breakdowns, breakdowns
from tables.cells.cell import Span
from tables.cells.figures import CellFigures, units_so_far
from tables.changelogged.published_period import PublishedCell, PublishedPeriod
from tables.closing.presented import (
    PublishedParts,
    presented,
    presenting_span,
    published_parts,
    spans_of,
)
from tables.partition.partition import Partition
from tables.reading.in_advance import with_in_advance
from tables.reading.publication import Pending, pending_steps, publication
from tables.routing.implicit import (
    implicit_charge,
    implicit_plan,
    implicit_subscription,
    implicit_timeline,
)
from tables.routing.period_charges import PeriodCharges


def current_usage(
    partition: Partition,
    name: SubscriptionKey,
    at_ms: int,
    presented_by: Container[str] | None = None,
) -> PeriodUsage | None:
    """Return usage of the active subscription's period that holds `at_ms`; None: there is none.

    `presented_by`: by these presentation keys only.
    """
    return drained(current_usage_steps(partition, name, at_ms, presented_by))


def current_usage_steps(
    partition: Partition,
    name: SubscriptionKey,
    at_ms: int,
    presented_by: Container[str] | None = None,
) -> Steps[PeriodUsage | None]:
    """Do `current_usage` by steps.

    What is folded between them may be in some rows: `as_of` is what is in all of them.
    """
    yield from partition.views.making(name)
    timelines = partition.timelines.of(name)
    for versions, timeline in reversed(timelines):
        subscription = versions.at()
        if subscription is None or subscription.status_at(at_ms) != "active":
            continue
        # One that starts later today is active already: its first period is the one to come.
        period = timeline.holding(max(at_ms, subscription.started_at_ms))
        if period is not None:
            found = yield from _period_steps(
                partition, name, subscription, period, at_ms, presented_by
            )
            return found
    if not timelines and partition.settings.implicit_plan:
        running = implicit_timeline(partition.settings).holding(at_ms)
        if running is not None:
            found = yield from _implicit_steps(partition, name, running, at_ms)
            return found
    return None


def active_subscription(
    partition: Partition, name: SubscriptionKey, at_ms: int
) -> Subscription | None:
    """Return the subscription that is active at a moment, or the implicit one."""
    timelines = partition.timelines.of(name)
    for versions, _ in reversed(timelines):
        subscription = versions.at()
        if subscription is not None and subscription.status_at(at_ms) == "active":
            return subscription
    if not timelines and partition.settings.implicit_plan:
        return implicit_subscription(*name, 0)
    return None


def evaluated_alerts(partition: Partition, name: SubscriptionKey) -> dict[str, EvaluatedAlert]:
    """Return what the alerts of an external subscription came to last, by id of the alert."""
    found: dict[str, EvaluatedAlert] = {}
    rows, alerts = partition.evaluations.rows, list(partition.definitions.alerts.of(name))
    # A later subscription of the same external id has been looked at later.
    for versions in partition.definitions.subscriptions(*name):
        subscription_id = next(versions.all()).id
        for alert in alerts:
            row = rows.get((subscription_id, alert.id))
            if row is not None:
                found[alert.id] = EvaluatedAlert(row.units, row.cut_ms)
    return found


def past_periods(partition: Partition, name: SubscriptionKey, at_ms: int) -> list[PastPeriod]:
    """List the periods that ended by `at_ms`, newest first."""
    past: list[PastPeriod] = []
    if not partition.timelines.of(name) and partition.settings.implicit_plan:
        past += _implicit_past(partition, name, at_ms)
    for versions, timeline in partition.timelines.of(name):
        subscription = versions.at()
        if subscription is None:
            continue
        past += [
            PastPeriod(subscription, period)
            for period in timeline.until(at_ms)
            if period.end_ms <= at_ms and period.due_at_ms < NEVER_MS
        ]
    return sorted(past, key=lambda each: -each.period.start_ms)


def past_usage_steps(
    partition: Partition, name: SubscriptionKey, past: PastPeriod
) -> Steps[PeriodUsage]:
    """Return usage of an ended period: the newest revision, or the live figures of one in grace."""
    subscription, period, implicit = past
    if implicit:
        usage = yield from _implicit_steps(partition, name, period)
    else:
        usage = yield from _period_steps(partition, name, subscription, period)
    return usage


def _period_steps(
    partition: Partition,
    name: SubscriptionKey,
    subscription: Subscription,
    period: Period,
    at_ms: int | None = None,
    presented_by: Container[str] | None = None,
) -> Steps[PeriodUsage]:
    """Return usage of one period: as published, or else live, with what accrued by `at_ms`."""
    definitions = partition.definitions
    versions = definitions.plan_of(subscription.id)
    plan = versions.last_before_deletion(period.fixed_at_ms)
    history = _published_history(partition, name[0], period)
    known = PeriodCharges(definitions, versions, period, history)
    charges = tuple(ChargeInForce(charge, metric) for charge, metric, *_ in known.in_force)
    published = partition.published.find((subscription.id, period.start_ms))
    if published is not None and published.revision >= 0:
        usage = yield from _published_steps(
            partition, name, subscription, plan, charges, period, published
        )
        if usage is None:
            usage = yield from _period_steps(
                partition, name, subscription, period, at_ms, presented_by
            )
        return usage
    charges = tuple(as_folded(charges, partition, name, subscription.id, period))
    rows = _live_rows(charges, partition, name, subscription.id, period, at_ms, presented_by)
    state = OPEN
    if at_ms is None:
        state = publication(partition, subscription, period, NEVER_MS)
    usage = _usage(partition, subscription, plan, charges, period, state)
    collected = yield from _collected(rows)
    if at_ms is not None:
        collected = yield from with_in_advance(partition, subscription, charges, period, collected)
    return msgspec.structs.replace(usage, rows=collected)


def _published_steps(
    partition: Partition,
    name: SubscriptionKey,
    subscription: Subscription,
    plan: Plan | None,
    charges: tuple[ChargeInForce, ...],
    period: Period,
    published: PublishedPeriod,
) -> Steps[PeriodUsage | None]:
    """Return usage of a period as published, beside each cell what its next revision shows.

    None: a cut was taken meanwhile, and rows of before it stand beside others.
    """
    cut_ms = published.cut_ms
    pending_cut_ms, pending = yield from pending_steps(partition, name, subscription.id, period)
    state = publication(partition, subscription, period, pending_cut_ms)
    usage = _usage(partition, subscription, plan, charges, period, state)
    parts = yield from published_parts(partition, name, subscription.id, charges, period)
    collected = yield from _collected(_published_rows(charges, published, pending, parts))
    newest = partition.published.find((subscription.id, period.start_ms))
    if newest is None or newest.cut_ms != cut_ms:
        return None
    # One may be half taken since.
    stale = usage.stale or partition.refolding(*name)
    return msgspec.structs.replace(usage, rows=collected, stale=stale)


def _collected(rows: Iterable[UsageRow | None]) -> Steps[tuple[UsageRow, ...]]:
    """Collect rows by steps; None is a step of its own."""
    found: list[UsageRow] = []
    for row in rows:
        if row is None:
            yield
            continue
        found.append(row)
        if len(found) % STEP_ITEMS == 0:
            yield
    return tuple(found)


def _published_history(
    partition: Partition, organization_id: str, period: Period
) -> list[HistoryRecord]:
    """Return history records that a published period has been revised by."""
    cut_ms = partition.checkpoint.cut_ms
    records = partition.definitions.history_of(organization_id, cut_ms)
    return [r for r in records if ceil_to(r.append_time_ms, period.revise_every_ms) <= cut_ms]


def period_shown(partition: Partition, usage: PeriodUsage) -> Period:
    """Return the period that usage is of.

    Raises LookupError when the definitions have it no more.
    """
    subscription = usage.subscription
    timelines = [
        timeline
        for versions, timeline in partition.timelines.of(
            (subscription.organization_id, subscription.external_id)
        )
        if (newest := versions.at()) is not None and newest.id == subscription.id
    ]
    if usage.implicit:
        timelines = [implicit_timeline(partition.settings)]
    for timeline in timelines:
        period = timeline.holding(usage.from_ms)
        if period is not None:
            return period
    raise LookupError(f"subscription {subscription.id} has no such period")


def _usage(
    partition: Partition,
    subscription: Subscription,
    plan: Plan | None,
    charges: tuple[ChargeInForce, ...],
    period: Period,
    state: Publication,
    *,
    implicit: bool = False,
) -> PeriodUsage:
    if plan is None:
        raise LookupError(f"subscription {subscription.id} has no plan")
    return PeriodUsage(
        subscription=subscription,
        plan=plan,
        charges=charges,
        rows=(),
        from_ms=period.start_ms,
        end_ms=period.end_ms,
        to_ms=period.to_ms,
        timezone=period.timezone,
        duration_days=period.duration_days,
        publication=state,
        as_of=as_of(partition),
        stale=partition.refolding(subscription.organization_id, subscription.external_id),
        implicit=implicit,
    )


def as_of(partition: Partition) -> AsOf:
    """Tell how far the partition has folded."""
    checkpoint = partition.checkpoint
    return AsOf(
        checkpoint.append_time_ms, partition.number, checkpoint.raw_next, checkpoint.rekeyed_next
    )


def as_folded(
    charges: Iterable[ChargeInForce],
    partition: Partition,
    name: SubscriptionKey,
    subscription_id: str,
    period: Period,
) -> Iterator[ChargeInForce]:
    """Yield the charges as the cells have them: as they were, until a refold is swapped in."""
    for in_force in charges:
        fold = partition.routes.fold_of(in_force.charge, in_force.metric, period.timezone)
        for span in spans_of(partition, name, subscription_id, in_force, period):
            if span.fold.key != fold.key:
                in_force = ChargeInForce(span.fold.charge, span.fold.metric)
        yield in_force


def _live_rows(
    charges: tuple[ChargeInForce, ...],
    partition: Partition,
    name: SubscriptionKey,
    subscription_id: str,
    period: Period,
    at_ms: int | None,
    presented_by: Container[str] | None = None,
) -> Iterator[UsageRow | None]:
    # All cells are named before the first is looked at: new ones may come meanwhile, others may be
    # put in their place.
    cells = [
        (
            in_force,
            span,
            list(span.cells_of(period)),
            presenting_span(partition, in_force, span, period),
        )
        for in_force in charges
        for span in spans_of(partition, name, subscription_id, in_force, period)
    ]
    return (
        row
        for in_force, span, names, presenting in cells
        for row in _span_rows(in_force, span, names, presenting, period, at_ms, presented_by)
    )


def accrues_until(in_force: ChargeInForce, at_ms: int | None) -> int | None:
    """Return `at_ms` for an average over time: other figures do not accrue."""
    return at_ms if AGGREGATION_TYPES[in_force.metric.aggregation_type].over_time else None


def _span_rows(
    in_force: ChargeInForce,
    span: Span,
    names: Iterable[tuple[str | None, tuple[str | None, ...]]],
    presenting: Span | None,
    period: Period,
    at_ms: int | None,
    presented_by: Container[str] | None,
) -> Iterator[UsageRow | None]:
    """Yield rows of a period that runs at `at_ms`; None: of an ended one, as records show it."""
    accrued_ms = accrues_until(in_force, at_ms)
    found: Breakdowns | None = Breakdowns({}, {})
    if presenting is not None:
        found = yield from breakdowns(presenting, period, wanted=presented_by)
    for filter_id, groups in names:
        figures = span.figures(period, filter_id, groups)
        if at_ms is None and period.fold_version > 1:
            figures = figures.billed(in_advance=span.fold.in_advance)
        so_far = None
        if accrued_ms is not None:
            states = span.states(period, filter_id, groups)
            so_far = units_so_far(span.fold, *states, period, accrued_ms)
        row = row_of(in_force, filter_id, groups, figures, so_far)
        yield msgspec.structs.replace(row, presented=presented(found, filter_id, groups))


def row_of(
    in_force: ChargeInForce,
    filter_id: str | None,
    groups: tuple[str | None, ...],
    figures: CellFigures,
    units_so_far: Decimal | None,
) -> UsageRow:
    """Return a cell's figures as usage shows them."""
    return UsageRow(
        charge_id=in_force.charge.id,
        filter_id=filter_id,
        grouped_by=grouped_by(in_force, filter_id, groups),
        units=figures.units,
        prorated_units=figures.prorated_units,
        total_aggregated_units=figures.total_aggregated_units,
        units_so_far=units_so_far,
        events_count=figures.events_count,
        precise_total_amount_cents=figures.precise_total_amount_cents,
    )


def grouped_by(
    in_force: ChargeInForce, filter_id: str | None, groups: tuple[str | None, ...]
) -> tuple[tuple[str, str | None], ...]:
    """Return group keys with the values of a cell, in the order configured."""
    charge = in_force.charge
    bucket = None if filter_id is None else in_force.filters.get(filter_id)
    return tuple(zip(charge.group_keys(bucket), groups, strict=False))


def _published_rows(
    charges: tuple[ChargeInForce, ...],
    published: PublishedPeriod,
    pending: Pending,
    parts: PublishedParts,
) -> Iterator[UsageRow | None]:
    """Yield the cells that show usage, or will at their next revision; None: a step."""
    by_id = {in_force.charge.id: in_force for in_force in charges}
    for name in dict.fromkeys((*published.cells, *pending)):
        (charge_id, filter_id, groups, *_), cell = name, published.cells.get(name, _UNPUBLISHED)
        in_force, to_come = by_id.get(charge_id), pending.get(name)
        if in_force is None or not (cell.shows_usage or to_come is not None):
            yield None
            continue
        precise = cell.precise_total_amount_cents
        yield UsageRow(
            charge_id=charge_id,
            filter_id=filter_id,
            grouped_by=grouped_by(in_force, filter_id, groups)
            if cell is not _UNPUBLISHED or to_come is None
            else to_come.grouped_by,
            units=Decimal(cell.units),
            prorated_units=None if cell.prorated_units is None else Decimal(cell.prorated_units),
            total_aggregated_units=Decimal(cell.total_aggregated_units),
            events_count=cell.events_count,
            precise_total_amount_cents=None if precise is None else Decimal(precise),
            presented=parts.of(charge_id, filter_id, groups, cell),
            revision=None if cell is _UNPUBLISHED else cell.revision,
            pending=None if to_come is None else to_come.row,
        )


_UNPUBLISHED = PublishedCell(-1, "0.0", None, "0.0", None, 0, b"", -1)


def _implicit_past(partition: Partition, name: SubscriptionKey, at_ms: int) -> Iterator[PastPeriod]:
    """Yield every ended month since the first event of a metric that there is."""
    metrics = partition.definitions.metrics(name[0])
    starts_ms = [
        layer.start_ms
        for metric in metrics
        for span in partition.views.route_of((*name, metric.code)).spans
        for layer in span.layers.values()
        if layer.cells
    ]
    timeline = implicit_timeline(partition.settings)
    subscription = implicit_subscription(*name, 0)
    for period in timeline.until(at_ms) if starts_ms else ():
        if min(starts_ms) <= period.start_ms and period.end_ms <= at_ms:
            yield PastPeriod(subscription, period, implicit=True)


def _implicit_steps(
    partition: Partition, name: SubscriptionKey, period: Period, at_ms: int | None = None
) -> Steps[PeriodUsage]:
    metrics = sorted(partition.definitions.metrics(name[0]), key=lambda metric: metric.code)
    subscription = implicit_subscription(*name, 0)
    known = [ChargeInForce(implicit_charge(m), m) for m in metrics]
    charges = tuple(as_folded(known, partition, name, subscription.id, period))
    plan = implicit_plan(name[0], tuple(each.charge for each in known))
    state = OPEN if at_ms is not None else NOT_BILLED
    usage = _usage(partition, subscription, plan, charges, period, state, implicit=True)
    rows = _live_rows(charges, partition, name, subscription.id, period, at_ms)
    collected = yield from _collected(rows)
    return msgspec.structs.replace(usage, rows=collected)
