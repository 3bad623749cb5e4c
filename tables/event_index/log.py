"""The log of an event index: its rows in the order in which they came, and where a record stands.

A sum of all rows before it goes with each record of the log. So whoever has the first rows of a log
on local disk compares one record, and reads on from there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np

from tables.event_index.rows import ROW_BYTES

RECORD_BYTES: Final = 16_000 * ROW_BYTES
"""Rows of one flush are split into records of at most this size."""

_SUMMED_AT_ONCE: Final = 8_192 * ROW_BYTES
_PACKED: Final = struct.Struct(">QQ")
_SUM_MODULUS: Final = 1 << 64
_FACTORS: Final = tuple(
    np.uint64(factor)
    for factor in (
        0x9E3779B97F4A7C15,
        0xC2B2AE3D27D4EB4F,
        0x165667B19E3779F9,
        0xD6E8FEB86659FD93,
        0xFF51AFD7ED558CCD,
    )
)
_HALF: Final = np.uint64(32)


class LogPlace(NamedTuple):
    """A place between two rows of the log."""

    length: int
    """How many rows are before it."""
    log_sum: int
    """Sum over these rows, each with its number: of other rows or another order it is another."""

    def after(self, packed: bytes) -> LogPlace:
        """Return the place behind rows that begin here."""
        length, log_sum = self
        for at in range(0, len(packed), _SUMMED_AT_ONCE):
            part = packed[at : at + _SUMMED_AT_ONCE]
            log_sum = (log_sum + _sum_of(part, length)) % _SUM_MODULUS
            length += len(part) // ROW_BYTES
        return LogPlace(length, log_sum)

    def packed(self) -> bytes:
        """Return the bytes that go with a record."""
        return _PACKED.pack(*self)

    @staticmethod
    def unpacked(packed: bytes) -> LogPlace:
        """Return the place that goes with a record.

        Raises:
            struct.error: these are not the bytes of one.
        """
        return LogPlace(*_PACKED.unpack(packed))


LOG_START: Final = LogPlace(0, 0)


def log_records(place: LogPlace, packed: bytes) -> Iterator[tuple[LogPlace, bytes]]:
    """Yield the records of rows that begin at a place, each with its own place."""
    for at in range(0, len(packed), RECORD_BYTES):
        rows = packed[at : at + RECORD_BYTES]
        yield place, rows
        place = place.after(rows)


def _sum_of(packed: bytes, first_row: int) -> int:
    words = np.frombuffer(packed, "<u8").reshape(-1, ROW_BYTES // 8)
    numbers = np.arange(first_row, first_row + len(words), dtype=np.uint64)
    hashed = numbers * _FACTORS[0] + _FACTORS[1]
    for column, factor in enumerate(_FACTORS):
        hashed ^= words[:, column]
        hashed *= factor
        hashed ^= hashed >> _HALF
    return int(hashed.sum(dtype=np.uint64))
