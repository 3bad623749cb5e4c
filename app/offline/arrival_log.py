"""Keep the events of the offline fold in a temporary file: memory does not grow with the log."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Self

import msgspec

from app.wire.arrivals import Arrival, SubscriptionKey

IN_MEMORY = 50_000
"""Events kept in memory before they are written to the file."""


class ArrivalsOnDisk:
    """An `ArrivalLog`, used by `with`. The file has no name and leaves nothing behind."""

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._in_memory = in_memory
        self._recent: dict[SubscriptionKey, list[Arrival]] = {}
        self._recent_count = 0
        self._pages: dict[SubscriptionKey, list[tuple[int, int]]] = {}
        """(start in the file, bytes) of each subscription's pages, in the order of writing."""
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="meter-fold-")  # noqa: SIM115

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def take(self, arrivals: Sequence[Arrival]) -> None:
        """Keep more arrivals, in order of position."""
        for arrival in arrivals:
            self._recent.setdefault(arrival.name, []).append(arrival)
        self._recent_count += len(arrivals)
        if self._recent_count > self._in_memory:
            self._write()

    def of(self, name: SubscriptionKey) -> Iterator[Sequence[Arrival]]:
        """Yield the arrivals of an external subscription, in the order they were taken."""
        for start, size in self._pages.get(name, ()):
            self._file.seek(start)
            yield _DECODER.decode(self._file.read(size))
        yield self._recent.get(name, ())

    def _write(self) -> None:
        at = self._file.seek(0, 2)
        for name, arrivals in self._recent.items():
            page = _ENCODER.encode(arrivals)
            self._pages.setdefault(name, []).append((at, len(page)))
            at += self._file.write(page)
        self._recent.clear()
        self._recent_count = 0


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(list[Arrival])
