"""Closing: the records of one cut, from the cells and what was published before.

The cut at T of a period is a function of the log prefix at T (records-and-cuts §4). Everything here
is deterministic: the same cut computed again gives the same bytes under the same ids, and a cut
that is published already gives nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from app.definitions.model import Charge, ChargeFilter, Metric, Subscription
from app.definitions.timeline import NEVER_MS, Period, Timeline
from app.numbers import EXACT, ZERO, plain
from app.records import (
    CellText,
    Envelope,
    PublishedRecord,
    RevisionReason,
    cell_id,
    completion_record,
    usage_record,
)
from tables.cells import Figures, Span
from tables.partition import Partition
from tables.presence import SubscriptionName
from tables.published import CellName, PeriodName, PublishedCell, PublishedPeriod
from tables.routes import charges_in_force

_UNPUBLISHED = PublishedPeriod()


class _Closing(NamedTuple):
    """A cell that may be published, with what its record echoes."""

    name: CellName
    charge: Charge
    metric: Metric
    charge_filter: ChargeFilter | None
    grouped_by: tuple[tuple[str, str | None], ...]
    figures: Figures


def next_cut(partition: Partition, name: SubscriptionName) -> int:
    """The next time a cut of this external subscription is due; NEVER_MS when none is known."""
    done_ms = partition.record.cut_ms
    cuts = [cut_ms for cut_ms in partition.late_cuts.get(name, ()) if cut_ms > done_ms]
    for _, timeline in partition.timelines(name):
        due_at_ms = _next_due(timeline, done_ms)
        if due_at_ms is not None:
            cuts.append(due_at_ms)
    return min(cuts, default=NEVER_MS)


def _next_due(timeline: Timeline, done_ms: int) -> int | None:
    # A termination has no grace: it may be due before the period that is in grace before it.
    earliest_ms: int | None = None
    for period in timeline:
        if earliest_ms is not None and period.start_ms >= earliest_ms:
            break
        if done_ms < period.due_at_ms < NEVER_MS:
            earliest_ms = min(earliest_ms or NEVER_MS, period.due_at_ms)
        if period.fixed_at_ms >= NEVER_MS:
            break
    return earliest_ms


def close_subscription(
    partition: Partition, name: SubscriptionName, cut_ms: int
) -> Iterator[PublishedRecord]:
    """Records of every period of an external subscription at one cut, in order of period start.

    Remembers them as published; the caller writes both in one flush.
    """
    revises = cut_ms in partition.late_cuts.get(name, ())
    for subscription_versions, timeline in partition.timelines(name):
        for period in timeline.until(cut_ms):
            if period.due_at_ms > cut_ms or (period.due_at_ms < cut_ms and not revises):
                continue
            subscription = subscription_versions.at(period.fixed_at_ms)
            if subscription is not None:
                yield from _close_period(partition, name, subscription, timeline, period, cut_ms)


def settle(partition: Partition, cut_ms: int) -> None:
    """The cut is published for the whole partition: merge what it settled."""
    partition.record.cut_ms = max(partition.record.cut_ms, cut_ms)
    settled_ms = partition.settled_ms
    for name in [n for n, cuts in partition.late_cuts.items() if min(cuts) <= settled_ms]:
        for code in partition.presence.codes.get(name, {}):
            for span in partition.route_of((*name, code)).spans:
                _settle_span(partition, span, settled_ms)
        left = {cut for cut in partition.late_cuts[name] if cut > settled_ms}
        if left:
            partition.late_cuts[name] = left
        else:
            del partition.late_cuts[name]
    for reason in [reason for reason in partition.reasons if reason[2] <= cut_ms]:
        del partition.reasons[reason]


def _settle_span(partition: Partition, span: Span, settled_ms: int) -> None:
    for layer in span.layers.values():
        for cell in layer.cells.values():
            if cell.settle(settled_ms, span.fold.aggregation):
                partition.mark(cell)


def _close_period(
    partition: Partition,
    name: SubscriptionName,
    subscription: Subscription,
    timeline: Timeline,
    period: Period,
    cut_ms: int,
) -> Iterator[PublishedRecord]:
    definitions = partition.definitions
    period_name = (subscription.id, period.start_ms)
    before = partition.published.find(period_name) or _UNPUBLISHED
    if before.cut_ms >= cut_ms:
        return
    plan = definitions.plan_by_id(subscription.plan_id, period.fixed_at_ms)
    if plan is None:
        return
    envelope = Envelope(
        subscription, plan, period, cut_ms, definitions.last_offset_at(period.fixed_at_ms)
    )
    records = []
    for closing in _closings(partition, name, subscription, timeline, period, cut_ms):
        identity = cell_id(
            subscription,
            closing.charge.id,
            closing.name[1],
            closing.grouped_by,
            period.start_ms,
        )
        published = before.cells.get(closing.name)
        if not _qualifies(partition, period_name, timeline, period, closing):
            if published is None:
                continue
            closing = closing._replace(figures=_NOTHING)
        reason = partition.revision_reason(name, closing.metric.code, cut_ms)
        entry, record = _revision(envelope, identity, closing, published, cut_ms, reason)
        if record is None or entry is None:
            continue
        partition.published.put_cell(period_name, closing.name, entry)
        records.append((identity, record))
    yield from (record for _, record in sorted(records, key=lambda pair: pair[0]))
    if records or before.revision < 0:
        revision = before.revision + 1
        partition.published.put_completion(period_name, revision, cut_ms)
        now = partition.published.periods[period_name]
        yield completion_record(envelope, revision, len(now.cells), now.digest)


def _closings(
    partition: Partition,
    name: SubscriptionName,
    subscription: Subscription,
    timeline: Timeline,
    period: Period,
    cut_ms: int,
) -> Iterator[_Closing]:
    """Every cell of the period: those of the tables, and those published that are no more."""
    plans = partition.definitions.plan_versions[subscription.plan_id]
    left = dict(
        (partition.published.find((subscription.id, period.start_ms)) or _UNPUBLISHED).cells
    )
    in_force = charges_in_force(partition.definitions, plans, None, period.fixed_at_ms)
    carried_on = _carried_on(partition, subscription, period)
    for charge, metric in in_force:
        filters = {charge_filter.id: charge_filter for charge_filter in charge.filters}
        figures: dict[CellName, Figures] = {}
        if metric.id not in carried_on or charge.prorated:
            for span in partition.route_of((*name, metric.code)).spans:
                if span.key[:2] != (subscription.id, charge.id) or not (
                    span.key.start_ms <= period.start_ms < span.end_ms
                ):
                    continue
                for filter_id, groups in span.cells_of(period):
                    figures[charge.id, filter_id, groups] = span.figures(
                        period, filter_id, groups, cut_ms
                    )
        gone = {cell: _NOTHING for cell in left if cell[0] == charge.id and cell not in figures}
        default_keys = charge.group_keys(None)
        keys: dict[str | None, tuple[str, ...]] = {
            filter_id: charge.group_keys(charge_filter)
            for filter_id, charge_filter in filters.items()
        }
        for cell, shown in {**figures, **gone}.items():
            _, filter_id, groups = cell
            charge_filter = None if filter_id is None else filters.get(filter_id)
            grouped_by = tuple(zip(keys.get(filter_id, default_keys), groups, strict=False))
            yield _Closing(cell, charge, metric, charge_filter, grouped_by, shown)


_NOTHING = Figures(ZERO, None, ZERO, None, 0, 0, carries=False, period_events=0, aggregate=ZERO)


def _carried_on(partition: Partition, subscription: Subscription, period: Period) -> frozenset[str]:
    """Recurring metrics that an upgrade's next plan has too: the next period carries them."""
    if not period.upgraded or subscription.replaced_by is None:
        return frozenset()
    definitions, at_ms = partition.definitions, period.fixed_at_ms
    following = definitions.subscription_by_id(subscription.replaced_by, at_ms)
    plan = None if following is None else definitions.plan_by_id(following.plan_id, at_ms)
    metrics = (
        definitions.metric_by_id(charge.metric_id, at_ms)
        for charge in (plan.charges if plan else ())
    )
    return frozenset(metric.id for metric in metrics if metric is not None and metric.recurring)


