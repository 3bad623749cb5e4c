"""How far a period has come: what is published of it, and what its next revision shows."""

from __future__ import annotations

from collections.abc import Set
from typing import NamedTuple

from app.bounds.turns import Steps
from app.definitions.model import Subscription
from app.definitions.periods import NEVER_MS, Period, ceil_to
from app.meter.usage import PendingRow, PeriodState, Publication
from app.wire.arrivals import SubscriptionKey
from tables.changelogged.published_period import PublishedCellKey
from tables.closing.at_cut import AtCut
from tables.closing.period_at_cut import PeriodAtCut
from tables.partition.partition import Partition


class PendingCell(NamedTuple):
    """A cell that is published otherwise, or not yet."""

    row: PendingRow
    grouped_by: tuple[tuple[str, str | None], ...]


Pending = dict[PublishedCellKey, PendingCell]
"""By cell, what its next revision shows."""


def pending_steps(
    partition: Partition,
    name: SubscriptionKey,
    subscription_id: str,
    period: Period,
    codes: Set[str] | None = None,
) -> Steps[tuple[int, Pending]]:
    """Return the cut that publishes what has changed since the last one, and what it shows.

    Its figures hold everything folded so far that it will publish; none but of cells that change.
    Of a period without a record nothing is pending. `codes`: only metrics of these codes.
    """
    published = partition.published.find((subscription_id, period.start_ms))
    if published is None or published.revision < 0:
        return NEVER_MS, {}
    done_ms = partition.checkpoint.cut_ms
    to_come = [cut_ms for cut_ms in partition.cuts.late.of(name) if cut_ms > done_ms]
    if not to_come:
        return NEVER_MS, {}
    # What waits for several cuts is shown as the last of them will show it.
    cut_ms = ceil_to(max(to_come), period.revise_every_ms)
    pending = Pending()
    for versions, timeline in partition.timelines.of(name):
        subscription = versions.at()
        if subscription is None or subscription.id != subscription_id:
            continue
        earlier = timeline.holding(period.start_ms - 1)
        at = AtCut(partition, name, subscription, period, earlier, cut_ms)
        for found in PeriodAtCut(at).to_come(codes):
            if found is None:
                yield
            else:
                shown, reason = found
                figures = shown.figures
                row = PendingRow(figures.units, figures.events_count, reason)
                pending[shown.cell.name] = PendingCell(row, shown.cell.grouped_by)
    return (cut_ms, pending) if pending else (NEVER_MS, {})


def publication(
    partition: Partition, subscription: Subscription, period: Period, pending_cut_ms: int
) -> Publication:
    """Return how far an ended period of a plan has come.

    `pending_cut_ms`: the cut of `pending_steps`.
    """
    published = partition.published.find((subscription.id, period.start_ms))
    closed_at_ms = None
    if published is not None and published.revision >= 0:
        closed_at_ms = published.cut_ms
    state: PeriodState = "due" if closed_at_ms is None else "published"
    is_pending = pending_cut_ms != NEVER_MS
    if closed_at_ms is not None and not is_pending:
        reached_ms = partition.checkpoint.append_time_ms
        state = "final" if reached_ms > period.late_until_ms else "published"
    return Publication(
        state=state,
        due_at_ms=period.due_at_ms,
        final_after_ms=period.late_until_ms,
        closed_at_ms=closed_at_ms,
        pending_cut_ms=pending_cut_ms if is_pending else None,
    )
