"""The dates on a Lago invoice: which ranges a billing run, or current usage, puts on it.

Rules: billing-periods §3 to §7. What this product *closes* follows the half-open grid instead
(`grid`, records-and-cuts §2); these ranges are for compatibility, oddities included.
All times are UTC milliseconds; both ends of a range are inclusive, an end is `…:59.999`.
"""

from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property

from app.billing_periods.grid import BillingTime, Interval, PeriodGrid
from app.billing_periods.timezones import local_date, local_midnight_ms, midnight_by_clock_at_ms

_SECOND_MS = 1000
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
    return plan_grid.is_post(today) or (billed_monthly and plan_grid.split_monthly().is_post(today))


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
            next_end_of_period=self.plan.lago_end_ms(self.plan.index_of(self.today)),
            previous_beginning_of_period=self.plan.start_ms(self._settled_index(self.plan)),
        )

    def _settled_index(self, grid: PeriodGrid) -> int:
        if self.request.current_usage:
            return grid.index_of(self.today)
        return grid.settled_index(self.today)

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
            return self.plan.index_of(self.today)
        return self._settled_index(self.plan)

    def _fee_range(self) -> tuple[int | None, int | None]:
        request = self.request
        if request.started_at_ms is None:
            return None, None
        from_ms = self.plan.start_ms(self._fee_index)
        if from_ms < request.started_at_ms:
            from_ms = midnight_by_clock_at_ms(request.started_at_ms, request.timezone)
        to_ms = self.plan.lago_end_ms(self._fee_index)
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
            return self.usage.index_of(self.today)
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
        to_ms = self.usage.lago_end_ms(self._usage_index)
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
        split = self.plan.split_monthly()
        running_month = split.post(split.index_of(self.today)).month
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
