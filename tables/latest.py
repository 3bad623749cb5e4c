"""latest_agg: the value of the newest event by event time (metering-semantics §4.5)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, Final

from app.numbers import ZERO
from app.wire.arrivals import Position
from tables.aggregation import AggregateResult, Aggregation, Amended, State, Window

_NONE: Final[tuple[int, Position]] = (-1, (-1, -1, -1, -1))


class LatestState(State, gc=False):
    """The newest value with what orders it."""

    timestamp_ms: int = _NONE[0]
    position: Position = _NONE[1]
    value: Decimal = ZERO


class Latest(Aggregation[LatestState]):
    """Value of the event with the greatest (timestamp ms, position); 0 without events."""

    type_name = "latest_agg"
    state_type = LatestState
    decimals = frozenset({"precise", "value"})

    def apply(
        self,
        state: LatestState,
        value: Decimal,
        timestamp_ms: int,
        position: Position,
    ) -> None:
        """Keep the newer."""
        self._keep(state, timestamp_ms, position, value)

    def remove(
        self, state: LatestState, value: Decimal, timestamp_ms: int, position: Position
    ) -> bool:
        """Return whether a newer event is left, which the state then holds as before."""
        return (timestamp_ms, position) < (state.timestamp_ms, state.position)

    def give_way(
        self, state: LatestState, value: Decimal, timestamp_ms: int, after: Amended
    ) -> bool:
        """Return whether the newest stays so; the state then holds none."""
        stays = after.timestamp_ms >= timestamp_ms
        if stays:
            state.timestamp_ms, state.position = _NONE
        return stays

    def merge(self, state: LatestState, other: LatestState) -> None:
        """Keep the newer."""
        super().merge(state, other)
        self._keep(state, other.timestamp_ms, other.position, other.value)

    def unpack(self, packed: list[Any]) -> LatestState:
        """Return the state that `pack` wrote; change the list."""
        state = super().unpack(packed)
        state.position = tuple(state.position)  # type: ignore[assignment]
        return state

    def result(
        self, state: LatestState, before: LatestState | None, window: Window
    ) -> AggregateResult:
        """Return the last value; a negative one is 0 at once, before rounding."""
        units = state.value if state.value > 0 else ZERO
        return AggregateResult(units, units, None, state.events)

    def presented(self, state: LatestState, before: LatestState | None, window: Window) -> Decimal:
        """Return the last value, also a negative one."""
        return state.value

    def recency(self, state: LatestState) -> tuple[int, Position]:
        """Return what orders the last value among those of other rows."""
        return state.timestamp_ms, state.position

    @staticmethod
    def _keep(state: LatestState, timestamp_ms: int, position: Position, value: Decimal) -> None:
        if (timestamp_ms, position) > (state.timestamp_ms, state.position):
            state.timestamp_ms, state.position, state.value = timestamp_ms, position, value
