"""The head of an event index: the rows that came last, in the order of the log."""

from __future__ import annotations

from collections.abc import Sequence

from tables.event_index.rows import ID_BYTES, ROW_BYTES

_DICT_BYTES = 200
"""Memory of a row beside its bytes: dict slot, key and number."""


class Head:
    """Rows by id, the newest of each, and all of them as they came."""

    def __init__(self, packed: bytes = b"") -> None:
        self._rows: dict[bytes, int] = {}
        self._packed = bytearray()
        self.append(ids_in(packed), packed)

    def __len__(self) -> int:
        """Return how many came; one whose id came again counts as well."""
        return len(self._packed) // ROW_BYTES

    @property
    def resident_bytes(self) -> int:
        """An estimate of the memory in use."""
        return len(self._rows) * _DICT_BYTES + len(self._packed)

    def append(self, ids: Sequence[bytes], packed: bytes | bytearray) -> None:
        """Take in the next rows."""
        first = len(self)
        self._rows.update(zip(ids, range(first, first + len(ids)), strict=True))
        self._packed += packed

    def find(self, ids: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Return (index into ids, row) of those ids that are here."""
        if self._rows.keys().isdisjoint(ids):
            return []
        return [
            (index, bytes(self._packed[row * ROW_BYTES : (row + 1) * ROW_BYTES]))
            for index, event_id in enumerate(ids)
            if (row := self._rows.get(event_id)) is not None
        ]

    def first(self, rows: int) -> bytes:
        """Return the bytes of the first rows."""
        return bytes(self._packed[: rows * ROW_BYTES])


def ids_in(packed: bytes) -> list[bytes]:
    """Return the id of each row."""
    return [packed[at : at + ID_BYTES] for at in range(0, len(packed), ROW_BYTES)]
