"""Forwarded events: the header that tells where the raw record of each lies."""

from __future__ import annotations

from collections.abc import Sequence

from app.wire.arrivals import Position

POSITION_HEADER = "meter-position"
"""`append_time_ms:raw partition:raw offset:array index` of the raw record."""


def position_of(headers: Sequence[tuple[str, bytes | None]]) -> Position | None:
    """Return the position a forward carries; None if it carries none that can be read."""
    for name, text in headers:
        if name == POSITION_HEADER and text is not None:
            try:
                append_time_ms, partition, offset, index = map(int, text.split(b":"))
            except ValueError:
                return None
            return append_time_ms, partition, offset, index
    return None
