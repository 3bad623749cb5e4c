"""Names: the subscriptions or alerts under an external id."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from itertools import chain, islice
from typing import Generic, Self

import numpy as np
from numpy.typing import NDArray

from app.definitions.indexes.forms import D, PlainLife, Row, SubscriptionForm
from app.definitions.indexes.index import CodeKey, Index
from app.definitions.indexes.packed import PackedVersions
from app.definitions.indexes.places import Places
from app.definitions.model import Subscription
from app.definitions.versions import Versions


class Names(Index, Generic[D]):
    """Ids of objects by what they are called, in creation order. It never changes for one."""

    def __init__(
        self,
        packed: PackedVersions[str, D],
        name_of: Callable[[D], CodeKey],
        name_in: Callable[[Row], CodeKey],
    ):
        """Find objects by a name, which `name_in` reads of one that is packed."""
        self._packed = packed
        self._name_of = name_of
        self._name_in = name_in
        self._places = Places()
        """Where the first of each name is."""
        self._more: dict[int, array[int]] = {}
        """Numbers of all others of its name, by the number of the first."""
        self._again = array("I")
        """Numbers of all that are not the first of their name."""
        self._firsts_of_again = array("I")
        """Number of the first of its name, of each of these."""
        self._branched: int | None = None
        """How many there were when this began as a branch: of others it knows its own only."""
        self._own: dict[CodeKey, list[str]] = {}
        """Ids of what was made in the branch, and has no number."""
        self._asked: tuple[CodeKey, Sequence[Versions[D]]] | None = None
        """What was asked for last: whoever makes or folds something asks more than once."""
        self._walked: tuple[CodeKey, int] | None = None
        """What was yielded or found last, and the number of the first: it is asked for next."""

    def found(self, name: CodeKey, versions: Mapping[str, Versions[D]]) -> Sequence[Versions[D]]:
        """Return those under a name that has few, of these versions by id."""
        asked = self._asked
        if asked is None or asked[0] != name:
            if self._branched is not None:
                several = [versions[identity] for identity in self.ids(name)]
            elif (one := self._first_of(name)) is None:
                several = []
            else:
                several = [one[1], *map(self._packed.numbered, self._more.get(one[0], ()))]
            asked = self._asked = name, several
        return asked[1]

    def later(
        self, name: CodeKey, versions: Mapping[str, Versions[D]], first: int
    ) -> Sequence[Versions[D]]:
        """Return those under a name without the first ones, of these versions by id."""
        if self._branched is None:
            return [self._packed.numbered(number) for number in self._numbers(name)[first:]]
        return [versions[identity] for identity in islice(self.ids(name), first, None)]

    def at(
        self, name: CodeKey, versions: Mapping[str, Versions[D]], places: Sequence[int] | None
    ) -> Iterator[Versions[D]]:
        """Yield those at some places of a name, of these versions by id; None: at all places.

        Those that the name has now, though more come meanwhile, or some of them end.
        """
        numbers, own = self._numbers(name), self._own.get(name, ())
        packed, known = self._packed, len(numbers)
        for place in range(known + len(own)) if places is None else places[:]:
            if place >= known:
                yield versions[own[place - known]]
            elif self._branched is None:
                yield packed.numbered(numbers[place])
            else:
                yield versions[packed.key_of(numbers[place])]

    def place_of(self, name: CodeKey, identity: str) -> int:
        """Return the place of an id among those under a name."""
        numbers, number = self._numbers(name), self._packed.number_of(identity)
        place = len(numbers) if number is None else bisect_left(numbers, number)
        if place < len(numbers) and numbers[place] == number:
            return place
        return len(numbers) + self._own[name].index(identity)

    def count(self, name: CodeKey) -> int:
        """Return how many there are of a name."""
        return len(self._numbers(name)) + len(self._own.get(name, ()))

    def numbers(self, name: CodeKey) -> NDArray[np.uint32]:
        """Return the numbers of those under a name, newest first. Not of a branch."""
        return np.array(self._numbers(name), np.uint32)[::-1]

    def ids(self, name: CodeKey, *, newest_first: bool = False) -> Iterator[str]:
        """Return the ids under a name, as they are now, though more come meanwhile."""
        numbers, own = self._numbers(name), self._own.get(name, [])[:]
        key_of = self._packed.key_of
        if newest_first:
            return chain(reversed(own), map(key_of, reversed(numbers)))
        return chain(map(key_of, numbers), own)

    def _numbers(self, name: CodeKey) -> Sequence[int]:
        one = self._first_of(name)
        if one is None:
            return ()
        first, more = one[0], self._more.get(one[0])
        numbers = (first,) if more is None else array("I", (first,)) + more
        if self._branched is None:
            return numbers
        return numbers[: bisect_left(numbers, self._branched)]

    def _first_of(self, name: CodeKey) -> tuple[int, Versions[D]] | None:
        """Return the first of a name, with its number."""
        for first in self._places.find(hash(name)):
            versions = self._packed.numbered(first)
            one = versions.last_before_deletion()
            if one is not None and self._name_of(one) == name:
                return first, versions
        return None

    def has(self, name: CodeKey) -> bool:
        """Return whether there is any of a name. Nothing is kept at hand: it is asked of many."""
        known = len(self._packed) if self._branched is None else self._branched
        return name in self._own or any(
            first < known and self._name_in(self._packed.row(first)) == name
            for first in self._places.find(hash(name))
        )

    def add(self, one: D, number: int | None) -> int:
        """Find one that is new by its name; return how many have the name by now.

        None for its number: it has none.
        """
        name, asked, self._asked = self._name_of(one), self._asked, None
        if number is None or self._branched is not None:
            self._own.setdefault(name, []).append(one.id)
            return self.count(name)
        hashed = hash(name)
        if asked is None or asked[0] != name or asked[1]:
            for first in self._places.find(hashed):
                if self._name_in(self._packed.row(first)) == name:
                    more = self._more.setdefault(first, array("I"))
                    more.append(number)
                    self._again.append(number)
                    self._firsts_of_again.append(first)
                    return len(more) + 1
        self._places.add(hashed, number)
        return 1

    def __iter__(self) -> Iterator[CodeKey]:
        """Yield all names that there are now, each once, though more come meanwhile."""
        own = list(self._own)
        for number in self.firsts(0):
            yield self.walked(number)
        for name in own:
            if not self._numbers(name):
                yield name

    def again(self, numbers: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Return those of some numbers that are not the first of their name. Not of a branch."""
        if not self._again:
            return numbers[:0]
        again = np.frombuffer(self._again, np.uint32)
        found: NDArray[np.uint32] = numbers[again[np.searchsorted(again[:-1], numbers)] == numbers]
        return found

    def firsts_of(self, again: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """Return the number of the first of its name, of each that `again` found."""
        if not len(again):
            return again
        places = np.searchsorted(np.frombuffer(self._again, np.uint32), again)
        return np.frombuffer(self._firsts_of_again, np.uint32)[places]

    def firsts(self, since: int) -> Iterator[int]:
        """Yield numbers from one on, but of those that are not the first of their name."""
        end = len(self._packed) if self._branched is None else self._branched
        again = iter(self._again[bisect_left(self._again, since) :])
        passed_over = next(again, -1)
        for number in range(since, end):
            if number == passed_over:
                passed_over = next(again, -1)
            else:
                yield number

    def walked(self, number: int) -> CodeKey:
        """Return the name of the first of it, to whoever asks of very many and of this one next."""
        name = self._name_in(self._packed.row(number))
        if self._branched is None:
            self._walked = name, number
        return name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Names):
            return NotImplemented
        return {n: list(self.ids(n)) for n in self} == {n: list(other.ids(n)) for n in other}

    __hash__ = None  # type: ignore[assignment]

    def copy(self) -> Self:
        """Return names that go their own way; only those of a branch are copied."""
        copied = copy(self)
        copied._own = {name: list(ids) for name, ids in self._own.items()}
        copied._asked = copied._walked = None
        if self._branched is None:
            copied._branched = len(self._packed)
        return copied


