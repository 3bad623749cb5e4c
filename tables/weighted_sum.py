"""weighted_sum_agg: the time average of a running level (metering-semantics §4.7).

Events carry differences. With S0 = Σd and S1 = Σd·t the integral of the level over a period is
initial·(to' - from) + S0·to' - S1. So two sums replace the list of events, and a late event costs
no more than any other.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec.structs import replace

from app.billing_periods.day_count import DAY_MS
from app.numbers import EXACT, ZERO, weighted_average
from app.wire.arrivals import Position
from tables.aggregation import (
    AggregateResult,
    Aggregation,
    Amended,
    State,
    Window,
    add,
    multiply,
    subtract,
)


class WeightedSumState(State, gc=False):
    """The two running sums; times in ms."""

    change: Decimal = ZERO
    """S0: Σ d."""
    moment: Decimal = ZERO
    """S1: Σ d·t."""
    newest_ms: int = -1
    """Time of the last event: before it the sums do not tell what has accrued."""


class WeightedSum(Aggregation[WeightedSumState]):
    """Level averaged over the nominal period, held until its end; recurring carries the level."""

    type_name = "weighted_sum_agg"
    ordered = False
    state_type = WeightedSumState
    decimals = frozenset({"precise", "change", "moment"})
    kept = "moments"

    def apply(
        self,
        state: WeightedSumState,
        value: Decimal,
        timestamp_ms: int,
        position: Position,
    ) -> None:
        """Add the difference and its moment."""
        state.change = add(state.change, value)
        state.moment = EXACT.fma(value, timestamp_ms, state.moment)
        if timestamp_ms > state.newest_ms:
            state.newest_ms = timestamp_ms

    def remove(
        self, state: WeightedSumState, value: Decimal, timestamp_ms: int, position: Position
    ) -> bool:
        """Subtract the difference and its moment, unless no later event is known."""
        left = timestamp_ms < state.newest_ms
        if left:
            self._subtract(state, value, timestamp_ms)
        return left

    def give_way(
        self, state: WeightedSumState, value: Decimal, timestamp_ms: int, after: Amended
    ) -> bool:
        """Do what `remove` does, if the newest is none the older."""
        stays = after.timestamp_ms >= timestamp_ms
        if stays:
            self._subtract(state, value, timestamp_ms)
        return stays

    def _subtract(self, state: WeightedSumState, value: Decimal, timestamp_ms: int) -> None:
        state.change = subtract(state.change, value)
        state.moment = subtract(state.moment, multiply(value, Decimal(timestamp_ms)))

    def merge(self, state: WeightedSumState, other: WeightedSumState) -> None:
        """Add the sums."""
        super().merge(state, other)
        state.change = add(state.change, other.change)
        state.moment = add(state.moment, other.moment)
        state.newest_ms = max(state.newest_ms, other.newest_ms)

    def result(
        self, state: WeightedSumState, before: WeightedSumState | None, window: Window
    ) -> AggregateResult:
        """Return the average as value, the level at the end as level, the window's event count."""
        initial = ZERO if before is None else before.change
        # Lago integrates to the next whole second, so that 23:59:59.999 becomes midnight.
        end_ms = -(-window.end_ms // 1000) * 1000
        area = ZERO
        if window.end_ms > window.from_ms:
            carried = multiply(initial, Decimal(end_ms - window.from_ms))
            changed = EXACT.subtract(multiply(state.change, Decimal(end_ms)), state.moment)
            area = add(carried, changed)
        value = weighted_average(area, window.duration_days * DAY_MS)
        return AggregateResult(value, value, add(initial, state.change), state.events)

    def units_so_far(
        self, state: WeightedSumState, before: WeightedSumState | None, window: Window, at_ms: int
    ) -> Decimal | None:
        """Return the average as if the period ended at that instant.

        `result` takes for granted that the level holds until the period ends. None when an event
        is dated later: it is in the two running sums already.
        """
        if state.newest_ms > at_ms:
            return None
        end_ms = min(max(at_ms // 1000 * 1000, window.from_ms), window.end_ms)
        return self.result(state, before, replace(window, end_ms=end_ms)).value
