"""What is set aside."""

from __future__ import annotations

from app.definitions.model import SetAside


def aside_of(partition: int, offset: int, index: int | None = None) -> SetAside:
    """Return what sets a place of a raw partition aside."""
    return SetAside(
        id="x",
        partition=partition,
        offset=offset,
        count=1,
        index=index,
        code="set_aside",
        message="",
        append_time_ms=1,
    )
