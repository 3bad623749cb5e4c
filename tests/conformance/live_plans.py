"""Which plan and subscription have the periods of a vector, and why some vectors have none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args

from app.billing_periods.grid import BillingTime, Interval, PeriodGrid
from app.definitions.periods import Period
from app.wire.timestamps import parse_timestamp
from tests.conformance.files import Json, Vector
from tests.conformance.scenario import CannotRun, arrivals, measured, period_of

_FOLDING_MODES = (None, "billing", "current_usage", "precise_amount")
_OFFLINE_KEYS = ("ignore_filters", "group_values", "carry")


class LivePlan(NamedTuple):
    """A plan and a subscription to it that have the periods of a vector."""

    interval: Interval
    billing_time: BillingTime
    subscription_at_ms: int
    timezone: str
    terminated_at_ms: int | None = None
    """A period that ends before the plan's does ends by termination."""


class _Wanted(NamedTuple):
    period: Period
    duration_days: int | None
    """None when the vector does not say."""


def plan_of(of: Vector) -> LivePlan:
    """The plan for a vector.

    Raises:
        CannotRun: no plan has its periods, or it asks for what only a fold offline can do.
    """
    vector = of.json
    mode = vector.get("mode")
    if mode not in _FOLDING_MODES:
        raise CannotRun(f"mode {mode} folds nothing")
    for key in _OFFLINE_KEYS:
        if vector.get(key):
            raise CannotRun(f"{key} asks for something that no plan has")
    subscription = vector.get("subscription") or {}
    if subscription.get("upgraded"):
        raise CannotRun("its subscription is upgraded, and to what it does not say")
    prorated = (vector.get("charge") or {}).get("prorated")
    if prorated and not vector["metric"].get("recurring"):
        raise CannotRun(
            "the API lets only charges of recurring metrics be prorated, as Lago's does"
        )
    described = readings_of(vector)
    if any(each.get("period", vector.get("period")) is None for each in described):
        raise CannotRun("no period")
    if "started_at" not in subscription:
        raise CannotRun("its subscription has no start")
    wanted = [_wanted(each.get("period", vector.get("period")), subscription) for each in described]
    # One that says nothing of its start is there when its first period begins.
    started_at, first_ms = subscription["started_at"], wanted[0].period.start_ms
    started_at_ms = first_ms if started_at is None else parse_timestamp(started_at)
    plan = next(_plans(started_at_ms, wanted), None)
    if plan is None:
        raise CannotRun("no plan has this period")
    if plan.terminated_at_ms is not None:
        _check_termination(of, wanted[-1].period)
    return plan


def readings_of(vector: Json) -> Sequence[Json]:
    """What carries an `expect`: the checkpoints, or the vector itself."""
    return vector.get("checkpoints") or (vector,)


def _wanted(described: Json, subscription: Json) -> _Wanted:
    period = measured(period_of(described, subscription))
    return _Wanted(period, described.get("duration_days"))


def _plans(started_at_ms: int, wanted: Sequence[_Wanted]) -> Iterator[LivePlan]:
    """Plans that fit, those first whose own periods the wanted ones are."""
    last = wanted[-1].period
    for terminated_at_ms in (None, last.end_ms):
        for interval in get_args(Interval):
            for billing_time in get_args(BillingTime):
                plan = LivePlan(
                    interval, billing_time, started_at_ms, last.timezone, terminated_at_ms
                )
                if all(_has(plan, *each) for each in wanted):
                    yield plan


def _has(plan: LivePlan, period: Period, duration_days: int | None) -> bool:
    grid = PeriodGrid(plan.interval, plan.billing_time, plan.subscription_at_ms, period.timezone)
    k = grid.index_at(period.start_ms)
    end_ms = grid.start_ms(k + 1)
    if plan.terminated_at_ms is not None:
        end_ms = min(end_ms, plan.terminated_at_ms)
    return (
        period.timezone == plan.timezone
        and period.start_ms == max(grid.start_ms(k), plan.subscription_at_ms)
        and period.end_ms == end_ms
        and duration_days in (None, grid.duration_days(k))
    )


def _check_termination(vector: Vector, last: Period) -> None:
    """What is measured in time, or lies at the very end, may differ when a termination ends it."""
    by_days = (vector.json.get("charge") or {}).get("prorated")
    by_time = vector.json["metric"]["aggregation_type"] == "weighted_sum_agg"
    if last.to_ms != last.end_ms:
        if by_days or by_time:
            raise CannotRun("it ends with a whole day, as only a plan change does")
    elif any(event.timestamp_ms == last.end_ms for event in arrivals(vector)):
        raise CannotRun("an event at its termination, which counts in Lago and not here")
