"""Which aggregation vectors could run on real servers: those whose period a plan produces."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, get_args

from app.billing_periods.grid import PeriodGrid
from app.definitions.model import BillingTime, Interval
from app.definitions.timeline import Period
from app.vectors.files import Json, Vector, read_vectors
from app.vectors.scenario import CannotRun, period_of
from app.wire.timestamps import parse_timestamp

_FOLDING_MODES = (None, "billing", "current_usage", "precise_amount")
_OFFLINE_KEYS = ("ignore_filters", "group_values", "carry")


class PlanPeriod(NamedTuple):
    """A plan and subscription start that have the period of a vector."""

    interval: Interval
    billing_time: BillingTime
    subscription_at_ms: int


class LivePart(NamedTuple):
    """Vectors of one file with the plan that each needs, and why the others stay offline."""

    runnable: list[tuple[Vector, PlanPeriod]]
    skipped: dict[str, list[str]]
    """Reason to ids."""


def live_part(path: Path) -> LivePart:
    """Sort the vectors of one aggregation file."""
    part = LivePart([], {})
    for vector in read_vectors(path):
        found = _plan_or_reason(vector.json)
        if isinstance(found, str):
            part.skipped.setdefault(found, []).append(vector.id)
        else:
            part.runnable.append((vector, found))
    return part


def _plan_or_reason(vector: Json) -> PlanPeriod | str:
    mode = vector.get("mode")
    if mode not in _FOLDING_MODES:
        return f"mode {mode} folds nothing"
    chosen = [key for key in _OFFLINE_KEYS if vector.get(key)]
    if chosen:
        return f"{chosen[0]} asks for something that no plan has"
    described = [c.get("period") for c in vector.get("checkpoints") or (vector,)]
    if None in described:
        return "no period"
    try:
        periods = [period_of(each, vector["subscription"]) for each in described]
        started_at_ms = parse_timestamp(vector["subscription"]["started_at"])
    except (CannotRun, KeyError, TypeError) as error:
        return f"no usable subscription: {error}"
    plans = (
        PlanPeriod(interval, billing_time, started_at_ms)
        for interval in get_args(Interval)
        for billing_time in get_args(BillingTime)
    )
    days = [(each or {}).get("duration_days") for each in described]
    wanted = list(zip(periods, days, strict=True))
    fitting = (plan for plan in plans if all(_has(plan, *each) for each in wanted))
    return next(fitting, "no plan has this period")


def _has(plan: PlanPeriod, period: Period, duration_days: int | None) -> bool:
    grid = PeriodGrid(plan.interval, plan.billing_time, plan.subscription_at_ms, period.timezone)
    k = grid.index_at(period.start_ms)
    start_ms = max(grid.start_ms(k), plan.subscription_at_ms)
    return period[:2] == (start_ms, grid.start_ms(k + 1)) and (
        duration_days in (None, grid.duration_days(k))
    )
