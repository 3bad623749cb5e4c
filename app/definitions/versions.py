"""The history of one object of the definitions log."""

from __future__ import annotations

from abc import abstractmethod
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Self, TypeAlias, TypeVar

import msgspec

T = TypeVar("T")


class Differing(msgspec.Struct, Generic[T], frozen=True, gc=False):
    """A version of which only that is kept in which it differs from the one before."""

    @abstractmethod
    def whole(self) -> T:
        """Return the version: another object each time, but for a while."""


Kept: TypeAlias = T | Differing[T] | None
"""A version as it is kept; None: a deletion."""


class Coming:
    """Versions of many objects by one record: promised in small steps, in force all at once."""

    __slots__ = ("append_time_ms", "is_here", "offset")

    def __init__(self, append_time_ms: int, offset: int):
        self.append_time_ms = append_time_ms
        self.offset = offset
        self.is_here = False
        """Whether all of them are in force: every look-up then sees the new versions."""


class _Several(Generic[T]):
    """Append times, offsets and objects of several versions."""

    __slots__ = ("append_times_ms", "objects", "offsets", "told")

    def __init__(
        self, append_times_ms: Iterable[int], offsets: Iterable[int], objects: list[Kept[T]]
    ):
        self.append_times_ms = array("q", append_times_ms)
        self.offsets = array("q", offsets)
        self.objects = objects
        self.told: tuple[int, list[int]] | None = None
        """(versions looked at, what `changes_of` found)"""


