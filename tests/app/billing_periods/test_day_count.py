"""The inclusive day count of proration."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.day_count import inclusive_days
from app.billing_periods.timezones import local_midnight_ms
from tests.conformance.lago_invoice_dates import end_of_day_ms
from tests.world.clock import ms

# Zones whose clock changes neither skip nor repeat a midnight.
ZONES = ["Europe/Paris", "America/New_York", "Australia/Lord_Howe", "UTC"]


@pytest.mark.parametrize(
    ("timezone", "start", "end", "days"),
    [
        pytest.param("UTC", "2024-01-01T00:00:00Z", "2024-01-31T23:59:59Z", 31, id="month"),
        pytest.param("UTC", "2024-01-01T00:00:00Z", "2024-01-01T00:00:00Z", 1, id="at-midnight"),
        pytest.param("UTC", "2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z", 0, id="no-time"),
        pytest.param("UTC", "2023-09-05T00:00:00Z", "2023-09-06T00:00:00Z", 2, id="last-day"),
        pytest.param("UTC", "2024-01-01T10:00:00Z", "2024-01-02T10:00:00Z", 1, id="blocks-of-24h"),
        pytest.param(
            "Europe/Paris", "2024-03-30T23:00:00Z", "2024-03-31T21:59:59Z", 1, id="23-hour-day"
        ),
        pytest.param(
            "Europe/Paris", "2024-10-26T22:00:00Z", "2024-10-27T22:59:59Z", 1, id="25-hour-day"
        ),
        pytest.param(
            "UTC", "2024-01-21T23:59:59.999Z", "2024-01-31T23:59:59.999Z", 11, id="last-millisecond"
        ),
    ],
)
def test_inclusive_days(timezone: str, start: str, end: str, days: int) -> None:
    assert inclusive_days(ms(start), ms(end), timezone) == days
    assert inclusive_days(ms(start), ms(end), timezone, upgraded=True) == max(0, days - 1)


@given(
    timezone=st.sampled_from(ZONES),
    first=st.dates(date(1980, 1, 1), date(2037, 1, 1)),
    length_days=st.integers(1, 400),
)
def test_whole_days_are_counted_by_the_calendar(
    timezone: str, first: date, length_days: int
) -> None:
    last = first + timedelta(days=length_days - 1)
    start_ms = local_midnight_ms(first, timezone)
    assert inclusive_days(start_ms, end_of_day_ms(last, timezone), timezone) == length_days
    assert inclusive_days(start_ms, local_midnight_ms(last, timezone), timezone) == length_days
