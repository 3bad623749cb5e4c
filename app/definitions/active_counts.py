"""How many subscriptions are active at a moment, without looking at each."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right, insort
from copy import copy
from itertools import chain
from typing import Final

from app.definitions.model import Subscription
from app.definitions.versions import Coming

_MOST_IN_A_RUN: Final = 500
"""A run is moved in memory at each insertion."""
_NO_RUNS: Final[list[array[int]]] = []
_NO_LASTS: Final[list[int]] = []
"""Stay empty: all that have no run share them, and make their own with the first."""


class ActiveCounts:
    """Starts and ends of subscriptions, in ms; nobody asks for a moment before the last record."""

    __slots__ = ("_ends_ms", "_promised", "_starts_ms")

    def __init__(self) -> None:
        self._starts_ms = _Moments()
        self._ends_ms = _Moments()
        self._promised: tuple[Coming, ActiveCounts] | None = None

    def promised(self, coming: Coming) -> ActiveCounts:
        """Return the counts that hold once a record is here; they begin as a copy of these."""
        self._settle()
        if self._promised is None or self._promised[0] is not coming:
            self._promised = coming, copy(self)
        return self._promised[1]

    def _settle(self) -> None:
        promised = self._promised
        if promised is not None and promised[0].is_here:
            later = promised[1]
            self._starts_ms, self._ends_ms, self._promised = later._starts_ms, later._ends_ms, None

    def add(self, subscription: Subscription, now_ms: int) -> None:
        """Count a subscription from its activation to its end; a record of now brings it."""
        self._settle()
        self._promised = None
        if subscription.canceled_at_ms is None:
            self._starts_ms.add(subscription.active_from_ms, now_ms)
            if subscription.end_ms is not None:
                self._ends_ms.add(subscription.end_ms, now_ms)

    def remove(self, subscription: Subscription) -> None:
        """Undo `add` of the same version."""
        self._settle()
        self._promised = None
        if subscription.canceled_at_ms is None:
            self._starts_ms.remove(subscription.active_from_ms)
            if subscription.end_ms is not None:
                self._ends_ms.remove(subscription.end_ms)

    def __copy__(self) -> ActiveCounts:
        """Return the same numbers; each copy goes on by itself."""
        self._settle()
        copied = ActiveCounts()
        copied._starts_ms, copied._ends_ms = copy(self._starts_ms), copy(self._ends_ms)
        return copied

    def at(self, at_ms: int) -> int:
        """Return the number of active ones at a moment, now or later."""
        self._settle()
        return self._starts_ms.until(at_ms) - self._ends_ms.until(at_ms)

    def __bool__(self) -> bool:
        self._settle()
        return bool(self._starts_ms)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ActiveCounts):
            return NotImplemented
        self._settle()
        other._settle()
        return (self._starts_ms, self._ends_ms) == (other._starts_ms, other._ends_ms)

    __hash__ = None  # type: ignore[assignment]


class _Moments:
    """Moments to come, and how many are past: nearly all subscriptions have begun.

    They are sorted in runs, so that one among a million is put in its place at once.
    """

    __slots__ = ("_lasts", "_past", "_runs")

    def __init__(self) -> None:
        self._past = 0
        """How many are in no run."""
        self._runs = _NO_RUNS
        self._lasts = _NO_LASTS
        """The greatest of each run."""

    def add(self, value: int, now_ms: int) -> None:
        if self._lasts and self._lasts[0] <= now_ms:
            self._past += len(self._runs[0])
            del self._runs[0], self._lasts[0]
        if value <= now_ms:
            self._past += 1
            return
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
        """Take out one that was added."""
        i = bisect_left(self._lasts, value)
        run = self._runs[i] if i < len(self._runs) else array("q")
        at = bisect_left(run, value)
        if at == len(run) or run[at] != value:
            self._past -= 1
            return
        del run[at]
        if run:
            self._lasts[i] = run[-1]
        else:
            del self._runs[i], self._lasts[i]

    def __copy__(self) -> _Moments:
        copied = _Moments()
        copied._past, copied._lasts = self._past, self._lasts[:]
        copied._runs = [run[:] for run in self._runs]
        return copied

    def __bool__(self) -> bool:
        return bool(self._past or self._runs)

    def until(self, most: int) -> int:
        """Return how many are at most so great, and past ones."""
        i = bisect_right(self._lasts, most)
        count = self._past + sum(len(run) for run in self._runs[:i])
        return count + (bisect_right(self._runs[i], most) if i < len(self._runs) else 0)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Moments):
            return NotImplemented
        return (self._past, [*chain(*self._runs)]) == (other._past, [*chain(*other._runs)])

    __hash__ = None  # type: ignore[assignment]
