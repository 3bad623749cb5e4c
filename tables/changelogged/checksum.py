"""Sums that tell whether a changelog holds what was written to it, in whatever order it is read."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import xxhash

SUM_MODULUS = 1 << 64
_xxh3 = xxhash.xxh3_64_intdigest


def record_hash(key: bytes, value: bytes) -> int:
    """Return what one changelog record adds to the hash sum of the checkpoint."""
    return _xxh3(value, _xxh3(key) & 0x7FFFFFFF)


class ChangelogSum(NamedTuple):
    """Count and hash sum of the newest value of every key; deleted keys are left out."""

    records: int = 0
    hashes: int = 0
    """Σ record_hash mod 2^64."""

    def replaced(self, key: bytes, old: bytes | None, new: bytes | None) -> ChangelogSum:
        """Return the sum after a key got another value; None: no value."""
        return self.after(((key, old, new),))

    def after(self, changes: Iterable[tuple[bytes, bytes | None, bytes | None]]) -> ChangelogSum:
        """Return the sum after changes, each (key, old value, new value)."""
        records, hashes = self
        for key, old, new in changes:
            seed = _xxh3(key) & 0x7FFFFFFF
            if old is not None:
                records -= 1
                hashes -= _xxh3(old, seed)
            if new is not None:
                records += 1
                hashes += _xxh3(new, seed)
        return ChangelogSum(records, hashes % SUM_MODULUS)


def sum_of(records: Iterable[tuple[bytes, bytes]]) -> ChangelogSum:
    """Return the sum of (key, value) records."""
    return ChangelogSum().after((key, None, value) for key, value in records)
