"""What cells come to at a moment."""

from __future__ import annotations

from decimal import Decimal

import msgspec
from msgspec.structs import replace

from app.definitions.periods import Period
from app.numbers import ZERO, round_units
from tables.aggregation import State, Window
from tables.charge import ChargeFold


class CellFigures(msgspec.Struct, frozen=True, gc=False):
    """The shown figures of a cell at a cut, rounded and clamped."""

    units: Decimal
    prorated_units: Decimal | None
    total_aggregated_units: Decimal
    precise_total_amount_cents: Decimal | None
    events_count: int
    digest: int
    carries: bool
    """A level or balance other than 0 goes on."""
    period_events: int
    """Events dated in the period itself."""
    aggregate: Decimal
    """The aggregate after rounding and before clamping; of a prorated charge the prorated one."""

    @property
    def counts(self) -> bool:
        """Whether a cell that does not recur is published."""
        return bool(self.units or self.prorated_units or self.events_count)

    @property
    def shows(self) -> bool:
        """Whether a recurring cell is published whatever the period before it showed."""
        return bool(self.units or self.prorated_units or self.carries or self.period_events)

    def billed(self, *, in_advance: bool) -> CellFigures:
        """Return the figures as records show them: a share below 0 bills nothing at all.

        `in_advance`: they are of a renewal, which bills no share but the whole.
        """
        if in_advance or self.prorated_units is None or self.aggregate >= 0:
            return self
        return replace(self, units=ZERO, prorated_units=ZERO, total_aggregated_units=ZERO)


NO_FIGURES = CellFigures(
    ZERO, None, ZERO, None, 0, 0, carries=False, period_events=0, aggregate=ZERO
)
"""What a cell comes to that there is none of any more."""


def figures_of(fold: ChargeFold, state: State, before: State | None, window: Window) -> CellFigures:
    """Return the figures of merged states of a cell, rounded and clamped."""
    metric, prorated = fold.metric, fold.charge.prorated
    result = fold.aggregation.result(state, before, window)
    value = round_units(result.value, metric.rounding_function, metric.rounding_precision)
    full = value
    if result.full_units is not result.value:
        full = round_units(result.full_units, metric.rounding_function, metric.rounding_precision)
    units = clamped(full)
    level = result.level
    digest, precise = state.digest, state.precise
    if before is not None:
        fold.aggregation.merge(state, before)
        digest, precise = state.digest, state.precise
    carried = result.full_units if level is None else level
    return CellFigures(
        units=units,
        prorated_units=clamped(value) if prorated else None,
        total_aggregated_units=units if level is None else clamped(level),
        precise_total_amount_cents=precise,
        events_count=result.events_count,
        digest=digest,
        carries=metric.recurring and carried != 0,
        period_events=state.events - (before.events if before is not None else 0),
        aggregate=value,
    )


def units_so_far(
    fold: ChargeFold, state: State, before: State | None, period: Period, at_ms: int
) -> Decimal | None:
    """Return what has accrued in merged states by an instant; None: it cannot be told."""
    value = fold.aggregation.units_so_far(state, before, window_of(period), at_ms)
    if value is None:
        return None
    return clamped(
        round_units(value, fold.metric.rounding_function, fold.metric.rounding_precision)
    )


def window_of(period: Period) -> Window:
    """Return the window of a period for aggregations."""
    return Window(
        period.start_ms,
        period.end_ms,
        period.last_ms,
        period.duration_days,
        period.timezone,
        period.upgraded,
    )


def clamped(value: Decimal) -> Decimal:
    """Return the value, 0 where it is less."""
    return value if value > 0 else ZERO
