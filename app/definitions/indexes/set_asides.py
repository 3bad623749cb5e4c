"""Places of the raw topic that no fold looks at, by raw partition."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field

from app.definitions.indexes.index import Index
from app.definitions.model import SetAside

_Place = tuple[int, int]
"""(first offset, offset after the last)"""


@dataclass
class Aside(Index):
    """What is set aside of one raw partition."""

    _ranges: list[_Place] = field(default_factory=list)
    _elements: MutableMapping[int, set[int]] = field(default_factory=dict)
    end: int = 0
    """The first offset from which on nothing is set aside."""

    def add(self, one: SetAside) -> None:
        """Set raw records, or one element of one, aside as well."""
        self.end = max(self.end, one.offset + one.count)
        if one.index is not None:
            self._elements.setdefault(one.offset, set()).add(one.index)
            return
        first, after, ranges = one.offset, one.offset + one.count, self._ranges
        # Those that it meets become one with it; the others stay, however many there are.
        begin = bisect_left(ranges, first, key=lambda place: place[1])
        end = bisect_right(ranges, after, key=lambda place: place[0])
        if begin < end:
            first, after = min(first, ranges[begin][0]), max(after, ranges[end - 1][1])
        ranges[begin:end] = [(first, after)]

    def touches(self, offset: int) -> bool:
        """Return True if a record, or an element of it, is set aside."""
        return offset in self._elements or self.holds(offset)

    def holds(self, offset: int) -> bool:
        """Return True if a whole record is set aside: its bytes are not even read."""
        return self.after(offset) > offset

    def holds_element(self, offset: int, index: int) -> bool:
        """Return True if one element is set aside on its own, wherever it was forwarded."""
        return index in self._elements.get(offset, ())

    def after(self, offset: int) -> int:
        """Return the first offset from this one on that is not set aside."""
        i = bisect_right(self._ranges, offset, key=lambda place: place[0]) - 1
        return max(offset, self._ranges[i][1]) if i >= 0 else offset


@dataclass
class SetAsides(Index):
    """Everything that is set aside, by raw partition."""

    _by_partition: MutableMapping[int, Aside] = field(default_factory=dict)
    _listed: MutableMapping[str, SetAside] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    """Records and elements on the list, by code."""

    def of(self, partition: int) -> Aside | None:
        """Return what is set aside of a partition; None, as nearly always: nothing."""
        return self._by_partition.get(partition)

    def ends(self) -> dict[int, int]:
        """Return the first offset from which on nothing is set aside, by partition."""
        return {partition: aside.end for partition, aside in self._by_partition.items()}

    def commit(self, one: SetAside) -> None:
        """Take a set-aside record over."""
        self.foresee([one])
        self.lift(one.id)
        self._listed[one.id] = one
        self.counts[one.code] += one.count

    def lift(self, identity: str) -> None:
        """Take a set-aside record off the list."""
        one = self._listed.pop(identity, None)
        if one is not None:
            self.counts[one.code] -= one.count

    def listed(self) -> list[SetAside]:
        """Return the set-aside records that are not lifted, in the order of the log."""
        return list(self._listed.values())

    def find(self, identity: str) -> SetAside | None:
        """Return the set-aside record with this id; None: there is none, or it is lifted."""
        return self._listed.get(identity)

    def foresee(self, named: Iterable[SetAside]) -> None:
        """Set places aside before the log is applied up to the records that name them."""
        for one in named:
            self._by_partition.setdefault(one.partition, Aside()).add(one)
