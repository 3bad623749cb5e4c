"""The history of one object of the definitions log."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Versions(Generic[T]):
    """Append-only versions of one object, each in force from its append time on.

    A deleted object has None as its version; a later one may follow under the same key.
    """

    __slots__ = ("_append_times_ms", "_objects", "_offsets")

    def __init__(self) -> None:
        self._append_times_ms: list[int] = []
        self._offsets: list[int] = []
        self._objects: list[T | None] = []

    def at(self, at_ms: int | None = None) -> T | None:
        """The version in force at a moment (None: the newest); None before the first."""
        if at_ms is None:
            return self._objects[-1] if self._objects else None
        i = self._count_until(at_ms)
        return self._objects[i - 1] if i else None

    def last_before_deletion(self, at_ms: int | None = None) -> T | None:
        """Like `at`, but of an object deleted by then, how it last was."""
        i = len(self._objects) if at_ms is None else self._count_until(at_ms)
        while i and self._objects[i - 1] is None:
            i -= 1
        return self._objects[i - 1] if i else None

    def until_deleted(self, offset: int) -> Versions[T]:
        """The versions up to the first deletion after a record of the log.

        Append times cannot tell it: an object may be deleted and made anew within a millisecond.
        """
        for i in range(bisect_right(self._offsets, offset), len(self._objects)):
            if self._objects[i] is None:
                life: Versions[T] = Versions()
                life._append_times_ms = self._append_times_ms[:i]
                life._offsets = self._offsets[:i]
                life._objects = self._objects[:i]
                return life
        return self

    def all(self) -> Iterator[T]:
        """Every version that is an object, oldest first."""
        return (obj for obj in self._objects if obj is not None)

    @property
    def changes(self) -> Sequence[int]:
        """Append times of the versions in ms, ascending; equal ones are possible."""
        return self._append_times_ms

    @property
    def offsets(self) -> Sequence[int]:
        """Offsets in the log of the records that made the versions."""
        return self._offsets

    def push(self, append_time_ms: int, offset: int, obj: T | None) -> None:
        """Add a version; times never go back (`ValueError`)."""
        if self._append_times_ms and append_time_ms < self._append_times_ms[-1]:
            raise ValueError("a version older than the newest one")
        self._append_times_ms.append(append_time_ms)
        self._offsets.append(offset)
        self._objects.append(obj)

    def _count_until(self, at_ms: int) -> int:
        return bisect_right(self._append_times_ms, at_ms)

    def __copy__(self) -> Versions[T]:
        """The same versions; each goes on by itself."""
        copied: Versions[T] = Versions()
        copied._append_times_ms = list(self._append_times_ms)
        copied._offsets = list(self._offsets)
        copied._objects = list(self._objects)
        return copied

    def __len__(self) -> int:
        return len(self._objects)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Versions):
            return NotImplemented
        return (
            self._append_times_ms == other._append_times_ms
            and self._offsets == other._offsets
            and self._objects == other._objects
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Versions({list(zip(self._append_times_ms, self._objects, strict=True))!r})"
