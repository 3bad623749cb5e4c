"""The events that an offline fold took, in memory or in a temporary file."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from operator import attrgetter
from pathlib import Path
from tempfile import gettempdir
from typing import NamedTuple

import msgspec

from app.wire.arrivals import Arrival, Position, SubscriptionKey
from tables.spool import UnnamedFile

IN_MEMORY = 50_000
"""Events kept in memory before they are written to the file."""


class ArrivalLog:
    """Every event that was taken, kept for refolds: memory does not grow with them."""

    def __init__(self) -> None:
        self._recent: dict[SubscriptionKey, list[Arrival]] = {}
        self._recent_count = 0
        self._file = UnnamedFile(Path(gettempdir()))
        self._end = 0
        self._pages: dict[SubscriptionKey, list[_Page]] = {}
        """Each subscription's pages, in the order of writing."""
        self._looked_into: tuple[int, Sequence[Arrival]] = (-1, ())
        """(start in the file, arrivals) of the page that `at` read last."""

    def take(self, arrivals: Sequence[Arrival]) -> None:
        """Keep more arrivals, in order of position."""
        for arrival in arrivals:
            self._recent.setdefault(arrival.name, []).append(arrival)
        self._recent_count += len(arrivals)
        if self._recent_count > IN_MEMORY:
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
        return _DECODER.decode(self._file.read(page.start, page.size))

    def _write(self) -> None:
        for name, arrivals in self._recent.items():
            written = _ENCODER.encode(arrivals)
            self._file.write(written, self._end)
            page = _Page(self._end, len(written), arrivals[-1].position)
            self._pages.setdefault(name, []).append(page)
            self._end += len(written)
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
