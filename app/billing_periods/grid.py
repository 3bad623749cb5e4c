"""The grid of a subscription: its posts (local dates on which periods open) and their instants.

Rules: billing-periods §1, §2, §6 and §8. Periods are half-open, `start_ms(k) <= at < start_ms(k+1)`
(records-and-cuts §2), and number 0 is the one that holds `subscription_at`.
"""

from __future__ import annotations

from calendar import monthrange
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property, lru_cache
from typing import Literal, get_args

from app.billing_periods.timezones import local_date, local_midnight_ms, zone

Interval = Literal["weekly", "monthly", "quarterly", "semiannual", "yearly"]
BillingTime = Literal["calendar", "anniversary"]

INTERVALS: tuple[Interval, ...] = get_args(Interval)
BILLING_TIMES: tuple[BillingTime, ...] = get_args(BillingTime)

_MONTHS = {"monthly": 1, "quarterly": 3, "semiannual": 6, "yearly": 12}
_SPLIT_MONTHLY = frozenset({"semiannual", "yearly"})
_WEEK_DAYS = 7
_LEAP_YEAR = 2000
_FIRST_MONDAY = date(2000, 1, 3)
_REMEMBERED = 65_536
"""Posts are shared by subscriptions: what was worked out last is kept, of all grids together."""


def add_months(day: date, months: int) -> date:
    """Return the same day of the month `months` later (or earlier), or that month's last."""
    year, month0 = divmod(_month_number(day) + months, 12)
    return date(year, month0 + 1, min(day.day, monthrange(year, month0 + 1)[1]))


def _month_number(day: date) -> int:
    return day.year * 12 + day.month - 1


@dataclass(frozen=True)
class PeriodGrid:
    """Every period of one subscription, past and future, by its index.

    `monthly` is bill_charges_monthly: yearly and semiannual plans then settle usage month by month
    of the same anchor; shorter plans are not affected. `ValueError` for an unknown interval,
    billing time or timezone.
    """

    interval: Interval
    billing_time: BillingTime
    subscription_at_ms: int
    timezone: str
    monthly: bool = False

    def __post_init__(self) -> None:
        if self.interval not in INTERVALS:
            raise ValueError(f"unknown interval: {self.interval!r}")
        if self.billing_time not in BILLING_TIMES:
            raise ValueError(f"unknown billing_time: {self.billing_time!r}")
        zone(self.timezone)

    @cached_property
    def anchor(self) -> date:
        """The local date of `subscription_at`, from which every anniversary is recomputed."""
        return local_date(self.subscription_at_ms, self.timezone)

    def shared(self) -> PeriodGrid:
        """Return the grid of all whose anniversaries have the same posts; numbers differ.

        They fall on one weekday, on one day of the month, or on one day of the same months.
        """
        day, months = self.anchor, self.months
        if months is None:
            day = _FIRST_MONDAY + timedelta(days=day.weekday())
        else:
            # Of these months of a leap year one has as many days as that of the anchor.
            alike = range((day.month - 1) % months, 12, months)
            month0 = max(alike, key=lambda month0: monthrange(_LEAP_YEAR, month0 + 1)[1])
            day = date(_LEAP_YEAR, month0 + 1, day.day)
        return replace(self, subscription_at_ms=local_midnight_ms(day, self.timezone))

    @cached_property
    def months(self) -> int | None:
        """Months in a period; null for weeks."""
        if self.monthly and self.interval in _SPLIT_MONTHLY:
            return 1
        return _MONTHS.get(self.interval)

    @cached_property
    def origin(self) -> date:
        """The post of period 0: the anchor, or the start of the calendar unit that holds it."""
        if self.billing_time == "anniversary":
            return self.anchor
        if self.months is None:
            return self.anchor - timedelta(days=self.anchor.weekday())
        opening_month0 = (self.anchor.month - 1) // self.months * self.months
        return date(self.anchor.year, opening_month0 + 1, 1)

    @cached_property
    def _found(self) -> list[int]:
        """Number, start and end of the period that was found last: most ask for the same one."""
        return [0, 0, 0]

    def index_at(self, at_ms: int) -> int:
        """Return the number of the period that holds this instant (ms)."""
        k, start_ms, end_ms = self._found
        if not start_ms <= at_ms < end_ms:
            k = _index_at(self.origin, self.months, self.timezone, at_ms)
            self._found[:] = k, self.start_ms(k), self.start_ms(k + 1)
        return k

    def start_ms(self, k: int) -> int:
        """Return the first instant of period `k`."""
        return _start_ms(self.origin, self.months, self.timezone, k)

    def start_nearest_ms(self, at_ms: int) -> int:
        """Return the start of a period that is nearest to an instant.

        For a start in another timezone the nearest start is that of the same period. A timezone
        moves a start by 26 hours at most. It moves it by 4 more days if the anchor goes from
        28 February to 1 March: 28 May is then 1 June.
        """
        k = self.index_at(at_ms)
        return min(self.start_ms(k), self.start_ms(k + 1), key=lambda start: abs(start - at_ms))

    def duration_days(self, k: int) -> int:
        """Return calendar days from post to post, whatever clocks or the subscription do in it."""
        return _duration_days(self.origin, self.months, k)


def _post(origin: date, months: int | None, k: int) -> date:
    """Return the local date on which period `k` opens, always counted from the origin."""
    if months is None:
        return origin + timedelta(days=_WEEK_DAYS * k)
    return add_months(origin, months * k)


def _index_of(origin: date, months: int | None, day: date) -> int:
    """Return the number of the period that holds this local date."""
    if months is None:
        return (day - origin).days // _WEEK_DAYS
    k = (_month_number(day) - _month_number(origin)) // months
    return k - 1 if _post(origin, months, k) > day else k


@lru_cache(_REMEMBERED)
def _index_at(origin: date, months: int | None, timezone: str, at_ms: int) -> int:
    k = _index_of(origin, months, local_date(at_ms, timezone))
    # A clock set back over midnight shows the old date again inside the new period.
    return k + 1 if _start_ms(origin, months, timezone, k + 1) <= at_ms else k


@lru_cache(_REMEMBERED)
def _start_ms(origin: date, months: int | None, timezone: str, k: int) -> int:
    return local_midnight_ms(_post(origin, months, k), timezone)


@lru_cache(_REMEMBERED)
def _duration_days(origin: date, months: int | None, k: int) -> int:
    return (_post(origin, months, k + 1) - _post(origin, months, k)).days
