"""Keep the first items of many in their order: one page of a listing."""

from __future__ import annotations

from heapq import merge
from itertools import islice
from typing import Generic, TypeVar

from app.bounds.turns import STEP_ITEMS, Steps

_SORTED_AT_ONCE = 4_096

T = TypeVar("T")


class First(Generic[T]):
    """The first items of many in their order, at most `most`: memory may not hold them all."""

    def __init__(self, most: int):
        self._most = most
        self._first: list[T] = []
        """The first items so far, in order."""
        self._more: list[T] = []
        self.count = 0
        """Number of all items that were added."""

    def add(self, one: T) -> Steps[None]:
        """Add one more, in any order."""
        self.count += 1
        if len(self._first) < self._most or one < self._first[-1]:  # type: ignore[operator]
            self._more.append(one)
            if len(self._more) > self._most + _SORTED_AT_ONCE:
                yield from self._merge()

    def _merge(self) -> Steps[None]:
        """Sort by parts and merge: a hundred thousand at once would be too long a step."""
        parts: list[list[T]] = [self._first]
        for start in range(0, len(self._more), _SORTED_AT_ONCE):
            parts.append(sorted(self._more[start : start + _SORTED_AT_ONCE]))  # type: ignore[type-var]
            yield
        self._more, merged = [], list[T]()
        for one in islice(merge(*parts), self._most):  # type: ignore[type-var]
            merged.append(one)
            if len(merged) % STEP_ITEMS == 0:
                yield
        self._first = merged

    def listed(self, offset: int) -> Steps[list[T]]:
        """Return the kept items from the offset on."""
        yield from self._merge()
        return self._first[offset:]
