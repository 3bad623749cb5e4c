"""The head of an event index in Python, as the kernel has it."""

from __future__ import annotations

_ID_BYTES, _ROW_BYTES = 12, 40


class Head:
    """The last rows of an event index, as they came, and where each id lies: the newest row."""

    def __init__(self) -> None:
        self._rows: dict[bytes, int] = {}
        self._packed = bytearray()

    def __len__(self) -> int:
        """Return how many came; one whose id came again counts as well."""
        return len(self._packed) // _ROW_BYTES

    def append(self, packed: bytes | bytearray) -> None:
        """Take in the next rows."""
        first, ids = len(self), _ids_in(packed)
        self._rows.update(zip(ids, range(first, first + len(ids)), strict=True))
        self._packed += packed

    def find(self, packed: bytes) -> list[tuple[int, bytes]]:
        """Return (place, row) of those ids that are here; they come one after another."""
        return [
            (place, bytes(self._packed[row * _ROW_BYTES : (row + 1) * _ROW_BYTES]))
            for place, event_id in enumerate(_ids_in(packed, _ID_BYTES))
            if (row := self._rows.get(event_id)) is not None
        ]

    def known(self, packed: bytes | bytearray) -> list[int]:
        """Return the places of rows whose id is here, or came before among them."""
        ids = _ids_in(packed)
        if self._rows.keys().isdisjoint(ids) and len(set(ids)) == len(ids):
            return []
        seen: set[bytes] = set()
        places = []
        for place, event_id in enumerate(ids):
            if event_id in self._rows or event_id in seen:
                places.append(place)
            seen.add(event_id)
        return places

    def first(self, rows: int) -> bytes:
        """Return the bytes of the first rows."""
        return bytes(self._packed[: max(0, rows) * _ROW_BYTES])


def _ids_in(packed: bytes | bytearray, stride: int = _ROW_BYTES) -> list[bytes]:
    """Return the id of each row, or those that come one after another."""
    if len(packed) % stride:
        raise ValueError(f"{'rows' if stride == _ROW_BYTES else 'ids'} have {stride} bytes each")
    return [bytes(packed[at : at + _ID_BYTES]) for at in range(0, len(packed), stride)]
