"""Analytics: what the days of a partition's subscriptions added, by window, metric and currency."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from decimal import Decimal

from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.model import Subscription
from app.definitions.state import Definitions
from app.meter.usage import AnalyticsQuery, AnalyticsRow, Granularity
from app.numbers import EXACT, ZERO
from tables.partition.partition import Partition


def window_start(day: date, granularity: Granularity) -> date:
    """Return the first day of the window that holds a day; weeks begin on Monday."""
    if granularity == "weekly":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if granularity == "monthly" else day


def added_units(
    partitions: Iterable[Partition],
    definitions: Definitions,
    organization_id: str,
    query: AnalyticsQuery,
) -> Steps[list[AnalyticsRow]]:
    """Return the sums of the days in each window, in order, by steps."""
    parts = list(partitions)
    first, last = query.from_date.isoformat(), query.to_date.isoformat()
    sums: dict[tuple[date, str, str], Decimal] = {}
    for subscription in _chosen(definitions, organization_id, query):
        for count, partition in enumerate(parts, 1):
            for each in partition.daily.days(subscription.id):
                if count % STEP_ITEMS == 0:
                    yield
                if first <= each.day <= last and query.takes(
                    each.code, each.plan_code, each.currency, each.recurring
                ):
                    start = window_start(date.fromisoformat(each.day), query.granularity)
                    name = (start, each.code, each.currency)
                    sums[name] = EXACT.add(sums.get(name, ZERO), Decimal(each.units))
        yield
    return [AnalyticsRow(*name, units) for name, units in sorted(sums.items())]


def _chosen(
    definitions: Definitions, organization_id: str, query: AnalyticsQuery
) -> Iterator[Subscription]:
    external_id, customer_id = query.external_subscription_id, query.external_customer_id
    if external_id is not None:
        versions = definitions.subscriptions(organization_id, external_id)
        found = (next(each.all()) for each in versions)
        return (one for one in found if customer_id in (None, one.external_customer_id))
    everyone = definitions.subscriptions_from_newest(organization_id)
    return (one for one in everyone if customer_id in (None, one.external_customer_id))