def _qualifies(
    partition: Partition,
    period_name: PeriodName,
    timeline: Timeline,
    period: Period,
    closing: _Closing,
) -> bool:
    """Whether a cell is published at all (records-and-cuts §4)."""
    figures = closing.figures
    if not closing.metric.recurring:
        return bool(figures.units or figures.prorated_units or figures.events_count)
    if figures.units or figures.prorated_units or figures.carries or figures.period_events:
        return True
    earlier = [p for p in timeline.until(period.start_ms) if p.end_ms <= period.start_ms]
    if not earlier:
        return False
    before = partition.published.find((period_name[0], earlier[-1].start_ms))
    published = before.cells.get(closing.name) if before is not None else None
    return published is not None and published.units != "0.0"


def _revision(
    envelope: Envelope,
    identity: str,
    closing: _Closing,
    published: PublishedCell | None,
    cut_ms: int,
    reason: RevisionReason,
) -> tuple[PublishedCell | None, PublishedRecord | None]:
    """The next revision of a cell, None when it would say nothing new."""
    figures = closing.figures
    text = CellText(
        plain(figures.units),
        _prorated_text(closing),
        plain(figures.total_aggregated_units),
        None
        if figures.precise_total_amount_cents is None
        else plain(figures.precise_total_amount_cents),
        figures.events_count,
        figures.digest,
    )
    revision = 0 if published is None else published.revision + 1
    entry = PublishedCell(
        revision, *text[:5], digest=figures.digest.to_bytes(16, "big"), cut_ms=cut_ms
    )
    if published is not None and published.same_figures(entry):
        return None, None
    previous = None if published is None else published.units
    record = usage_record(
        envelope,
        identity,
        revision,
        closing.charge,
        closing.metric,
        closing.charge_filter,
        closing.grouped_by,
        text,
        previous,
        None if previous is None else _delta(text.units, previous),
        None if published is None else reason,
    )
    return entry, record


def _prorated_text(closing: _Closing) -> str | None:
    if not closing.charge.prorated:
        return None
    prorated = closing.figures.prorated_units
    return plain(ZERO if prorated is None else prorated)


def _delta(units: str, previous: str) -> str:
    return plain(EXACT.subtract(EXACT.create_decimal(units), EXACT.create_decimal(previous)))
