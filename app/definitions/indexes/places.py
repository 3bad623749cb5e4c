"""Places: numbers of rows by the hash of what each is found by, at ten bytes each."""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct
from typing import Final

import numpy as np

_HASH_BYTES: Final = 4
_HASH_MASK: Final = (1 << 8 * _HASH_BYTES) - 1
_ENTRY_BYTES: Final = 8
_entry = Struct("<II").pack
_hash = Struct("<I").pack
_number_in = Struct("<I").unpack_from
_IN_A_BUCKET: Final = 24
"""How many there are at the mean: a bucket is copied at each addition, and searched as bytes."""


class Places:
    """Buckets of numbers. Whoever finds some looks whether they are what was meant.

    One bucket more splits one of them in two: no addition takes long, however many there are.
    """

    __slots__ = ("_buckets", "_mask", "_room")

    def __init__(self) -> None:
        self._buckets = [b""]
        self._mask = 0
        """Bits of a hash that name a bucket, once each that has fewer of them is split."""
        self._room = _IN_A_BUCKET

    def find(self, hashed: int) -> Sequence[int]:
        """Return all numbers that may have been added with a hash, in order."""
        buckets = self._buckets
        at = hashed & self._mask
        if at >= len(buckets):
            at &= self._mask >> 1
        bucket, wanted = buckets[at], _hash(hashed & _HASH_MASK)
        place = bucket.find(wanted)
        if place < 0:
            return ()
        if place % _ENTRY_BYTES == 0 and bucket.count(wanted) == 1:
            return _number_in(bucket, place + _HASH_BYTES)
        found: list[int] = []
        while place >= 0:
            # Else it is across two entries, or is a number.
            if place % _ENTRY_BYTES == 0:
                found += _number_in(bucket, place + _HASH_BYTES)
            place = bucket.find(wanted, place + 1)
        return found

    def add(self, hashed: int, number: int) -> None:
        """Add a number."""
        buckets = self._buckets
        at = hashed & self._mask
        if at >= len(buckets):
            at &= self._mask >> 1
        buckets[at] += _entry(hashed & _HASH_MASK, number)
        self._room -= 1
        if self._room < 0:
            self._split()

    def remove(self, hashed: int, number: int) -> None:
        """Take out a number that was added with a hash."""
        buckets = self._buckets
        at = hashed & self._mask
        if at >= len(buckets):
            at &= self._mask >> 1
        bucket, entry = buckets[at], _entry(hashed & _HASH_MASK, number)
        place = bucket.index(entry)
        while place % _ENTRY_BYTES:
            # It is across two entries.
            place = bucket.index(entry, place + 1)
        buckets[at] = bucket[:place] + bucket[place + _ENTRY_BYTES :]
        self._room += 1

    def _split(self) -> None:
        """Move about half of the next bucket in turn to a new one."""
        if len(self._buckets) > self._mask:
            self._mask = 2 * self._mask + 1
        bit = (self._mask + 1) >> 1
        split = len(self._buckets) - bit
        entries = np.frombuffer(self._buckets[split], dtype="<u8")
        go = (entries & np.uint64(bit)) != 0
        self._buckets[split] = entries[~go].tobytes()
        self._buckets.append(entries[go].tobytes())
        self._room += _IN_A_BUCKET
