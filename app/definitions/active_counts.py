"""How many subscriptions are active at a moment, without looking at each."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from copy import copy
from typing import Final

from app.definitions.model import Subscription

_MOST_IN_A_RUN: Final = 500
"""A run is moved in memory at each insertion."""


class ActiveCounts:
    """Starts and ends of subscriptions, each sorted, in ms."""

    def __init__(self) -> None:
        self._starts_ms = _Sorted()
        self._ends_ms = _Sorted()

    def add(self, subscription: Subscription) -> None:
        """Count a subscription from its activation to its end."""
        if subscription.canceled_at_ms is None:
            self._starts_ms.add(subscription.active_from_ms)
            if subscription.end_ms is not None:
                self._ends_ms.add(subscription.end_ms)

    def remove(self, subscription: Subscription) -> None:
        """Undo `add` of the same version."""
        if subscription.canceled_at_ms is None:
            self._starts_ms.remove(subscription.active_from_ms)
            if subscription.end_ms is not None:
                self._ends_ms.remove(subscription.end_ms)

    def __copy__(self) -> ActiveCounts:
        """Return the same numbers; each copy goes on by itself."""
        copied = ActiveCounts()
        copied._starts_ms, copied._ends_ms = copy(self._starts_ms), copy(self._ends_ms)
        return copied

    def at(self, at_ms: int) -> int:
        """Return the number of active ones at a moment."""
        return self._starts_ms.until(at_ms) - self._ends_ms.until(at_ms)

    def __bool__(self) -> bool:
        return bool(self._starts_ms)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActiveCounts):
            return NotImplemented
        return (self._starts_ms, self._ends_ms) == (other._starts_ms, other._ends_ms)

    __hash__ = None  # type: ignore[assignment]


class _Sorted:
    """Sorted numbers in runs, so that one among a million is put in its place at once."""

    __slots__ = ("_lasts", "_runs")

    def __init__(self) -> None:
        self._runs: list[array[int]] = []
        self._lasts: list[int] = []
        """The greatest of each run."""

    def add(self, value: int) -> None:
        if not self._runs:
            self._runs, self._lasts = [array("q", (value,))], [value]
            return
        run = self._runs[-1]
        if value >= self._lasts[-1] and len(run) < _MOST_IN_A_RUN:
            # As most come.
            run.append(value)
            self._lasts[-1] = value
            return
        i = min(bisect_left(self._lasts, value), len(self._runs) - 1)
        run = self._runs[i]
        insort(run, value)
        if len(run) > _MOST_IN_A_RUN:
            # In halves, but whole where numbers only ascend: then no run stays half empty.
            at = len(run) - 1 if run[-1] == value and i == len(self._runs) - 1 else len(run) // 2
            self._runs[i : i + 1] = [run[:at], run[at:]]
            self._lasts[i : i + 1] = [run[at - 1], run[-1]]
        else:
            self._lasts[i] = run[-1]

    def remove(self, value: int) -> None:
        """Take one of these numbers out; nothing happens if there is none."""
        i = bisect_left(self._lasts, value)
        if i == len(self._runs):
            return
        run = self._runs[i]
        at = bisect_left(run, value)
        if run[at] != value:
            return
        del run[at]
        if run:
            self._lasts[i] = run[-1]
        else:
            del self._runs[i], self._lasts[i]

    def __copy__(self) -> _Sorted:
        copied = _Sorted()
        copied._runs, copied._lasts = [run[:] for run in self._runs], self._lasts[:]
        return copied

    def __bool__(self) -> bool:
        return bool(self._runs)

    def until(self, most: int) -> int:
        """Return how many are at most so great."""
        i = bisect_right(self._lasts, most)
        count = sum(len(run) for run in self._runs[:i])
        return count + (bisect_right(self._runs[i], most) if i < len(self._runs) else 0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Sorted):
            return NotImplemented
        return [n for run in self._runs for n in run] == [n for run in other._runs for n in run]

    __hash__ = None  # type: ignore[assignment]
