"""Bloom filters of segments, in memory or left in their file.

The leading bits of the id choose the filter word. A merge can then write the filter in the order in
which it meets the rows, and needs no memory for it. The price: ids must be uniform (they
are hashes); crowded ids cost speed, never a wrong answer.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

import numpy as np

from tables.event_index.rows import (
    ID,
    DamagedSegmentError,
    Ids,
    Indexes,
    ReadByPosition,
    Rows,
    Words,
    ids_of,
)

ROWS_PER_FILTER_WORD = 4
FILTER_WORD_BYTES = 8


_KEY = np.dtype([("high", ">u8"), ("low", ">u4")])


def _filter_masks() -> Words:
    """Return three of the 64 bits for each 12-bit number; they are part of the file format."""
    numbers = np.arange(4096, dtype=np.uint64)
    scattered = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    masks = np.zeros(4096, np.uint64)
    for shift in (58, 52, 46):
        masks |= np.uint64(1) << ((scattered >> np.uint64(shift)) & np.uint64(63))
    return masks


_MASKS = _filter_masks()
_U12 = np.uint64(12)
_U32 = np.uint64(32)
_LOW_12 = np.uint64(0xFFF)


class Keys:
    """The ids of one slice, prepared once for the probes of every segment."""

    __slots__ = ("bits", "ids", "leading")

    def __init__(self, packed: bytes | Rows) -> None:
        """Take `packed`: ids one after the other, or rows."""
        if isinstance(packed, bytes):
            keys = np.frombuffer(packed, _KEY)
            self.ids: Ids = np.frombuffer(packed, ID)
        else:
            keys = packed
            self.ids = ids_of(packed)
        low = keys["low"].astype(np.uint64)
        self.leading: Indexes = (keys["high"] >> _U32).astype(np.int64)
        self.bits: Words = _MASKS[low & _LOW_12] | _MASKS[(low >> _U12) & _LOW_12]

    def words(self, word_count: int) -> Indexes:
        """Return the filter word of each id, in a filter of `word_count` words (less than 2^31)."""
        return (self.leading * word_count) >> 32

    def among(self, words: Words) -> Indexes:
        """Return indexes of the ids that may be in a segment, given the filter word of each."""
        words &= self.bits
        matching: Indexes = (words == self.bits).nonzero()[0]
        return matching


def filter_words(row_count: int) -> int:
    """Return how many words the filter for that many rows has."""
    return max(1, -(-row_count // ROWS_PER_FILTER_WORD))


def filter_bytes(row_count: int) -> int:
    """Return how many bytes the filter for that many rows has."""
    return filter_words(row_count) * FILTER_WORD_BYTES


class FilterSource(Protocol):
    """Where the filter of a segment is."""

    resident_bytes: int

    def candidates(self, keys: Keys) -> Indexes:
        """Return indexes of the ids that may be in the segment."""

    def close(self) -> None:
        """Let go of what is held."""


class ResidentFilter:
    """A filter held in memory."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self.resident_bytes = words.nbytes

    def candidates(self, keys: Keys) -> Indexes:
        return keys.among(self._words.take(keys.words(len(self._words))))

    def close(self) -> None:
        self._words = np.zeros(1, np.uint64)


class ColdFilter(ReadByPosition):
    """A filter left in its file: one read of eight bytes an id, no memory."""

    resident_bytes = 0

    def __init__(self, path: Path, word_count: int) -> None:
        super().__init__(path)
        self._word_count = word_count

    def candidates(self, keys: Keys) -> Indexes:
        offsets = (keys.words(self._word_count) * FILTER_WORD_BYTES).tolist()
        descriptor = self._descriptor
        packed = b"".join([os.pread(descriptor, FILTER_WORD_BYTES, offset) for offset in offsets])
        if len(packed) != len(offsets) * FILTER_WORD_BYTES:
            raise DamagedSegmentError("a filter of the event index is shorter than it was")
        return keys.among(np.frombuffer(packed, "<u8").astype(np.uint64))


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
