"""Rows: bytes of very many objects, one behind the other in chunks, found by number."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import Final, Protocol, TypeAlias

import numpy as np
import xxhash

CHUNK_BYTES: Final = 1 << 18
"""A chunk has less than so many bytes: one that is full is copied as a whole."""
_MOST_CHUNKS: Final = (1 << 14) - 1
"""A place has 32 bits, and one of them all is no place."""
_LONGEST: Final = 1 << 12
"""A longer row is not taken: nothing is gained if it lies here."""
_FULL: Final = CHUNK_BYTES - _LONGEST - 4
"""A chunk of so many bytes may have no room for the next row."""
_SHORT: Final = 1 << 7
"""The length of a shorter row takes one byte, else it takes two; two of its hash follow."""
_READ: Final = _SHORT + 2
"""How many bytes are read at first: a short row, with what stands before it."""
_ELSEWHERE: Final = (1 << 32) - 1
"""The place of what is not here."""

_hash = xxhash.xxh3_64_digest

_LOOKED_AT: Final = 1 << 14
"""How many places a change looks at, for rows of a chunk that is to be emptied."""
_MOVED: Final = 128
"""How many of these rows it moves at most: no change takes long."""


class Chunk(Protocol):
    """Bytes that do not change, wherever they are."""

    def __getitem__(self, part: slice, /) -> bytes:
        """Return some of them."""


Keep: TypeAlias = Callable[[bytes], Chunk]
"""Takes over a chunk that is full. `bytes` leaves it in memory."""


class CompactRows:
    """Rows at five bytes each besides their own. One that changes is put anew behind all others.

    A full chunk that is dead by half is emptied little by little, at each change some of it.
    """

    __slots__ = (
        "_chunks",
        "_cursor",
        "_filling",
        "_first",
        "_free",
        "_keep",
        "_live",
        "_places",
        "_read",
        "_read_number",
        "_thin",
    )

    def __init__(self, keep: Keep = bytes) -> None:
        self._keep = keep
        self._places = array("I")
        """Where each row begins, counted through all chunks as if each were full."""
        self._filling = bytearray()
        """The chunk that takes rows."""
        self._first = 0
        """The place where it begins."""
        self._chunks: list[Chunk | bytearray] = [self._filling]
        self._live = [0]
        """How many bytes of each full chunk are of rows that are there; of others, less its own."""
        self._free: list[int] = []
        """Numbers of chunks that have no row any more."""
        self._thin: list[int] = []
        """Numbers of full chunks that are dead by half; the first is being emptied."""
        self._cursor = 0
        """No row before this one is in the chunk that is being emptied."""
        self._read_number = -1
        """Number of the row that was read last: whoever walks asks again for what it found."""
        self._read: bytes | bytearray = b""

    def get(self, number: int) -> bytes | bytearray | None:
        """Return a row; None: it is not here. Raises OSError if it is not what was put."""
        if number == self._read_number:
            return self._read
        place = self._places[number]
        if place == _ELSEWHERE:
            return None
        at, first = divmod(place, CHUNK_BYTES)
        chunk = self._chunks[at]
        found = chunk[first : first + _READ]
        length = found[0]
        if length < _SHORT:
            row, told = found[3 : length + 3], found[1:3]
        else:
            end = first + 4 + ((length - _SHORT) << 8 | found[1])
            row, told = chunk[first + 4 : end], found[2:4]
        if _hash(row)[:2] != told:
            raise OSError("what rests has other bytes than were put there")
        self._read_number, self._read = number, row
        return row

    def append(self, row: bytes | None) -> bool:
        """Give a row the next number; False: it is not taken, and is not here."""
        place = _ELSEWHERE if row is None else self._put(row)
        self._places.append(place)
        return place != _ELSEWHERE

    def replace(self, number: int, row: bytes | None) -> bool:
        """Put a row in the place of another; False: it is not taken, and is not here."""
        before, self._read_number = self._places[number], -1
        place = self._places[number] = _ELSEWHERE if row is None else self._put(row)
        if before != _ELSEWHERE:
            self._leave(before)
        if self._thin:
            self._empty_some()
        return place != _ELSEWHERE

    def _put(self, row: bytes | bytearray) -> int:
        """Put a row behind all others and return its place."""
        filling = self._filling
        place = len(filling)
        if place >= _FULL:
            if not self._begin():
                return _ELSEWHERE
            filling, place = self._filling, 0
        length = len(row)
        if length < _SHORT:
            filling.append(length)
        elif length <= _LONGEST:
            filling += bytes((_SHORT + (length >> 8), length & 0xFF))
        else:
            return _ELSEWHERE
        filling += _hash(row)[:2]
        filling += row
        return self._first + place

    def _begin(self) -> bool:
        """Begin another chunk; False: there are as many as there can be."""
        if not self._free and len(self._chunks) == _MOST_CHUNKS:
            return False
        full = self._first // CHUNK_BYTES
        self._live[full] += len(self._filling)
        self._chunks[full] = self._keep(bytes(self._filling))
        self._filling = bytearray()
        if self._free:
            following = self._free.pop()
            self._chunks[following] = self._filling
        else:
            following = len(self._chunks)
            self._chunks.append(self._filling)
            self._live.append(0)
        self._first = following * CHUNK_BYTES
        self._weigh(full)
        return True

    def _leave(self, place: int) -> None:
        """Count the row at a place as dead."""
        at, first = divmod(place, CHUNK_BYTES)
        found = self._chunks[at][first : first + 2]
        length = found[0]
        self._live[at] -= 3 + length if length < _SHORT else 4 + ((length - _SHORT) << 8 | found[1])
        if self._chunks[at] is not self._filling:
            self._weigh(at)

    def _weigh(self, at: int) -> None:
        """Let go of a full chunk that is dead; note one that is dead by half."""
        if not self._live[at]:
            self._chunks[at] = b""
            self._free.append(at)
            if at in self._thin:
                self._cursor *= self._thin[0] != at
                self._thin.remove(at)
        elif self._live[at] < CHUNK_BYTES // 2 and at not in self._thin:
            self._thin.append(at)

    def _empty_some(self) -> None:
        """Move some rows out of the chunk that is being emptied."""
        at, first = self._thin[0], self._cursor
        places = np.frombuffer(self._places, np.uint32, offset=4 * first)[:_LOOKED_AT]
        found = np.flatnonzero(places // CHUNK_BYTES == at)[:_MOVED]
        end = first + (len(places) if len(found) < _MOVED else int(found[-1]) + 1)
        self._cursor = end if end < len(self._places) else 0
        for number in (found + first).tolist():
            row, before = self.get(number), self._places[number]
            place = _ELSEWHERE if row is None else self._put(row)
            if place == _ELSEWHERE:
                return
            self._places[number] = place
            self._leave(before)
