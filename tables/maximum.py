"""max_agg: the greatest value of the window (metering-semantics §4.5)."""

from __future__ import annotations

from decimal import Decimal

from app.numbers import ZERO
from app.wire.arrivals import Position
from tables.aggregation import AggregateResult, Aggregation, Amended, State, Window


class MaximumState(State, gc=False):
    """The greatest value so far; None before the first."""

    greatest: Decimal | None = None


class Maximum(Aggregation[MaximumState]):
    """Maximum of a numeric property; 0 without events."""

    type_name = "max_agg"
    ordered = False
    lists = "greatest"
    state_type = MaximumState
    decimals = frozenset({"precise", "greatest"})
    kept = "greatest"

    def apply(
        self,
        state: MaximumState,
        value: Decimal,
        timestamp_ms: int,
        position: Position,
    ) -> None:
        """Keep the greater."""
        if state.greatest is None or value > state.greatest:
            state.greatest = value

    def remove(
        self, state: MaximumState, value: Decimal, timestamp_ms: int, position: Position
    ) -> bool:
        """Return whether a greater value is left, which the state then holds as before."""
        return state.greatest is not None and value < state.greatest

    def give_way(
        self, state: MaximumState, value: Decimal, timestamp_ms: int, after: Amended
    ) -> bool:
        """Return whether it is the greatest once more."""
        return after.value >= value

    def merge(self, state: MaximumState, other: MaximumState) -> None:
        """Keep the greater."""
        super().merge(state, other)
        if other.greatest is not None and (
            state.greatest is None or other.greatest > state.greatest
        ):
            state.greatest = other.greatest

    def result(
        self, state: MaximumState, before: MaximumState | None, window: Window
    ) -> AggregateResult:
        """Return the greatest value; a negative one stays so here and is clamped when shown."""
        units = ZERO if state.greatest is None else state.greatest
        return AggregateResult(units, units, None, state.events)
