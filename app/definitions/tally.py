"""How many subscriptions are active at a moment, without looking at each."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort

from app.definitions.model import Subscription


class ActiveTally:
    """Starts and ends of subscriptions in two sorted lists of ms."""

    def __init__(self) -> None:
        self._starts_ms: list[int] = []
        self._ends_ms: list[int] = []

    def add(self, subscription: Subscription) -> None:
        """Count a subscription from its activation to its end."""
        if subscription.canceled_at_ms is None:
            insort(self._starts_ms, subscription.active_from_ms)
            if subscription.end_ms is not None:
                insort(self._ends_ms, subscription.end_ms)

    def remove(self, subscription: Subscription) -> None:
        """Undo `add` of the same version."""
        if subscription.canceled_at_ms is None:
            _remove(self._starts_ms, subscription.active_from_ms)
            if subscription.end_ms is not None:
                _remove(self._ends_ms, subscription.end_ms)

    def at(self, at_ms: int) -> int:
        """The number of active ones at a moment."""
        return bisect_right(self._starts_ms, at_ms) - bisect_right(self._ends_ms, at_ms)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActiveTally):
            return NotImplemented
        return (self._starts_ms, self._ends_ms) == (other._starts_ms, other._ends_ms)

    __hash__ = None  # type: ignore[assignment]


def _remove(ordered: list[int], value: int) -> None:
    del ordered[bisect_left(ordered, value)]
