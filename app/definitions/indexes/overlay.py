"""A mapping that goes its own way: it copies what is looked at, and leaves the other as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Overlay(MutableMapping[K, V]):
    """As another mapping is, until it is changed."""

    def __init__(self, under: Mapping[K, V], copied: Callable[[V], V]):
        self._under = under
        self._copied = copied
        self._own: dict[K, V] = {}
        self._gone: set[K] = set()

    def __getitem__(self, key: K) -> V:
        if key not in self._own:
            if key in self._gone:
                raise KeyError(key)
            self._own[key] = self._copied(self._under[key])
        return self._own[key]

    def __setitem__(self, key: K, value: V) -> None:
        self._own[key] = value

    def __delitem__(self, key: K) -> None:
        if key not in self:
            raise KeyError(key)
        self._own.pop(key, None)
        self._gone.add(key)

    def __contains__(self, key: object) -> bool:
        return key in self._own or (key in self._under and key not in self._gone)

    def __iter__(self) -> Iterator[K]:
        yield from (key for key in self._under if key in self)
        yield from (key for key in self._own if key not in self._under)

    def __len__(self) -> int:
        return sum(1 for _ in self)
