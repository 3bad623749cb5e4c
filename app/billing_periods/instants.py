"""Instants as texts: ISO 8601 in, Lago's two spellings out (metering-semantics §0.1)."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_ISO_8601 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:.(?:[01][0-9]|2[0-3])"
    r"(?::[0-5][0-9](?::[0-5][0-9](?:[.,][0-9]+)?)?|[0-5][0-9](?:[0-5][0-9](?:[.,][0-9]+)?)?)?"
    r"(?:Z|[+-][0-9]{2}(?::[0-9]{2}(?::[0-9]{2})?|[0-9]{2}(?:[0-9]{2})?)?)?)?",
    re.DOTALL,
)
"""What every Python reads alike: 3.14 reads 24:00, too, others a second of three digits."""
LAST_MS = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z, the last instant that has a spelling."""


def epoch_ms(at: datetime) -> int:
    """Return the milliseconds since the epoch of a moment with a zone, floored."""
    return (at - _EPOCH) // _MILLISECOND


def utc_datetime(at_ms: int) -> datetime:
    """Return the moment of so many milliseconds since the epoch."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def parse_iso8601_ms(text: str) -> int | None:
    """Return milliseconds of a date or a date and time, UTC unless it has a zone, floored.

    None when it is not one, or lies before 1970 or after 9999.
    """
    if _ISO_8601.fullmatch(text) is None:
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        return None
    at_ms = epoch_ms(parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC))
    return at_ms if 0 <= at_ms <= LAST_MS else None


@lru_cache(maxsize=4096)
def iso_seconds(at_ms: int) -> str:
    """Return `YYYY-MM-DDThh:mm:ssZ`, floored."""
    return f"{utc_datetime(at_ms):%Y-%m-%dT%H:%M:%S}Z"


@lru_cache(maxsize=4096)
def iso_milliseconds(at_ms: int) -> str:
    """Return `YYYY-MM-DDThh:mm:ss.sssZ`."""
    # Times that are told together are often of one second.
    return f"{iso_seconds(at_ms)[:-1]}.{at_ms % 1000:03d}Z"
