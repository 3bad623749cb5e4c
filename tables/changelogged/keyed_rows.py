"""Keyed rows: bytes by what they begin with, for ten bytes of memory a row besides."""

from __future__ import annotations

from app.definitions.indexes.places import Places


class KeyedRows:
    """Rows that begin with their key. No key is the beginning of another.

    A dict keeps each key as an object of its own, and takes about a hundred bytes for both.
    """

    __slots__ = ("_found", "_free", "_places", "_rows")

    def __init__(self) -> None:
        self._rows: list[bytes] = []
        self._places = Places()
        self._free: list[int] = []
        """Numbers of rows that were taken."""
        self._found = -1
        """Number of the row that was found last."""

    def __len__(self) -> int:
        return len(self._rows) - len(self._free)

    def find(self, key: bytes) -> int:
        """Return the number of the row that begins with a key; -1: there is none."""
        following, rows = self._found + 1, self._rows
        # Whoever asks of very many does so mostly in the order in which they came.
        if following < len(rows) and rows[following].startswith(key):
            self._found = following
            return following
        for number in self._places.find(hash(key)):
            if rows[number].startswith(key):
                self._found = number
                return number
        return -1

    def __getitem__(self, number: int) -> bytes:
        return self._rows[number]

    def get(self, key: bytes) -> bytes | None:
        """Return the row that begins with a key."""
        number = self.find(key)
        return None if number < 0 else self._rows[number]

    def some(self, first: int, end: int) -> list[bytes]:
        """Return rows by number; of rows of which none is ever taken."""
        return self._rows[first:end]

    def put(self, key: bytes, row: bytes) -> int:
        """Keep a row that begins with a key, in place of the one before; return its number."""
        number = self.find(key)
        if number < 0:
            return self.add(key, row)
        self._rows[number] = row
        return number

    def add(self, key: bytes, row: bytes) -> int:
        """Keep a row that begins with a key that no other row has; return its number."""
        if self._free:
            number = self._free.pop()
            self._rows[number] = row
        else:
            number = len(self._rows)
            self._rows.append(row)
        self._places.add(hash(key), number)
        return number

    def replace(self, number: int, row: bytes) -> None:
        """Keep a row in place of another with the same key."""
        self._rows[number] = row

    def pop(self, key: bytes) -> bytes | None:
        """Take out the row that begins with a key."""
        number = self.find(key)
        if number < 0:
            return None
        row, self._rows[number] = self._rows[number], b""
        self._places.remove(hash(key), number)
        self._free.append(number)
        return row
