"""Which ids may be in a segment of the event index, and which are, in Python, as the kernel tells.

The leading 32 bits of an id choose one of the words of the filter. It has six bits: three for each
of two numbers of 12 bits at the end of the id.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LOW_12 = 0xFFF
_ID_BYTES, _ROW_BYTES = 12, 40


def _filter_masks() -> NDArray[np.uint64]:
    """Return three of the 64 bits for each 12-bit number; they are part of the file format."""
    numbers = np.arange(4096, dtype=np.uint64)
    scattered = (numbers + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    masks = np.zeros(4096, np.uint64)
    for shift in (58, 52, 46):
        masks |= np.uint64(1) << ((scattered >> np.uint64(shift)) & np.uint64(63))
    return masks


MASKS = _filter_masks()


def maybe_among(packed: bytes | bytearray, stride: int, words: NDArray[np.uint64]) -> list[int]:
    """Return the places of ids that may be among those that a filter was made of.

    `packed`: an id of 12 bytes every `stride` bytes.
    """
    if stride < _ID_BYTES or len(packed) % stride:
        raise ValueError("ids are 12 bytes at the beginning of rows")
    whole = np.frombuffer(packed, np.uint8).reshape(-1, stride)[:, :_ID_BYTES]
    numbers = np.ascontiguousarray(whole).view(">u4").astype(np.int64).reshape(-1, 3)
    low = numbers[:, 2]
    bits = MASKS[low & _LOW_12] | MASKS[(low >> 12) & _LOW_12]
    found = words.take((numbers[:, 0] * len(words)) >> 32) & bits
    places: list[int] = (found == bits).nonzero()[0].tolist()
    return places


def row_among(rows: bytes, event_id: bytes) -> bytes | None:
    """Return the row of an id among rows that are sorted by id; None: it is not there."""
    if len(rows) % _ROW_BYTES or len(event_id) != _ID_BYTES:
        raise ValueError("rows have 40 bytes each, and an id 12")
    at = rows.find(event_id)
    while at >= 0 and at % _ROW_BYTES:
        at = rows.find(event_id, at + 1)
    return rows[at : at + _ROW_BYTES] if at >= 0 else None
