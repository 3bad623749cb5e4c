"""What is refused whatever the definitions are, and why (records-and-cuts §8, §11)."""

from enum import StrEnum
from typing import Final

import msgspec

from app.billing_periods.day_count import DAY_MS

MAX_DAYS_AHEAD: Final = 3652
MAX_EVENT_AHEAD_MS: Final = MAX_DAYS_AHEAD * DAY_MS

MAX_QUOTED: Final = 200
"""Characters of an input that a message repeats."""


class RefusalCode(StrEnum):
    """The value of a dead letter's `meter-error-code` header."""

    INVALID_JSON = "invalid_json"
    INVALID_EVENT = "invalid_event"
    MISSING_FIELD = "missing_field"
    INVALID_TIMESTAMP = "invalid_timestamp"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    UNKNOWN_ORGANIZATION = "unknown_organization"
    TOO_LARGE = "too_large"
    INVALID_CORRECTION = "invalid_correction"
    MANY_REFUSED = "many_refused"
    TOO_LATE = "too_late"
    PERIOD_CLOSED = "period_closed"
    CONFLICTING_DUPLICATE = "conflicting_duplicate"
    SET_ASIDE = "set_aside"
    BEYOND_RETENTION = "beyond_retention"
    ORGANIZATION_NOT_ALLOWED = "organization_not_allowed"

    # That of an enum is written in Python, and thousands are counted at once.
    __hash__ = str.__hash__


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A refused record or array element: its own bytes, its index, and what to do about it."""

    code: RefusalCode
    message: str
    value: bytes
    index: int = 0


class ElementRefused(ValueError):
    """Raised inside the decoder where an object turns out not to be an event."""

    def __init__(self, code: RefusalCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


OUT_OF_RANGE_MESSAGE: Final = (
    f"timestamp must lie between 1970 and {MAX_DAYS_AHEAD} days after the record was appended; "
    "send seconds, not milliseconds"
)


def quoted(text: str) -> str:
    """Return input in quotes, for a message; of a long one the beginning and how much is left."""
    more = len(text) - MAX_QUOTED
    return repr(text) if more <= 0 else f"{text[:MAX_QUOTED]!r} and {more} characters more"


def check_range(timestamp_ms: int, append_time_ms: int) -> RefusalCode | None:
    """Accept times from 1970 to 10 years (3,652 days) after the append time, inclusive."""
    if 0 <= timestamp_ms <= append_time_ms + MAX_EVENT_AHEAD_MS:
        return None
    return RefusalCode.TIMESTAMP_OUT_OF_RANGE
