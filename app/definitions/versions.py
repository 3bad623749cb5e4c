"""The history of one object of the definitions log."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Coming:
    """Versions of many objects by one record: promised in small steps, in force all at once."""

    __slots__ = ("append_time_ms", "is_here", "offset")

    def __init__(self, append_time_ms: int, offset: int):
        self.append_time_ms = append_time_ms
        self.offset = offset
        self.is_here = False
        """Whether all of them are in force: every look-up then sees the new versions."""


class Versions(Generic[T]):
    """Append-only versions of one object, each in force from its append time on.

    A deleted object has None as its version; a later one may follow under the same key.
    """

    __slots__ = ("_append_times_ms", "_objects", "_offsets", "_promised", "_told")

    def __init__(self) -> None:
        self._append_times_ms = array("q")
        self._offsets = array("q")
        self._objects: list[T | None] = []
        self._told: tuple[int, list[int]] | None = None
        """(versions looked at, what `changes_of` found)"""
        self._promised: tuple[Coming, T] | None = None

    def at(self, at_ms: int | None = None) -> T | None:
        """Return the version in force at a moment (None: the newest); None before the first."""
        if self._promised is not None:
            self._settle()
        if at_ms is None:
            return self._objects[-1] if self._objects else None
        i = self._count_until(at_ms)
        return self._objects[i - 1] if i else None

    def only(self) -> T | None:
        """Return the one version of an object that never changed; None: it did, or is deleted."""
        if self._promised is not None:
            self._settle()
        objects = self._objects
        return objects[0] if len(objects) == 1 else None

    def last_before_deletion(self, at_ms: int | None = None) -> T | None:
        """Return what `at` returns, or the last version of an object deleted by then."""
        self._settle()
        i = len(self._objects) if at_ms is None else self._count_until(at_ms)
        while i and self._objects[i - 1] is None:
            i -= 1
        return self._objects[i - 1] if i else None

    def until_deleted(self, offset: int) -> Versions[T]:
        """Return the versions up to the first deletion after a record of the log.

        Append times cannot tell it: an object may be deleted and made anew within a millisecond.
        """
        self._settle()
        for i in range(bisect_right(self._offsets, offset), len(self._objects)):
            if self._objects[i] is None:
                life: Versions[T] = Versions()
                life._append_times_ms = self._append_times_ms[:i]
                life._offsets = self._offsets[:i]
                life._objects = self._objects[:i]
                return life
        return self

    @staticmethod
    def joined(parts: Iterable[tuple[int, int, Versions[T]]]) -> Versions[T]:
        """Return versions of one object after the other, for what is now this one and now that.

        Each part says from which append time and which offset on it holds; the first always did.
        """
        whole: Versions[T] = Versions()
        for number, (at_ms, offset, part) in enumerate(parts):
            part._settle()
            begins = bisect_left(whole._offsets, offset) if number else 0
            del whole._append_times_ms[begins:], whole._offsets[begins:], whole._objects[begins:]
            known = bisect_right(part._offsets, offset) if number else 0
            if known:
                whole._append(at_ms, offset, part._objects[known - 1])
            for i in range(known, len(part._objects)):
                whole._append(part._append_times_ms[i], part._offsets[i], part._objects[i])
        return whole

    def all(self) -> Iterator[T]:
        """Return every version that is an object, oldest first."""
        self._settle()
        return (obj for obj in self._objects if obj is not None)

    def entries(self) -> Iterator[tuple[int, int, T | None]]:
        """Return append time in ms, offset and object of each version; None is a deletion."""
        self._settle()
        return zip(self._append_times_ms, self._offsets, self._objects, strict=True)

    @property
    def changes(self) -> Sequence[int]:
        """Append times of the versions in ms, ascending; equal ones are possible."""
        self._settle()
        return self._append_times_ms

    def changes_of(self, shape: Callable[[T], object]) -> Sequence[int]:
        """Return append times in ms at which the shape changed; a deletion changes no shape.

        Callers always pass the same `shape`: the answer is kept until the next version.
        """
        self._settle()
        if self._told is None or self._told[0] != len(self._objects):
            found: list[int] = []
            before: object = None
            for at_ms, version in zip(self._append_times_ms, self._objects, strict=True):
                if version is not None and (now := shape(version)) != before:
                    before = now
                    found.append(at_ms)
            self._told = len(self._objects), found
        return self._told[1]

    @property
    def offsets(self) -> Sequence[int]:
        """Offsets in the log of the records that made the versions."""
        self._settle()
        return self._offsets

    def push(self, append_time_ms: int, offset: int, obj: T | None) -> None:
        """Add a version; times never go back (`ValueError`)."""
        self._settle()
        self._check_follows(append_time_ms)
        self._append(append_time_ms, offset, obj)

    def promise(self, coming: Coming, obj: T) -> None:
        """Add a version that nobody sees until all that comes with it is here.

        One that was promised before and never came is forgotten.
        """
        self._settle()
        self._check_follows(coming.append_time_ms)
        self._promised = coming, obj

    def is_promised(self, coming: Coming) -> bool:
        """Return True if a version of the object is promised with these."""
        return self._promised is not None and self._promised[0] is coming

    def replace_newest(self, obj: T) -> None:
        """Replace the newest version by an object that acts alike in the past.

        The append time and the offset of the newest version stay.
        """
        self._settle()
        self._objects[-1] = obj

    def _settle(self) -> None:
        promised = self._promised
        if promised is not None and promised[0].is_here:
            coming, obj = promised
            self._promised = None
            self._append(coming.append_time_ms, coming.offset, obj)

    def _check_follows(self, append_time_ms: int) -> None:
        if self._append_times_ms and append_time_ms < self._append_times_ms[-1]:
            raise ValueError("a version older than the newest one")

    def _append(self, append_time_ms: int, offset: int, obj: T | None) -> None:
        self._append_times_ms.append(append_time_ms)
        self._offsets.append(offset)
        self._objects.append(obj)

    def _count_until(self, at_ms: int) -> int:
        return bisect_right(self._append_times_ms, at_ms)

    def __copy__(self) -> Self:
        """Return a copy with the same versions; both go on independently."""
        self._settle()
        copied = type(self)()
        copied._append_times_ms = self._append_times_ms[:]
        copied._offsets = self._offsets[:]
        copied._objects = list(self._objects)
        return copied

    def __len__(self) -> int:
        self._settle()
        return len(self._objects)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Versions):
            return NotImplemented
        self._settle()
        other._settle()
        return (
            self._append_times_ms == other._append_times_ms
            and self._offsets == other._offsets
            and self._objects == other._objects
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        self._settle()
        return f"Versions({list(zip(self._append_times_ms, self._objects, strict=True))!r})"