class Versions(Generic[T]):
    """Append-only versions of one object, each in force from its append time on.

    A deleted object has None as its version; a later one may follow under the same key.
    Of a million objects most never change: one version takes no lists.
    """

    __slots__ = (
        "__weakref__",
        "_append_time_ms",
        "_object",
        "_offset",
        "_promised",
        "_several",
    )

    def __init__(
        self, append_time_ms: int | None = None, offset: int = -1, one: T | None = None
    ) -> None:
        """Begin with one version, or with none."""
        self._append_time_ms = append_time_ms
        """Append time of the one version; None: there are several, or none."""
        self._offset = offset
        self._object = one
        self._several: _Several[T] | None = None
        self._promised: tuple[Coming, T | None] | None = None

    @property
    def _objects(self) -> Sequence[Kept[T]]:
        if self._several is not None:
            return self._several.objects
        return () if self._append_time_ms is None else (self._object,)

    def at(self, at_ms: int | None = None) -> T | None:
        """Return the version in force at a moment (None: the newest); None before the first."""
        if self._promised is not None:
            self._settle()
        several = self._several
        if several is None:
            # Of none the object is None, too.
            if at_ms is None or (first_ms := self._append_time_ms) is None or first_ms <= at_ms:
                return self._object
            return None
        if at_ms is None:
            found = several.objects[-1]
        elif i := bisect_right(several.append_times_ms, at_ms):
            found = several.objects[i - 1]
        else:
            return None
        # As `_whole` does, without a call: this is asked for at each first touch, many times.
        return found.whole() if isinstance(found, Differing) else found

    def only(self) -> T | None:
        """Return the one version of an object that never changed; None: it did, or is deleted."""
        if self._promised is not None:
            self._settle()
        return self._object

    def last_before_deletion(self, at_ms: int | None = None) -> T | None:
        """Return what `at` returns, or the last version of an object deleted by then."""
        found = self.at(at_ms)
        if found is not None:
            return found
        i = len(self._objects) if at_ms is None else bisect_right(self.changes, at_ms)
        while i and self._objects[i - 1] is None:
            i -= 1
        return _whole(self._objects[i - 1]) if i else None

    def until_deleted(self, offset: int) -> Versions[T]:
        """Return the versions up to the first deletion after a record of the log.

        Append times cannot tell it: an object may be deleted and made anew within a millisecond.
        """
        for i in range(bisect_right(self.offsets, offset), len(self._objects)):
            if self._objects[i] is None:
                return self._first(i)
        return self

    @staticmethod
    def joined(parts: Iterable[tuple[int, int, Versions[T]]]) -> Versions[T]:
        """Return versions of one object after the other, for what is now this one and now that.

        Each part says from which append time and which offset on it holds; the first always did.
        """
        whole: Versions[T] = Versions()
        for number, (at_ms, offset, part) in enumerate(parts):
            times_ms, offsets = part.changes, part.offsets
            begins = bisect_left(whole.offsets, offset) if number else 0
            if begins < len(whole):
                whole = whole._first(begins)
            known = bisect_right(offsets, offset) if number else 0
            if known:
                # The one before it is now another object's.
                whole._append(at_ms, offset, _whole(part._objects[known - 1]))
            for i in range(known, len(part._objects)):
                whole._append(times_ms[i], offsets[i], part._objects[i])
        return whole

    def all(self) -> Iterator[T]:
        """Return every version that is an object, oldest first."""
        self._settle()
        if self._several is None:
            return iter(() if self._object is None else (self._object,))
        kept = self._several.objects
        return (
            each.whole() if isinstance(each, Differing) else each
            for each in kept
            if each is not None
        )

    def kept_whole(self) -> Iterator[T]:
        """Return versions, oldest first, but none that is kept by what differs from the one before.

        Of a plan these are all that differ in anything but amounts and properties.
        """
        self._settle()
        kept = self._objects
        return (each for each in kept if each is not None and not isinstance(each, Differing))

    def entries(self) -> Iterator[tuple[int, int, T | None]]:
        """Return append time in ms, offset and object of each version; None is a deletion."""
        times_ms, offsets = self.changes, self.offsets
        return zip(times_ms, offsets, (_whole(kept) for kept in self._objects), strict=True)

    @property
    def changes(self) -> Sequence[int]:
        """Append times of the versions in ms, ascending; equal ones are possible."""
        if self._promised is not None:
            self._settle()
        if self._several is not None:
            return self._several.append_times_ms
        return () if self._append_time_ms is None else (self._append_time_ms,)

    def changes_of(self, shape: Callable[[T], object]) -> Sequence[int]:
        """Return append times in ms at which the shape changed; a deletion changes no shape.

        Callers always pass the same `shape`: the answer is kept until the next version. Where only
        what differs is kept of one, its shape is that of the one before.
        """
        if self._promised is not None:
            self._settle()
        several = self._several
        if several is None:
            return self.changes if self._object is not None else ()
        if several.told is None or several.told[0] != len(several.objects):
            found: list[int] = []
            before: object = None
            for at_ms, version in zip(several.append_times_ms, several.objects, strict=True):
                if version is None or isinstance(version, Differing):
                    continue
                if (now := shape(version)) != before:
                    before = now
                    found.append(at_ms)
            several.told = len(several.objects), found
        return several.told[1]

    @property
    def offsets(self) -> Sequence[int]:
        """Offsets in the log of the records that made the versions."""
        self._settle()
        if self._several is not None:
            return self._several.offsets
        return () if self._append_time_ms is None else (self._offset,)

    def push(self, append_time_ms: int, offset: int, obj: T | None) -> None:
        """Add a version; times never go back (`ValueError`).

        One that is promised and is not here never comes, and is forgotten.
        """
        self._settle()
        self._promised = None
        self._check_follows(append_time_ms)
        self._append(append_time_ms, offset, obj)

    def promise(self, coming: Coming, obj: T | None) -> None:
        """Add a version, or a deletion, that nobody sees until all that comes with it is here.

        One that was promised before and never came is forgotten.
        """
        self._settle()
        self._check_follows(coming.append_time_ms)
        self._promised = coming, obj

    def single(self) -> tuple[int, int, T] | None:
        """Return append time in ms, offset and object of one that never changed; None: it did.

        It is none if another is promised.
        """
        first_ms, one = self._append_time_ms, self._object
        if self._promised is not None or first_ms is None or one is None:
            return None
        return first_ms, self._offset, one

    @property
    def promised(self) -> tuple[Coming, T | None] | None:
        """What is promised and is not here, with that which brings it; None: nothing is."""
        self._settle()
        return self._promised

    def is_promised(self, coming: Coming) -> bool:
        """Return True if a version of the object is promised with these."""
        return self._promised is not None and self._promised[0] is coming

    def replace_newest(self, obj: T) -> None:
        """Replace the newest version by an object that acts alike in the past.

        The append time and the offset of the newest version stay. What is promised is forgotten,
        as by a push.
        """
        self._settle()
        self._promised = None
        if self._several is None:
            self._object = obj
        else:
            self._several.objects[-1] = obj

    def _settle(self) -> None:
        promised = self._promised
        if promised is not None and promised[0].is_here:
            coming, obj = promised
            self._promised = None
            self._append(coming.append_time_ms, coming.offset, obj)

    def _check_follows(self, append_time_ms: int) -> None:
        times_ms = self.changes
        if times_ms and append_time_ms < times_ms[-1]:
            raise ValueError("a version older than the newest one")

    def _append(self, append_time_ms: int, offset: int, obj: Kept[T]) -> None:
        several = self._several
        if several is not None:
            several.append_times_ms.append(append_time_ms)
            several.offsets.append(offset)
            several.objects.append(obj)
        elif self._append_time_ms is None:
            self._append_time_ms, self._offset, self._object = append_time_ms, offset, _whole(obj)
        else:
            self._several = _Several(
                (self._append_time_ms, append_time_ms), (self._offset, offset), [self._object, obj]
            )
            self._append_time_ms, self._offset, self._object = None, -1, None

    def __copy__(self) -> Self:
        """Return a copy with the same versions; both go on independently."""
        self._settle()
        return self._first(len(self._objects))

    def _first(self, count: int) -> Self:
        """Return the first versions as versions of their own."""
        copied = type(self)()
        if count > 1:
            times_ms, offsets = self.changes[:count], self.offsets[:count]
            copied._several = _Several(times_ms, offsets, list(self._objects[:count]))
        elif count:
            copied._append_time_ms, copied._offset = self.changes[0], self.offsets[0]
            copied._object = _whole(self._objects[0])
        return copied

    def __len__(self) -> int:
        self._settle()
        return len(self._objects)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Versions):
            return NotImplemented
        return list(self.entries()) == list(other.entries())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Versions({list(self.entries())!r})"


def _whole(kept: Kept[T]) -> T | None:
    return kept.whole() if isinstance(kept, Differing) else kept
