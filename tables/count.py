"""count_agg: how many events (metering-semantics §4.3)."""

from __future__ import annotations

from decimal import Decimal

from tables.aggregation import AggregateResult, Aggregation, State, Window


class Count(Aggregation[State]):
    """The number of events of the window; needs no property."""

    type_name = "count_agg"
    reads = "nothing"
    lists = "each"
    state_type = State

    def part(self, number: Decimal, *, adds: bool, active: bool) -> Decimal:
        """Return 1, whatever the event holds."""
        return Decimal(1)

    def result(self, state: State, before: State | None, window: Window) -> AggregateResult:
        """Return units = events_count = number of events."""
        units = Decimal(state.events)
        return AggregateResult(units, units, None, state.events)
