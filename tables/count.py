"""count_agg: how many events (metering-semantics §4.3)."""

from __future__ import annotations

from decimal import Decimal

from app.wire.arrivals import Position
from tables.aggregation import AggregateResult, Aggregation, State, Window


class Count(Aggregation[State]):
    """The number of events of the window; needs no property."""

    type_name = "count_agg"
    ordered = False
    reads = "nothing"
    lists = "each"
    state_type = State

    def remove(self, state: State, value: Decimal, timestamp_ms: int, position: Position) -> bool:
        """Take the event out: nothing is kept of it but that it was."""
        return True

    def part(self, number: Decimal, *, adds: bool, active: bool) -> Decimal:
        """Return 1, whatever the event holds."""
        return Decimal(1)

    def result(self, state: State, before: State | None, window: Window) -> AggregateResult:
        """Return units = events_count = number of events."""
        units = Decimal(state.events)
        return AggregateResult(units, units, None, state.events)
