"""The events that an offline fold took, in memory or in a temporary file."""

from __future__ import annotations

import tempfile
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import cached_property
from operator import attrgetter
from typing import IO, NamedTuple, Self

import msgspec

from app.wire.arrivals import Arrival, Position, SubscriptionKey

IN_MEMORY = 50_000
"""Events kept in memory before they are written to the file."""


class ArrivalLog:
    """Every event that was taken, kept for refolds; used by `with` where there may be many.

    Memory does not grow with them. The file has no name and leaves nothing behind.
    """

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._recent: dict[SubscriptionKey, list[Arrival]] = {}
        self._recent_count = 0
        self._pages: dict[SubscriptionKey, list[_Page]] = {}
        """Each subscription's pages, in the order of writing."""
        self._looked_into: tuple[int, Sequence[Arrival]] = (-1, ())
        """(start in the file, arrivals) of the page that `at` read last."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @cached_property
    def _file(self) -> IO[bytes]:
        """The file, made for the first page: few events need none."""
        return tempfile.TemporaryFile(prefix="meter-fold-")

    def take(self, arrivals: Sequence[Arrival]) -> None:
        """Keep more arrivals, in order of position."""
        for arrival in arrivals:
            self._recent.setdefault(arrival.name, []).append(arrival)
        self._recent_count += len(arrivals)
        if self._recent_count > self._in_memory:
            self._write()

    def of(self, name: SubscriptionKey) -> Iterator[Sequence[Arrival]]:
        """Yield the arrivals of an external subscription, in the order they were taken."""
        for page in self._pages.get(name, ()):
            yield self._read(page)
        yield self._recent.get(name, ())

    def at(self, name: SubscriptionKey, position: Position) -> Arrival | None:
        """Return the arrival of an external subscription at a position, if it was taken."""
        pages = self._pages.get(name, ())
        number = bisect_left(pages, position, key=attrgetter("last"))
        if number == len(pages):
            return _arrival_at(self._recent.get(name, ()), position)
        page = pages[number]
        if self._looked_into[0] != page.start:
            self._looked_into = page.start, self._read(page)
        return _arrival_at(self._looked_into[1], position)

    def _read(self, page: _Page) -> Sequence[Arrival]:
        self._file.seek(page.start)
        return _DECODER.decode(self._file.read(page.size))

    def _write(self) -> None:
        at = self._file.seek(0, 2)
        for name, arrivals in self._recent.items():
            written = _ENCODER.encode(arrivals)
            page = _Page(at, len(written), arrivals[-1].position)
            self._pages.setdefault(name, []).append(page)
            at += self._file.write(written)
        self._recent.clear()
        self._recent_count = 0


class _Page(NamedTuple):
    """Where arrivals of a subscription are kept."""

    start: int
    size: int
    last: Position


def _arrival_at(arrivals: Sequence[Arrival], position: Position) -> Arrival | None:
    """Return the one of arrivals in order that has a position."""
    number = bisect_left(arrivals, position, key=attrgetter("position"))
    found = arrivals[number] if number < len(arrivals) else None
    return found if found is not None and found.position == position else None


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Arrival])
