"""Analytics: what the days of subscriptions added, by window, metric and currency."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal

from app.bounds.turns import STEP_ITEMS, Steps, in_order
from app.definitions.model import Subscription
from app.definitions.state import Definitions
from app.meter.usage import AnalyticsQuery, AnalyticsRow, Granularity
from app.numbers import EXACT, ZERO
from tables.changelogged.added_days import AddedDays


def window_start(day: date, granularity: Granularity) -> date:
    """Return the first day of the window that holds a day; weeks begin on Monday."""
    if granularity == "weekly":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if granularity == "monthly" else day


def added_units(
    days_of: Callable[[Subscription], AddedDays | None],
    definitions: Definitions,
    organization_id: str,
    query: AnalyticsQuery,
) -> Steps[list[AnalyticsRow]]:
    """Return the sums of the days in each window, in order, by steps.

    `days_of` gives the days of whoever has a subscription; None: another worker has it.

    Raises:
        PiecesLost: local disk does not give what it has.
    """
    sums: dict[tuple[date, str, str], Decimal] = {}
    for subscription in _chosen(definitions, organization_id, query):
        added = days_of(subscription)
        found = () if added is None else added.of(subscription.id, query.from_date, query.to_date)
        for number, (day, metric, units) in enumerate(found, 1):
            if number % STEP_ITEMS == 0:
                yield
            if query.takes(*metric):
                name = (window_start(day, query.granularity), metric.code, metric.currency)
                sums[name] = EXACT.add(sums.get(name, ZERO), units)
        yield
    rows: list[AnalyticsRow] = []
    for name, units in (yield from in_order(sums.items())):
        rows.append(AnalyticsRow(*name, units))
        if len(rows) % STEP_ITEMS == 0:
            yield
    return rows


def _chosen(
    definitions: Definitions, organization_id: str, query: AnalyticsQuery
) -> Iterator[Subscription]:
    external_id, customer_id = query.external_subscription_id, query.external_customer_id
    if external_id is not None:
        versions = definitions.subscriptions(organization_id, external_id)
        found = (next(each.all()) for each in versions)
        return (one for one in found if customer_id in (None, one.external_customer_id))
    if customer_id is not None:
        return definitions.subscription_index.of_customer_name((organization_id, customer_id))
    return definitions.subscriptions_from_newest(organization_id)
