"""Sums that tell whether a changelog holds what was written to it, in whatever order it is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import xxhash

SUM_MODULUS = 1 << 64


def record_hash(key: bytes, value: bytes) -> int:
    """What one changelog record adds to the hash sum of the partition record."""
    return xxhash.xxh3_64_intdigest(value, xxhash.xxh3_64_intdigest(key) & 0x7FFFFFFF)


class ChangelogSum(NamedTuple):
    """Of the newest value of every key; keys that were deleted are left out."""

    records: int = 0
    hashes: int = 0
    """Σ record_hash mod 2^64."""

    def replaced(self, key: bytes, old: bytes | None, new: bytes | None) -> ChangelogSum:
        """The sum after a key got another value; None: it has none."""
        records, hashes = self
        if old is not None:
            records, hashes = records - 1, hashes - record_hash(key, old)
        if new is not None:
            records, hashes = records + 1, hashes + record_hash(key, new)
        return ChangelogSum(records, hashes % SUM_MODULUS)


def sum_of(records: Iterable[tuple[bytes, bytes]]) -> ChangelogSum:
    """The sum of what was read."""
    hashes = [record_hash(key, value) for key, value in records]
    return ChangelogSum(len(hashes), sum(hashes) % SUM_MODULUS)
