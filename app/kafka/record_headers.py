"""Count the headers of a record in the bytes of its batch, before they are decoded."""

from __future__ import annotations

from typing import Final

from app.bounds.limits import RECORD_HEADERS
from app.kafka.inflate import Unreadable

_RECORD_BYTES_LEAST: Final = 6
"""Fewest bytes of a record behind its length: six numbers of one byte."""


def many_headers() -> Unreadable:
    """Return the reason why a record of too many headers is not read."""
    message = f"a record has over {RECORD_HEADERS} headers; send fewer"
    return Unreadable(message, too_large=True)


def refuse_headers(inflated: bytes, count: int, most: int) -> None:
    """Refuse a batch with a record of too many headers; decoding one could take a gigabyte.

    Raises:
        Unreadable: a record has more than `most` headers.
    """
    at = 0
    try:
        for _ in range(count):
            # Most have 64 to 8,191 bytes: this is done for every record.
            low, high = inflated[at], inflated[at + 1]
            if low & 0x81 == 0x80 and high < 0x80:
                length = high << 6 | (low & 0x7F) >> 1
                at += 2
            else:
                length, at = _varint(inflated, at)
            if length < _RECORD_BYTES_LEAST:
                return
            # A header has two bytes at least.
            if length > 2 * most and _headers_of(inflated, at) > most:
                raise many_headers()
            at += length
    except (IndexError, ValueError):
        # It is damaged, which its decoder says.
        return


def _headers_of(inflated: bytes, at: int) -> int:
    """Return how many headers a record has; `at`: its position behind its length."""
    # After its attributes come the differences in time and offset, the key and the value.
    _, at = _varint(inflated, at + 1)
    _, at = _varint(inflated, at)
    for _ in ("key", "value"):
        length, at = _varint(inflated, at)
        at += max(0, length)
    return _varint(inflated, at)[0]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """Return (number, position after it); aiokafka's own decoder reads on beyond the end."""
    byte = data[at]
    value, shift = byte & 0x7F, 7
    while byte & 0x80:
        at += 1
        byte = data[at]
        value |= (byte & 0x7F) << shift
        shift += 7
        if shift > 63:
            raise ValueError("a number of more than nine bytes")
    return (value >> 1) ^ -(value & 1), at + 1
