"""The dates on a Lago invoice: which ranges a billing run, or current usage, puts on it.

Rules: billing-periods §3 to §7. The product closes periods by the half-open grid instead
(`app.billing_periods.grid`, records-and-cuts §2). This is a reference, oddities included: it shows
that the grid gives the same dates.
All times are UTC milliseconds; both ends of a range are inclusive, an end is `…:59.999`.
"""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from functools import cached_property

from app.billing_periods.grid import BillingTime, Interval, PeriodGrid, add_months
from app.billing_periods.timezones import (
    local_date,
    local_datetime,
    local_midnight_ms,
    utc_offset_ms,
    zone,
)
from tests.world.grids import index_of, post_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SECOND_MS = 1000
_LAST_SECOND = time(23, 59, 59)
# As far apart as two places on Earth can keep their clocks: a greater distance is another period.
_TIMEZONE_MOVE_MS = 26 * 3_600_000


@dataclass(frozen=True)
class Replacement:
    """The subscription that a plan change put in place of this one."""

    downgrade: bool = False
    """Its plan is the cheaper one, by the yearly price."""


@dataclass(frozen=True)
class LastInvoice:
    """What the newest invoice of the subscription carried."""

    timezone: str
    charges_to_ms: int | None


@dataclass(frozen=True)
class BoundariesRequest:
    """A subscription, its plan's settings and the moment of the run (or of the usage query)."""

    interval: Interval
    billing_time: BillingTime
    timezone: str
    subscription_at_ms: int
    started_at_ms: int | None
    billing_at_ms: int
    current_usage: bool = False
    terminated_at_ms: int | None = None
    pay_in_advance: bool = False
    bill_charges_monthly: bool = False
    bill_fixed_charges_monthly: bool = False
    replacement: Replacement | None = None
    last_invoice: LastInvoice | None = None


@dataclass(frozen=True)
class Boundaries:
    """The plan fee's range, the usage range and what hangs on them; null while not started."""

    from_datetime: int | None
    to_datetime: int | None
    charges_from_datetime: int | None
    charges_to_datetime: int | None
    charges_duration_in_days: int
    next_end_of_period: int
    previous_beginning_of_period: int


def boundaries(request: BoundariesRequest) -> Boundaries:
    """The ranges Lago prints for this request."""
    return _Run(request).boundaries()


def is_billing_day(plan_grid: PeriodGrid, at_ms: int, *, billed_monthly: bool = False) -> bool:
    """Whether the local date at this instant is a post of the plan.

    `billed_monthly`: charges or fixed charges are billed monthly, so months of a yearly or
    semiannual plan count as well.
    """
    today = local_date(at_ms, plan_grid.timezone)
    return is_post(plan_grid, today) or (
        billed_monthly and is_post(split_monthly(plan_grid), today)
    )


def invoices_from_runs(
    plan_grid: PeriodGrid,
    runs_at_ms: list[int],
    *,
    billed_monthly: bool = False,
    billed: frozenset[date] = frozenset(),
) -> frozenset[date]:
    """The local dates on which these runs make an invoice: one a billing day, none twice.

    `billed` are the dates that have one already. The day the subscription starts is not billed.
    """
    return (
        frozenset(
            local_date(at_ms, plan_grid.timezone)
            for at_ms in runs_at_ms
            if is_billing_day(plan_grid, at_ms, billed_monthly=billed_monthly)
            and local_date(at_ms, plan_grid.timezone) > plan_grid.anchor
        )
        - billed
    )


def is_post(grid: PeriodGrid, day: date) -> bool:
    """Return True if a period opens on this local date."""
    return post_of(grid, index_of(grid, day)) == day


def split_monthly(grid: PeriodGrid) -> PeriodGrid:
    """Return the same grid with usage settled month by month."""
    return replace(grid, monthly=True)


def settled_index(grid: PeriodGrid, today: date) -> int:
    """Return the index of the period that a billing run on this local date settles.

    On a post of an anniversary it is the period before. On any other day it is the one an interval
    ago, which after a short month can be the running one: so Lago answers.
    """
    if grid.billing_time == "anniversary" and is_post(grid, today):
        return index_of(grid, today) - 1
    if grid.months is None:
        return index_of(grid, today - timedelta(weeks=1))
    return index_of(grid, add_months(today, -grid.months))


def lago_end_ms(grid: PeriodGrid, k: int) -> int:
    """Return Lago's inclusive end of period `k`, 23:59:59.999 on the wall.

    Two odd clock changes give another hour than the end of the half-open period.
    """
    return end_of_day_ms(post_of(grid, k + 1) - timedelta(days=1), grid.timezone)


def end_of_day_ms(day: date, timezone: str) -> int:
    """Return local 23:59:59.999 of `day`, the way Lago prints the end of a period.

    When the last hour occurs twice it is the first one. When the clock skips it, the wall time is
    read by the offset before the jump, thus lies in the next day.
    """
    wall = datetime.combine(day, _LAST_SECOND, zone(timezone))
    return (wall - _EPOCH) // _MILLISECOND + 999


