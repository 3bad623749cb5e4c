"""Figures of a folded vector, by the names that expectations use."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, NamedTuple

from app.numbers import ZERO, exact_sum, round_units
from tables.aggregation import Groups
from tables.cells.figures import clamped, window_of
from tables.charge import Bucket
from tables.weighted_sum import WeightedSumState
from tests.conformance.in_advance import units_in_advance
from tests.conformance.scenario import Folded, is_left_out

GroupedBy = Mapping[str, str | None]
Numbers = dict[str, Decimal]


class CellFigures(NamedTuple):
    """One group of one bucket."""

    filter_id: str | None
    grouped_by: GroupedBy
    numbers: Numbers


def cells(folded: Folded, *, current_usage: bool) -> list[CellFigures]:
    """Every cell of the period; an unused bucket has one, with every group key null."""
    span, period = folded[:2]
    names = list(span.cells_of(period))
    found: list[CellFigures] = []
    for bucket in _buckets(folded):
        groups = [g for filter_id, g in names if filter_id == bucket.filter_id]
        found += [
            CellFigures(
                bucket.filter_id,
                dict(zip(bucket.group_keys, group, strict=True)),
                _numbers(folded, bucket.filter_id, group, current_usage=current_usage),
            )
            for group in groups or [(None,) * len(bucket.group_keys)]
        ]
    return found


def billed_in_full(cell: CellFigures) -> CellFigures:
    """Return what the record of a renewal bills of a cell before clamping: units not prorated."""
    numbers = {**cell.numbers, "units": cell.numbers["full_units"]}
    return cell._replace(numbers=numbers)


def total(found: Iterable[CellFigures]) -> Numbers:
    """Sums over cells."""
    each = [cell.numbers for cell in found]
    return {name: exact_sum(numbers[name] for numbers in each) for name in each[0]}


def _buckets(folded: Folded) -> list[Bucket]:
    fold = folded.span.fold
    buckets = [*fold.buckets, fold.default_bucket]
    return [bucket for bucket in buckets if not is_left_out(fold.charge, bucket.filter_id)]


def _numbers(
    folded: Folded, filter_id: str | None, groups: Groups, *, current_usage: bool
) -> Numbers:
    span, period = folded[:2]
    metric, prorated = span.fold.metric, span.fold.charge.prorated
    shown = span.figures(period, filter_id, groups)
    state, before = span.states(period, filter_id, groups)
    result = span.fold.aggregation.result(state, before, window_of(period))
    full = round_units(result.full_units, metric.rounding_function, metric.rounding_precision)
    units = shown.aggregate
    if prorated and current_usage:
        # Lago's current usage of a prorated charge clamps each of its numbers by itself.
        units = clamped(units)
    if current_usage and span.fold.in_advance:
        units = units_in_advance(folded, filter_id, groups, result.full_units)
    counted = Decimal(shown.events_count)
    if prorated and span.fold.unique:
        counted = result.value
    numbers = {
        "units": units,
        "current_units": shown.units,
        "full_units": full,
        "events_count": counted,  # of a prorated unique count the prorated value
        "precise_total_amount_cents": shown.precise_total_amount_cents or ZERO,
        "total_aggregated_units": full if result.level is None else result.level,
    }
    variation = _variation(state)
    return numbers if variation is None else {**numbers, "variation": variation}


def _variation(state: Any) -> Decimal | None:
    """Change of the level within the period, of a weighted sum."""
    return state.change if isinstance(state, WeightedSumState) else None
