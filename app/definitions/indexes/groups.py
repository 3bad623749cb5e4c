"""Groups: what belongs to each organization or plan, in the order in which it joined."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, MutableMapping
from copy import copy
from itertools import chain
from typing import Final, Generic

import numpy as np
from numpy.typing import NDArray

from app.definitions.indexes.forms import D
from app.definitions.indexes.index import Index, Overlay
from app.definitions.indexes.packed import K, PackedVersions
from app.definitions.versions import Versions

_MOST_GONE: Final = 1 << 14
"""How many are passed over in one go by who looks, until they are taken out."""


class _Members(Generic[K, D]):
    """Keys of objects, at four bytes each: their numbers are kept."""

    __slots__ = ("_gone", "_gone_count", "_packed", "more", "numbers")

    def __init__(self, packed: PackedVersions[K, D]):
        self._packed = packed
        self.numbers = array("I")
        self._gone: Counter[int] | None = None
        """How often each left: so many times it is passed over, from the first on. None: none."""
        self._gone_count = 0
        self.more: dict[K, None] | None = None
        """Keys that joined a branch from the first on that has no number; they come last."""

    def discard(self, key: K) -> None:
        """Let one of them leave."""
        more = self.more or {}
        number = None if key in more else self._packed.number_of(key)
        if number is None:
            more.pop(key, None)
            return
        if self._gone is None:
            self._gone = Counter()
        self._gone[number] += 1
        self._gone_count += 1
        if self._gone_count > min(_MOST_GONE, len(self.numbers) // 2):
            self.numbers = self.stayed()
            self._gone, self._gone_count = None, 0

    def keys(self, *, newest_first: bool = False) -> Iterator[K]:
        """Return all, as they are now, though some join or leave meanwhile."""
        numbers = map(self._packed.key_of, self.order(newest_first=newest_first))
        more = list(self.more or ())
        return chain(reversed(more), numbers) if newest_first else chain(numbers, more)

    def order(self, *, newest_first: bool = False) -> Iterator[int]:
        """Return the numbers of all that have any, as they are now."""
        stayed = self.stayed()
        return reversed(stayed) if newest_first else iter(stayed)

    def stayed(self) -> array[int]:
        """Return the numbers of those that are there: of a million at once, so without a loop."""
        if not self._gone:
            return self.numbers[:]
        numbers = np.array(self.numbers, dtype=np.uint32)
        leaving = np.isin(numbers, np.fromiter(self._gone, np.uint32))
        came, times = np.unique(numbers[leaving], return_counts=True)
        left = np.fromiter(map(self._gone.__getitem__, came.tolist()), np.int64)
        # Nearly all came once and left once. Of those that came again the last ones stay.
        for number, count in zip(came[times > left].tolist(), left[times > left], strict=True):
            leaving[np.flatnonzero(numbers == number)[count:]] = False
        stayed = array("I")
        stayed.frombytes(numbers[~leaving].tobytes())
        return stayed

    def __len__(self) -> int:
        return len(self.numbers) - self._gone_count + len(self.more or ())

    def __copy__(self) -> _Members[K, D]:
        """Return the same ones; each copy goes on by itself."""
        copied = _Members(self._packed)
        copied.numbers = self.numbers[:]
        copied._gone, copied._gone_count = copy(self._gone), self._gone_count
        copied.more = copy(self.more)
        return copied


class Groups(Index, Generic[K, D]):
    """Members by the id of what they belong to."""

    def __init__(
        self,
        packed: PackedVersions[K, D],
        members: MutableMapping[str, _Members[K, D]] | None = None,
    ):
        self._packed = packed
        self._members: MutableMapping[str, _Members[K, D]] = {} if members is None else members

    def add(self, group: str, key: K, number: int | None) -> None:
        """Let one join that is not in a group. None for its number: it has none."""
        members = self._members.get(group)
        if members is None:
            members = self._members[group] = _Members(self._packed)
        if number is None or members.more:
            if members.more is None:
                members.more = {}
            members.more[key] = None
        else:
            members.numbers.append(number)

    def number_of(self, key: K) -> int | None:
        """Return the number of what is to join; None: it was made in a branch, and has none."""
        return self._packed.number_of(key)

    def discard(self, group: str, key: K) -> None:
        """Let one leave that is in a group."""
        self._members[group].discard(key)

    def keys(self, group: str, *, newest_first: bool = False) -> Iterator[K]:
        """Return all of a group, as they are now, though some join or leave meanwhile."""
        members = self._members.get(group)
        return iter(()) if members is None else members.keys(newest_first=newest_first)

    def numbers(self, group: str) -> NDArray[np.uint32]:
        """Return the numbers of a group, newest first; a branch has some that have none."""
        members = self._members.get(group)
        return np.array([] if members is None else members.stayed(), np.uint32)[::-1]

    def newest(
        self, group: str, versions: Mapping[K, Versions[D]], *, newest_first: bool = False
    ) -> Iterator[D]:
        """Yield all of a group that are not deleted, each as it is when it is asked for.

        Of these versions by key: a branch has others than what is packed.
        """
        members = self._members.get(group)
        if members is None:
            return iter(())
        if versions is self._packed:
            found = map(self._packed.newest, members.order(newest_first=newest_first))
        else:
            keys = members.keys(newest_first=newest_first)
            found = map(Versions.at, map(versions.__getitem__, keys))
        return (one for one in found if one is not None)

    def count(self, group: str) -> int:
        """Return how many a group has."""
        members = self._members.get(group)
        return 0 if members is None else len(members)

    def __iter__(self) -> Iterator[str]:
        """Yield the groups that have or had any."""
        return iter(self._members)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Groups):
            return NotImplemented
        return {group: list(self.keys(group)) for group in self} == {
            group: list(other.keys(group)) for group in other
        }

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> Groups[K, D]:
        """Return groups that go their own way; it costs what is touched."""
        return Groups(self._packed, Overlay(self._members, copy))
