"""Slots: rows found by a hash that stands in them, for four bytes a slot."""

from __future__ import annotations

from array import array
from collections.abc import Callable

_FEWEST = 8


class Slots:
    """Numbers of rows by hash, in shards that grow one by one: no growth holds the loop up.

    A dict takes 120 bytes for each of its keys and numbers, and more for its own room.
    """

    def __init__(self, hash_of: Callable[[int], bytes]):
        """Take what tells the hash of a row."""
        self._hash_of = hash_of
        self._shards: dict[int, array[int]] = {}
        """By the first byte of the hash. A slot holds the number of a row plus 1, or 0."""
        self._used: dict[int, int] = {}

    def __len__(self) -> int:
        return sum(self._used.values())

    def find(self, hashed: bytes) -> int:
        """Return the number of the row that a hash leads to; -1: none."""
        shard = self._shards.get(hashed[0])
        return -1 if shard is None else shard[self._slot(shard, hashed)] - 1

    def put(self, hashed: bytes, row: int) -> None:
        """Lead a hash to a row that has it."""
        number = hashed[0]
        shard = self._shards.get(number)
        if shard is None:
            shard, self._used[number] = _empty(_FEWEST), 0
        elif 2 * self._used[number] >= len(shard):
            larger = _empty(2 * len(shard))
            for held in filter(None, shard):
                larger[self._slot(larger, self._hash_of(held - 1))] = held
            shard = larger
        self._shards[number] = shard
        slot = self._slot(shard, hashed)
        self._used[number] += not shard[slot]
        shard[slot] = row + 1

    def _slot(self, shard: array[int], hashed: bytes) -> int:
        """Return the slot that leads to a hash, or the free one where it is to be put."""
        mask = len(shard) - 1
        slot = int.from_bytes(hashed[1:5], "big") & mask
        while (held := shard[slot]) and self._hash_of(held - 1) != hashed:
            slot = slot + 1 & mask
        return slot


def _empty(slots: int) -> array[int]:
    return array("I", bytes(4 * slots))
