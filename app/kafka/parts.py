"""Records by the batches that they were fetched in, each made when somebody asks for it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any, overload

import msgspec


class Fetched(msgspec.Struct, gc=False):
    """A record of a batch that `app.kernel` has split, as aiokafka would give it."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    @property
    def checksum(self) -> None:
        """None: no record of the current format has one."""


_offset = attrgetter("offset")


class Parts(Sequence[Any]):
    """Records of one partition, as the batches that were read have them."""

    def __init__(self, parts: Iterable[Sequence[Any]] = ()) -> None:
        self.parts = [part for part in parts if len(part)]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self.parts)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        """Return one record, or a list; whoever needs many goes by parts."""
        if not isinstance(at, int | slice):
            # Faust asks each message for a name.
            raise TypeError("records have no names")
        if at in (0, -1) and self.parts:
            return self.parts[at][at]
        return list(self)[at]

    def parts_from(self, offset: int) -> Iterator[tuple[Sequence[Any], int]]:
        """Yield each part with the place of its first record from an offset on."""
        for part in self.parts:
            place = bisect_left(part, offset, key=_offset)
            if place < len(part):
                yield part, place

    def clear(self) -> None:
        """Let all records go."""
        self.parts = []
