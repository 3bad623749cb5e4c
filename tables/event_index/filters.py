"""Bloom filters of segments, in memory or left in their file.

The leading bits of the id choose the filter word. A merge can then write the filter in the order in
which it meets the rows, and needs no memory for it. The price: ids must be uniform (they
are hashes); crowded ids cost speed, never a wrong answer.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from app.kernel import maybe_among
from app.kernel.twin_filters import MASKS
from tables.event_index.rows import (
    ID_BYTES,
    DamagedSegmentError,
    Indexes,
    ReadByPosition,
    Rows,
    Words,
)

ROWS_PER_FILTER_WORD = 4
FILTER_WORD_BYTES = 8


_KEY = np.dtype([("high", ">u8"), ("low", ">u4")])

_U12 = np.uint64(12)
_U32 = np.uint64(32)
_LOW_12 = np.uint64(0xFFF)


class AskedKeys:
    """Ids that are looked for in every segment: alone, or each at the beginning of a row."""

    __slots__ = ("_keys", "_packed", "_stride")

    def __init__(self, packed: bytes | bytearray, stride: int = ID_BYTES) -> None:
        """Take `packed`: an id every `stride` bytes."""
        self._packed = packed
        self._stride = stride
        self._keys: Keys | None = None

    def __getitem__(self, place: int) -> bytes:
        at = place * self._stride
        return bytes(self._packed[at : at + ID_BYTES])

    def among(self, words: Words) -> list[int]:
        """Return the places of ids that may be in a segment, given the words of its filter."""
        places: list[int] = maybe_among(self._packed, self._stride, words)
        return places

    @property
    def keys(self) -> Keys:
        """The filter word and bits of each id, for those who look at some words only."""
        if self._keys is None:
            whole = np.frombuffer(self._packed, np.uint8).reshape(-1, self._stride)
            ids = np.ascontiguousarray(whole[:, :ID_BYTES])
            self._keys = Keys(ids.view(_KEY).ravel())
        return self._keys


class Keys:
    """The filter word and bits of ids."""

    __slots__ = ("bits", "leading")

    def __init__(self, ids: Rows) -> None:
        """Take ids, or rows, as records of `high` and `low`."""
        low = ids["low"].astype(np.uint64)
        self.leading: Indexes = (ids["high"] >> _U32).astype(np.int64)
        self.bits: Words = MASKS[low & _LOW_12] | MASKS[(low >> _U12) & _LOW_12]

    def words(self, word_count: int) -> Indexes:
        """Return the filter word of each id, in a filter of `word_count` words (less than 2^31)."""
        return (self.leading * word_count) >> 32

    def among(self, words: Words) -> list[int]:
        """Return the places of ids that may be in a segment, given the filter word of each."""
        matching: list[int] = ((words & self.bits) == self.bits).nonzero()[0].tolist()
        return matching


def filter_words(row_count: int) -> int:
    """Return how many words the filter for that many rows has."""
    return max(1, -(-row_count // ROWS_PER_FILTER_WORD))


def filter_bytes(row_count: int) -> int:
    """Return how many bytes the filter for that many rows has."""
    return filter_words(row_count) * FILTER_WORD_BYTES


class ResidentFilter:
    """A filter held in memory."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self.resident_bytes = words.nbytes

    def candidates(self, asked: AskedKeys) -> list[int]:
        """Return the places of ids that may be in the segment."""
        return asked.among(self._words)

    def close(self) -> None:
        """Let go of what is held."""
        self._words = np.zeros(1, np.uint64)


class ColdFilter(ReadByPosition):
    """A filter left in its file: one read of eight bytes an id, no memory."""

    resident_bytes = 0

    def __init__(self, path: Path, word_count: int) -> None:
        super().__init__(path)
        self._word_count = word_count

    def candidates(self, asked: AskedKeys) -> list[int]:
        """Return the places of ids that may be in the segment."""
        keys = asked.keys
        offsets = (keys.words(self._word_count) * FILTER_WORD_BYTES).tolist()
        descriptor = self._descriptor
        packed = b"".join([os.pread(descriptor, FILTER_WORD_BYTES, offset) for offset in offsets])
        if len(packed) != len(offsets) * FILTER_WORD_BYTES:
            raise DamagedSegmentError("a filter of the event index is shorter than it was")
        return keys.among(np.frombuffer(packed, "<u8").astype(np.uint64))


FilterSource = ResidentFilter | ColdFilter
"""Where the filter of a segment is."""


class FilterBuilder:
    """Builds the filter of rows that come sorted, emitting words that can change no more."""

    def __init__(self, row_count: int) -> None:
        self.word_count = filter_words(row_count)
        self._emitted = 0
        self._open = np.uint64(0)

    def add(self, keys: Keys) -> Words:
        """Return the words finished by these keys, in order."""
        words = keys.words(self.word_count)
        starts = np.flatnonzero(np.concatenate(([True], words[1:] != words[:-1])))
        masks = np.bitwise_or.reduceat(keys.bits, starts)
        at = words[starts] - self._emitted
        block = np.zeros(int(at[-1]) + 1, np.uint64)
        block[at] = masks
        block[0] |= self._open
        self._open = block[-1]
        self._emitted += len(block) - 1
        return block[:-1]

    def finish(self) -> Words:
        """Return the remaining words."""
        rest = np.zeros(self.word_count - self._emitted, np.uint64)
        rest[0] = self._open
        return rest
