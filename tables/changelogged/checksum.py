"""Sums that tell whether a changelog holds what was written to it, in whatever order it is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import xxhash

from app.bounds.turns import STEP_ITEMS, Steps

Rows = Mapping[bytes, bytes | None]
"""Changelog records by key, in order; a None value deletes. A pair for each would count for the
garbage collector, which then walks the young in the midst of a flush."""

Change = tuple[bytes, bytes | None, bytes | None]
"""(key, value before, value); None: no value."""

SUM_MODULUS = 1 << 64
_xxh3 = xxhash.xxh3_64_intdigest
# Plain __new__: the generated one costs three times as much, for every change.
_new = tuple.__new__


def record_hash(key: bytes, value: bytes) -> int:
    """Return what one changelog record adds to the hash sum of the checkpoint."""
    return _xxh3(value, _xxh3(key) & 0x7FFFFFFF)


def record_hashes(rows: Iterable[tuple[bytes, bytes]]) -> list[int]:
    """Return what `record_hash` does of each of many records."""
    return [_xxh3(value, _xxh3(key) & 0x7FFFFFFF) for key, value in rows]


class ChangelogSum(NamedTuple):
    """Count and hash sum of the newest value of every key; deleted keys are left out."""

    records: int = 0
    hashes: int = 0
    """Σ record_hash mod 2^64."""

    def replaced(self, key: bytes, old: bytes | None, new: bytes | None) -> ChangelogSum:
        """Return the sum after a key got another value; None: no value."""
        return self.after(((key, old, new),))

    def after(self, changes: Iterable[Change]) -> ChangelogSum:
        """Return the sum after changes."""
        records, hashes = self
        for key, old, new in changes:
            seed = _xxh3(key) & 0x7FFFFFFF
            if old is not None:
                records -= 1
                hashes -= _xxh3(old, seed)
            if new is not None:
                records += 1
                hashes += _xxh3(new, seed)
        return _new(ChangelogSum, (records, hashes % SUM_MODULUS))


def taking_over(
    load: Callable[[bytes, bytes], None], changelog: Mapping[bytes, bytes]
) -> Steps[None]:
    """Load all records of a changelog by steps."""
    for count, (key, value) in enumerate(changelog.items(), 1):
        load(key, value)
        if count % STEP_ITEMS == 0:
            yield


class Changelogged:
    """What a changelog carries: the sum of its records, and those that the next flush writes."""

    def __init__(self) -> None:
        self.sum = ChangelogSum()
        """Sum of the changelog records that were loaded or put."""
        self._dirty: dict[bytes, bytes | None] = {}

    @property
    def pending(self) -> int:
        """How many have changed since the last flush."""
        return len(self._dirty)

    def take_changes(self) -> Rows:
        """Return changelog records of what changed since the last call."""
        changes, self._dirty = self._dirty, {}
        return changes

    def _put(self, key: bytes, before: bytes | None, value: bytes | None) -> None:
        """Put a value in place of the one before; None: there is none."""
        self.sum = self.sum.replaced(key, before, value)
        self._dirty[key] = value

    def _put_all(self, changes: Sequence[Change]) -> None:
        """Do what `_put` does for many keys."""
        self.sum = self.sum.after(changes)
        for key, _, value in changes:
            self._dirty[key] = value
