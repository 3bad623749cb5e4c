"""Shelved rows: bytes by what they begin with, in chunks that a shelf takes as they are full.

For what there is more of with each event, and nobody reads until one of these is corrected: 15
bytes of memory a row, and its own on local disk.
"""

from __future__ import annotations

from app.definitions.indexes.places import Places
from app.definitions.indexes.rows import Keep, Rows


class ShelvedRows:
    """Rows that begin with their key. No key is the beginning of another."""

    __slots__ = ("_count", "_elsewhere", "_places", "_rows")

    def __init__(self, keep: Keep = bytes):
        """Begin without rows; `keep` takes over chunks."""
        self._rows = Rows(keep)
        self._places = Places()
        self._elsewhere: dict[int, bytes] = {}
        """Rows by number that are too long for a chunk, or for which there is no place more."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def get(self, key: bytes) -> bytes | bytearray | None:
        """Return the row that begins with a key. Raises OSError: local disk does not give it."""
        found = self._find(key)
        return None if found is None else found[1]

    def put(self, key: bytes, row: bytes) -> bytes | bytearray | None:
        """Keep a row that begins with a key; return the one in whose place it is.

        Raises: as `get`.
        """
        found = self._find(key)
        if found is None:
            number, before, taken = self._count, None, self._rows.append(row)
            self._places.add(hash(key), number)
            self._count += 1
        else:
            number, before = found
            taken = self._rows.replace(number, row)
        if taken:
            self._elsewhere.pop(number, None)
        else:
            self._elsewhere[number] = row
        return before

    def _find(self, key: bytes) -> tuple[int, bytes | bytearray] | None:
        for number in self._places.find(hash(key)):
            row = self._rows.get(number)
            if row is None:
                row = self._elsewhere[number]
            if row.startswith(key):
                return number, row
        return None
