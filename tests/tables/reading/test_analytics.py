"""What days added is summed by small steps, however many days and metrics there are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from typing import cast

import pytest

from app.bounds.turns import STEP_ITEMS
from app.meter.usage import AnalyticsQuery, AnalyticsRow
from tables.changelogged.added_days import AddedDays, AddedMetric, AddedUnits
from tables.reading.analytics import added_units
from tests.world.definitions_log import ORG, Log

FIRST = date(2024, 1, 1)
DAYS = 10


class Days:
    """Days that each added to each of many metrics; it counts what is taken."""

    def __init__(self, metrics: int) -> None:
        self.metrics, self.taken = metrics, 0

    def of(self, subscription_id: str, first: date, last: date) -> Iterator[AddedUnits]:
        """Yield what they added, metric by metric as it is kept."""
        for number in range(self.metrics * DAYS):
            self.taken += 1
            metric = AddedMetric(f"m{number // DAYS:04}", "plan_code", "EUR", False)
            day = FIRST + timedelta(days=number % DAYS)
            yield AddedUnits(day, metric, Decimal(number))


@pytest.mark.parametrize("metrics", [20, 400])
def test_no_step_takes_many_days(metrics: int) -> None:
    log, days = Log(), Days(metrics)
    log.plan()
    log.subscribe()
    query = AnalyticsQuery(granularity="daily", from_date=FIRST, to_date=FIRST)
    steps = added_units(lambda _: cast(AddedDays, days), log.definitions, ORG, query)
    taken, rows, counts = 0, list[AnalyticsRow](), list[int]()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            rows = end.value
            break
        counts.append(days.taken - taken)
        taken = days.taken
    assert max(counts) <= STEP_ITEMS
    # All are taken, and told in order, by steps.
    assert len(counts) >= 2 * metrics * DAYS // STEP_ITEMS
    assert rows == sorted(rows)
    assert [(row.code, row.units) for row in rows[:2]] == [("m0000", 0), ("m0001", DAYS)]
    assert len(rows) == metrics * DAYS
