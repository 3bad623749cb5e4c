"""The posts of a grid of periods, and the period of a date: what the product asks of instants."""

from __future__ import annotations

from datetime import date, timedelta

from app.billing_periods.grid import PeriodGrid, add_months
from app.billing_periods.timezones import local_midnight_ms


def post_of(grid: PeriodGrid, k: int) -> date:
    """Return the local date on which period `k` opens."""
    if grid.months is None:
        return grid.origin + timedelta(weeks=k)
    return add_months(grid.origin, grid.months * k)


def index_of(grid: PeriodGrid, day: date) -> int:
    """Return the number of the period that holds a local date."""
    k = grid.index_at(local_midnight_ms(day, grid.timezone))
    # A date that its timezone skipped has no midnight of its own.
    return k - 1 if post_of(grid, k) > day else k
