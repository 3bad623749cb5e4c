import pytest

from app.billing_periods.instants import iso_milliseconds, iso_seconds, parse_iso8601_ms

MOMENT_MS = 1_706_662_800_123


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2024-01-31T01:00:00Z", 1_706_662_800_000),
        ("2024-01-31T01:00:00.1239Z", MOMENT_MS),
        ("2024-01-31T02:00:00.123+01:00", MOMENT_MS),
        ("2024-01-31 01:00:00.123", MOMENT_MS),
        ("2024-01-31", 1_706_659_200_000),
        ("1970-01-01T00:00:00Z", 0),
        ("9999-12-31T23:59:59Z", 253_402_300_799_000),
        ("9999-12-31T23:59:59.999Z", 253_402_300_799_999),
        ("1969-12-31T23:59:59Z", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("9999-12-31T23:59:59-14:00", None),
        ("2024-02-30", None),
        ("20240131", None),
        ("2024-W05-3", None),
        ("1706662800", None),
        ("tomorrow", None),
        # What not every Python reads alike.
        ("2024-01-31T24:00:00Z", None),
        ("2024-01-31T01:00:000Z", None),
        ("2024-01-31 01.5", None),
        ("2024-01-31T01:00:00+01:00:00.5", None),
        ("20240131T01", None),
        ("2024-01-31T0100+0100", 1_706_659_200_000),
        ("2024-01-31T01", 1_706_662_800_000),
        ("", None),
        ("\uff12\uff10\uff12\uff14-01-31", None),
    ],
)
def test_dates_and_datetimes_are_read(text: str, at_ms: int | None) -> None:
    assert parse_iso8601_ms(text) == at_ms


def test_two_spellings() -> None:
    assert iso_seconds(MOMENT_MS) == "2024-01-31T01:00:00Z"
    assert iso_milliseconds(MOMENT_MS) == "2024-01-31T01:00:00.123Z"
    assert iso_milliseconds(MOMENT_MS - 123) == "2024-01-31T01:00:00.000Z"
