"""Which spans fold the life of a subscription, for its alerts."""

from __future__ import annotations

from app.definitions.model import Subscription
from app.definitions.periods import NEVER_MS
from app.definitions.state import Definitions
from app.definitions.timeline import Timeline
from app.definitions.versions import Versions
from tables.cells.keys import SpanKey
from tables.lifetime_fold import LifetimeFold, adds_over_life, lifetime_id
from tables.routing.period_charges import charges_in_force
from tables.routing.plan import ChargeFolds, SpanPlan


def lifetime_spans(
    definitions: Definitions,
    subscription: Versions[Subscription],
    timeline: Timeline,
    code: str,
    folds: ChargeFolds,
    until_ms: int | None,
) -> list[SpanPlan]:
    """Return a span for each charge of the metric code that an alert asks for the whole life of.

    It has all periods, under the charges of the running one. None of them is published from it, so
    it shows each event from a grid cut on.
    """
    newest = subscription.at(until_ms)
    if newest is None:
        return []
    name = (newest.organization_id, newest.external_id)
    if not definitions.alerts.has_any(name):
        return []
    # A snapshot of its own: what it has is never due.
    life = Timeline(timeline.terms, published=False)
    first = life.first
    if first is None:
        return []
    end_ms = NEVER_MS if newest.usage_end_ms is None else newest.usage_end_ms
    # Nobody looks at one that has ended, so what comes later changes nothing for it.
    as_of_ms = end_ms if until_ms is None else min(until_ms, end_ms)
    plan = definitions.plan_of(newest.id)
    limits = definitions.settings.input_limits(until_ms)
    planned: list[SpanPlan] = []
    for charge, metric in charges_in_force(definitions, plan, code, as_of_ms):
        # Who is deleted by then asks for nothing.
        asking = definitions.alerts.asking(name, metric.id, as_of_ms, as_of_ms, of_life=True)
        asks = any(since_ms < end_ms for since_ms, _ in asking)
        if asks and adds_over_life(charge, metric):
            key = SpanKey(newest.id, lifetime_id(charge.id), first.start_ms)
            # What adds over a life hangs on no timezone.
            fold = folds.beside(LifetimeFold, charge, metric, "", limits)
            planned.append(SpanPlan(key, fold, life, NEVER_MS))
    return planned