class SubscriptionNames(Names[Subscription]):
    """Subscriptions by the external id of their own, or of their customer."""

    def __init__(
        self,
        packed: PackedVersions[str, Subscription],
        name_of: Callable[[Subscription], CodeKey],
        name_in: Callable[[Row], CodeKey],
        form: SubscriptionForm,
    ):
        super().__init__(packed, name_of, name_in)
        self._form = form

    def life(self, name: CodeKey) -> PlainLife | None:
        """Return what the periods of the only one of a name hang on.

        None: there are others, it changed, or it ends. In a branch it cannot be told. Nothing is
        kept at hand: it is asked of very many.
        """
        row = self._row_of(name)
        return None if row is None else self._form.life(row)

    def lived(self, name: CodeKey) -> tuple[PlainLife, Subscription] | None:
        """Return what `life` does, and the subscription itself."""
        for first in self._places.find(hash(name)) if self._branched is None else ():
            row = self._packed.packed_row(first)
            lived = None if row is None else self._form.lived(row)
            if lived is not None and self._name_of(lived[1]) == name:
                return None if first in self._more else lived
        return None

    def _row_of(self, name: CodeKey) -> Row | None:
        walked = self._walked
        if walked is not None and walked[0] == name:
            first = walked[1]
            row = self._packed.packed_row(first)
        else:
            for first in self._places.find(hash(name)) if self._branched is None else ():
                row = self._packed.packed_row(first)
                if row is not None and self._name_in(row) == name:
                    self._walked = name, first
                    break
            else:
                return None
        return None if first in self._more else row
