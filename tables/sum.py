"""sum_agg: the sum of a numeric property, running on when recurring (metering-semantics §4.4)."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

from app.billing_periods.day_count import inclusive_days
from app.billing_periods.timezones import local_date
from app.numbers import ZERO, prorate
from app.wire.arrivals import Position
from tables.aggregation import (
    AggregateResult,
    Aggregation,
    Kept,
    State,
    Window,
    add,
    local_ordinal,
    multiply,
    subtract,
)


class SumState(State, gc=False):
    """Sum of the values; for prorated charges also the values weighted by their local date."""

    total: Decimal = ZERO
    dated: Decimal = ZERO
    """Σ value x ordinal of the event's local date."""


class Sum(Aggregation[SumState]):
    """Running sum; `prorated` weighs each addition by the days it was there."""

    type_name = "sum_agg"
    ordered = False
    lists = "number"
    state_type = SumState
    decimals = frozenset({"precise", "total", "dated"})

    @property
    def kept(self) -> Kept:
        """How `apply` keeps numbers."""
        return "" if self.prorated else "sum"

    def apply(
        self,
        state: SumState,
        value: Decimal,
        timestamp_ms: int,
        position: Position,
    ) -> None:
        """Add the value."""
        state.total = add(state.total, value)
        if self.prorated:
            state.dated = add(state.dated, self._dated(value, timestamp_ms))

    def remove(
        self, state: SumState, value: Decimal, timestamp_ms: int, position: Position
    ) -> bool:
        """Subtract the value."""
        state.total = subtract(state.total, value)
        if self.prorated:
            state.dated = subtract(state.dated, self._dated(value, timestamp_ms))
        return True

    def _dated(self, value: Decimal, timestamp_ms: int) -> Decimal:
        day = local_ordinal(local_date(timestamp_ms, self.timezone))
        return multiply(value, Decimal(day))

    def merge(self, state: SumState, other: SumState) -> None:
        """Add the sums."""
        super().merge(state, other)
        state.total = add(state.total, other.total)
        state.dated = add(state.dated, other.dated)

    def result(self, state: SumState, before: SumState | None, window: Window) -> AggregateResult:
        """Return the total; recurring: the balance since ever, events_count counts history too."""
        full, events = state.total, state.events
        if before is not None:
            full, events = add(full, before.total), events + before.events
        value = self._prorate(state, before, window) if self.prorated else full
        return AggregateResult(value, full, None, events)

    def carried(self, before: SumState | None) -> Decimal:
        """Return the total before the period."""
        return ZERO if before is None else before.total

    def presented(self, state: SumState, before: SumState | None, window: Window) -> Decimal:
        """Return the total; for prorated charges that of the period alone."""
        return state.total if self.prorated else super().presented(state, before, window)

    def _prorate(self, state: SumState, before: SumState | None, window: Window) -> Decimal:
        """Prorate persisted units by the days of the window, each addition by the days left."""
        days = inclusive_days(
            window.from_ms, window.last_ms, window.timezone, upgraded=window.upgraded
        )
        persisted = Fraction(before.total) if before is not None else Fraction(0)
        last_day = local_ordinal(local_date(window.last_ms, window.timezone))
        added = Fraction(state.total) * (last_day + 1) - Fraction(state.dated)
        return prorate(persisted * days + added, window.duration_days)
