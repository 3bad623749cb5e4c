"""What is kept at hand and can be made again: never more than some of it."""

from __future__ import annotations

from typing import TypeVar

_K = TypeVar("_K")
_V = TypeVar("_V")


def keep(at_hand: dict[_K, _V], key: _K, value: _V, most: int) -> _V:
    """Keep a value and return it; where `most` are at hand, let go of all of them before."""
    if len(at_hand) >= most:
        at_hand.clear()
    at_hand[key] = value
    return value
