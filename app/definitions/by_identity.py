"""What is made of definitions, kept by their identity: they never change, and are slow to hash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from app.bounds.at_hand import keep

MOST = 10_000
"""How many of one kind are kept; then all are made again."""

_T = TypeVar("_T")


class ByIdentity(Generic[_T]):
    """One kind of what is made of definitions."""

    def __init__(self, make: Callable[..., _T], most: int = MOST):
        self._make = make
        self._most = most
        self._made: dict[tuple[int, ...], tuple[_T, tuple[Any, ...]]] = {}

    def of(self, *definitions: Any) -> _T:
        """Return what is made of these very objects."""
        name = tuple(map(id, definitions))
        kept = self._made.get(name)
        if kept is None:
            # It holds what it is named by: an id is another object's only once this one is gone.
            kept = keep(self._made, name, (self._make(*definitions), definitions), self._most)
        return kept[0]