def midnight_by_clock_at_ms(at_ms: int, timezone: str) -> int:
    """Return local midnight of the day of `at_ms`, by the clock in force at that instant.

    It differs from `local_midnight_ms` only on a day that has two midnights, once the clock has
    been set back: Lago then takes the second one.
    """
    local = local_datetime(at_ms, timezone)
    midnight = datetime.combine(local.date(), time(), UTC)
    midnight_ms = (midnight - _EPOCH) // _MILLISECOND - utc_offset_ms(at_ms, timezone)
    shown = local_datetime(midnight_ms, timezone)
    if (shown.date(), shown.time()) == (local.date(), time()):
        return midnight_ms
    return local_midnight_ms(local.date(), timezone)


def _round_to_second_ms(at_ms: int) -> int:
    return (at_ms + _SECOND_MS // 2) // _SECOND_MS * _SECOND_MS


class _Run:
    """One request with what its rules share."""

    def __init__(self, request: BoundariesRequest) -> None:
        self.request = request
        self.today = local_date(request.billing_at_ms, request.timezone)
        self.plan = PeriodGrid(
            request.interval, request.billing_time, request.subscription_at_ms, request.timezone
        )
        self.usage = replace(self.plan, monthly=request.bill_charges_monthly)

    def boundaries(self) -> Boundaries:
        from_ms, to_ms = self._fee_range()
        charges_from_ms, charges_to_ms = self._usage_range()
        return Boundaries(
            from_datetime=from_ms,
            to_datetime=to_ms,
            charges_from_datetime=charges_from_ms,
            charges_to_datetime=charges_to_ms,
            charges_duration_in_days=self.usage.duration_days(self._usage_index),
            next_end_of_period=lago_end_ms(self.plan, index_of(self.plan, self.today)),
            previous_beginning_of_period=self.plan.start_ms(self._settled_index(self.plan)),
        )

    def _settled_index(self, grid: PeriodGrid) -> int:
        if self.request.current_usage:
            return index_of(grid, self.today)
        return settled_index(grid, self.today)

    def _is_over(self, at_ms: int) -> bool:
        terminated_at_ms = self.request.terminated_at_ms
        if terminated_at_ms is None:
            return False
        return _round_to_second_ms(terminated_at_ms) <= _round_to_second_ms(at_ms)

    @property
    def _is_downgraded(self) -> bool:
        replacement = self.request.replacement
        return replacement is not None and replacement.downgrade

    @cached_property
    def _fee_index(self) -> int:
        over = self._is_over(self.request.billing_at_ms)
        if self.request.pay_in_advance or (over and not self._is_downgraded):
            return index_of(self.plan, self.today)
        return self._settled_index(self.plan)

    def _fee_range(self) -> tuple[int | None, int | None]:
        request = self.request
        if request.started_at_ms is None:
            return None, None
        from_ms = self.plan.start_ms(self._fee_index)
        if from_ms < request.started_at_ms:
            from_ms = midnight_by_clock_at_ms(request.started_at_ms, request.timezone)
        to_ms = lago_end_ms(self.plan, self._fee_index)
        if request.terminated_at_ms is not None and self._is_over(request.billing_at_ms):
            to_ms = min(to_ms, _round_to_second_ms(request.terminated_at_ms))
        return from_ms, max(to_ms, request.started_at_ms)

    @cached_property
    def _usage_index(self) -> int:
        request = self.request
        settles_the_end = request.replacement is None or (
            not request.pay_in_advance and not self._is_downgraded
        )
        if settles_the_end and self._is_over(self._usage_run_at_ms):
            return index_of(self.usage, self.today)
        return self._settled_index(self.usage)

    @property
    def _usage_run_at_ms(self) -> int:
        """The moment a termination is compared with when the usage period is chosen.

        Of usage split monthly Lago keeps the run's local date only, and reads it as midnight UTC:
        a run at the very moment of a midday termination settles the month before.
        """
        if self.usage.months == self.plan.months:
            return self.request.billing_at_ms
        return local_midnight_ms(self.today, "UTC")

    def _usage_range(self) -> tuple[int | None, int | None]:
        request = self.request
        if request.started_at_ms is None or not self._settles_usage:
            return None, None
        from_ms = self._without_hole_ms(self.usage.start_ms(self._usage_index))
        to_ms = lago_end_ms(self.usage, self._usage_index)
        if request.terminated_at_ms is not None:
            to_ms = min(to_ms, request.terminated_at_ms)
        return max(from_ms, request.started_at_ms), max(to_ms, request.started_at_ms)

    @property
    def _settles_usage(self) -> bool:
        """Monthly runs for fixed charges alone carry usage only as the long period opens."""
        request = self.request
        if (
            request.current_usage
            or request.bill_charges_monthly
            or not request.bill_fixed_charges_monthly
            or self.plan.months is None
        ):
            return True
        split = split_monthly(self.plan)
        running_month = post_of(split, index_of(split, self.today)).month
        return (running_month - self.plan.origin.month) % self.plan.months == 0

    def _without_hole_ms(self, charges_from_ms: int) -> int:
        """Right after the last invoice's end, when the customer's timezone moved since then."""
        last = self.request.last_invoice
        if last is None or last.charges_to_ms is None or last.timezone == self.request.timezone:
            return charges_from_ms
        continued_ms = last.charges_to_ms + _SECOND_MS
        if abs(charges_from_ms - continued_ms) < _TIMEZONE_MOVE_MS:
            return continued_ms
        return charges_from_ms
