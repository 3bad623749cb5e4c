"""Entries of the event index and their bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tables.event_index.rows import ID_BYTES, ROW_BYTES, Chosen

_LARGEST_48_BITS = (1 << 48) - 1
_VALUE = struct.Struct(">QQQI")
_FIELDS = np.dtype(
    [("id", "V12"), ("time", ">u8"), ("offset", ">u8"), ("rekeyed", ">u8"), ("body", ">u4")]
)
_ORDERED = np.dtype(
    {
        "names": ["position", "body"],
        "formats": ["S16", "S6"],
        "offsets": [ID_BYTES, ROW_BYTES - 6],
        "itemsize": ROW_BYTES,
    }
)
"""Numpy compares all bytes of both, so positions as numbers do."""
_FIELD_BITS = np.array([48, 16, 48, 16, 48, 48], np.int64)

Fields = npt.NDArray[np.int64]


class EntryPosition(NamedTuple):
    """Where an event stands among all events; smaller is earlier (records-and-cuts §1)."""

    append_time_ms: int
    raw_partition: int
    raw_offset: int
    array_index: int


class Entry(NamedTuple):
    """What is kept of an event; `rekeyed_offset` -1 = came from raw, `body_hash` below 2^48."""

    append_time_ms: int
    raw_partition: int
    raw_offset: int
    array_index: int
    rekeyed_offset: int
    body_hash: int

    @property
    def position(self) -> EntryPosition:
        return EntryPosition(*self[:4])


def pack_entries(ids: Sequence[bytes], entries: Sequence[Entry]) -> bytes:
    """Return rows of 40 bytes.

    ValueError when an id is not 12 bytes or a field is out of its range.
    """
    packed_ids = b"".join(ids)
    if len(ids) != len(entries) or len(packed_ids) != len(ids) * ID_BYTES:
        raise ValueError("an entry needs an id of 12 bytes")
    fields = _checked_fields(entries)
    rows = np.empty(len(ids), _FIELDS)
    rows["id"] = np.frombuffer(packed_ids, "V12")
    rows["time"] = (fields[:, 0] << 16) | fields[:, 1]
    rows["offset"] = (fields[:, 2] << 16) | fields[:, 3]
    rows["rekeyed"] = (fields[:, 4] << 16) | (fields[:, 5] >> 32)
    rows["body"] = fields[:, 5] & 0xFFFFFFFF
    return rows.tobytes()


def _checked_fields(entries: Sequence[Entry]) -> Fields:
    count = 6 * len(entries)
    fields = np.fromiter(chain.from_iterable(entries), np.int64, count).reshape(-1, 6)
    rekeyed = fields[:, 4]
    if rekeyed.size and (rekeyed.min() < -1 or rekeyed.max() >= _LARGEST_48_BITS):
        raise ValueError("a rekeyed offset is -1 or below 2^48 - 1")
    rekeyed[rekeyed < 0] = _LARGEST_48_BITS
    if (fields >> _FIELD_BITS).any():
        raise ValueError("a field of an entry is out of its range")
    return fields


def unpack_entry(rows: bytes | bytearray, number: int = 0) -> Entry:
    """Return the entry of a packed row, the first unless told."""
    time, offset, rekeyed, body = _VALUE.unpack_from(rows, number * ROW_BYTES + ID_BYTES)
    rekeyed_offset = rekeyed >> 16
    return Entry(
        time >> 16,
        time & 0xFFFF,
        offset >> 16,
        offset & 0xFFFF,
        -1 if rekeyed_offset == _LARGEST_48_BITS else rekeyed_offset,
        (rekeyed & 0xFFFF) << 32 | body,
    )


def later_and_earlier(rows: bytes, known: bytes) -> tuple[Chosen, Chosen]:
    """Return which packed rows came after the known ones beside them, with the same body.

    And which came before, with the same body.
    """
    ours: npt.NDArray[Any] = np.frombuffer(rows, _ORDERED)
    theirs: npt.NDArray[Any] = np.frombuffer(known, _ORDERED)
    same = ours["body"] == theirs["body"]
    after = ours["position"] > theirs["position"]
    return same & after, same & (ours["position"] < theirs["position"])


def append_times(rows: bytes) -> list[int]:
    """Return the append time of each packed row."""
    times: list[int] = (np.frombuffer(rows, _FIELDS)["time"] >> 16).tolist()
    return times
