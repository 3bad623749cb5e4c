"""Numbered: what very many rows have, kept once and named by a number."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


class Numbers(dict[T, int]):
    """Numbers of what very many have; whoever asks for one more is given the next."""

    def __init__(self, numbered: list[T]):
        """Add what is new to a list that is empty yet: it has each at the place of its number."""
        super().__init__()
        self._numbered = numbered

    def __missing__(self, one: T) -> int:
        number = self[one] = len(self._numbered)
        self._numbered.append(one)
        return number
