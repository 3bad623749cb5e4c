"""The day count of proration (metering-semantics §4.12, billing-periods §5)."""

from app.billing_periods.timezones import opens_a_local_day, utc_offset_ms

_SECOND_MS = 1000
DAY_MS = 86_400_000


def inclusive_days(from_ms: int, to_ms: int, timezone: str, *, upgraded: bool = False) -> int:
    """Return started blocks of 24 hours on the wall clock between two UTC instants.

    The last day counts; an end exactly at local midnight counts that day too. `upgraded`: the
    subscription was ended by an upgrade, whose day belongs to the new plan.
    """
    if opens_a_local_day(to_ms, timezone):
        to_ms += _SECOND_MS
    clock_change_ms = utc_offset_ms(from_ms, timezone) - utc_offset_ms(to_ms, timezone)
    blocks, rest_ms = divmod(to_ms - from_ms - clock_change_ms, DAY_MS)
    # A whole period ends with the last millisecond of a day, and that goes on until midnight.
    begun = rest_ms > 0 or opens_a_local_day(to_ms + 1, timezone)
    days = blocks + begun
    return max(0, days - 1) if upgraded else days
