"""Local midnights where the clock jumps, and that only the pinned wheel is asked."""

import zoneinfo
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.timezones import (
    is_timezone,
    local_date,
    local_datetime,
    local_midnight_ms,
    opens_a_local_day,
    tzdata_version,
    utc_offset_ms,
    zone,
)
from bench.growth.spent import steps_of
from tests.world.clock import HOUR_MS, ms

ODD_ZONES = [
    "Africa/Casablanca",
    "America/Havana",
    "America/Nuuk",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Europe/Paris",
    "Pacific/Apia",
    "Pacific/Kwajalein",
    "UTC",
]
DAY_MS = 86_400_000
DAYS = st.dates(date(1970, 1, 2), date(2090, 12, 31))
# Clocks are changed by law, mostly after 1970 in these zones: plenty of days hit a change.
INSTANTS_MS = st.integers(DAY_MS, 3_800_000_000_000)


@pytest.mark.parametrize("timezone", [*ODD_ZONES, "Africa/Monrovia"])
def test_a_date_is_that_of_the_wall_clock_also_where_clocks_are_set(timezone: str) -> None:
    """Around changes of clocks, and around midnights, which once did not begin a minute."""
    year_ms = 365 * DAY_MS
    for first_ms in range(ms("1970-01-02T00:00:00Z"), ms("2027-01-01T00:00:00Z"), year_ms):
        asked = [local_midnight_ms(local_date(first_ms, timezone), timezone)]
        for day_ms in range(first_ms, first_ms + year_ms, DAY_MS):
            if utc_offset_ms(day_ms, timezone) != utc_offset_ms(day_ms + DAY_MS, timezone):
                asked += range(day_ms - HOUR_MS, day_ms + DAY_MS + HOUR_MS, 10 * 60_000)
        for at_ms in (at_ms + more_ms for at_ms in asked for more_ms in (-1, 0)):
            assert local_date(at_ms, timezone) == local_datetime(at_ms, timezone).date()


def test_a_date_that_was_asked_for_takes_few_steps() -> None:
    """Who prorates asks for that of each event; one that is worked out takes 24."""
    at_ms = ms("2026-03-05T10:00:00Z")
    local_date(at_ms, "Europe/Paris")
    assert steps_of(lambda: local_date(at_ms + 60_000, "Europe/Paris")) <= 22


@pytest.mark.parametrize(
    ("timezone", "day", "midnight"),
    [
        pytest.param("UTC", "2024-02-29", "2024-02-29T00:00:00Z", id="plain"),
        pytest.param("Asia/Beirut", "2024-03-31", "2024-03-30T22:00:00Z", id="skipped"),
        pytest.param("America/Sao_Paulo", "2017-10-15", "2017-10-15T03:00:00Z", id="skipped-sp"),
        pytest.param("America/Havana", "2024-11-03", "2024-11-03T04:00:00Z", id="doubled"),
        pytest.param("America/Sao_Paulo", "2018-02-18", "2018-02-18T03:00:00Z", id="hour-repeated"),
        pytest.param("America/St_Johns", "2010-11-07", "2010-11-07T02:30:00Z", id="set-back-0001"),
        pytest.param("Pacific/Apia", "2011-12-30", "2011-12-30T10:00:00Z", id="day-skipped"),
        pytest.param("Pacific/Apia", "2011-12-31", "2011-12-30T10:00:00Z", id="after-the-skip"),
        pytest.param("America/Toronto", "1919-03-31", "1919-03-31T04:30:00Z", id="gap-across"),
        pytest.param("Africa/Casablanca", "2024-03-10", "2024-03-09T23:00:00Z", id="ramadan"),
        pytest.param("Africa/Casablanca", "2024-03-11", "2024-03-11T00:00:00Z", id="in-ramadan"),
    ],
)
def test_local_midnight(timezone: str, day: str, midnight: str) -> None:
    assert local_midnight_ms(date.fromisoformat(day), timezone) == ms(midnight)


@pytest.mark.parametrize(
    ("timezone", "at", "opens"),
    [
        pytest.param("Asia/Beirut", "2024-03-30T22:00:00Z", True, id="skipped-at-the-jump"),
        pytest.param("Asia/Beirut", "2024-03-30T23:00:00Z", False, id="skipped-an-hour-later"),
        pytest.param("America/Havana", "2024-11-03T04:00:00Z", True, id="doubled-first"),
        pytest.param("America/Havana", "2024-11-03T04:30:00Z", False, id="doubled-between"),
        pytest.param("America/Havana", "2024-11-03T05:00:00Z", True, id="doubled-second"),
    ],
)
def test_instants_that_open_a_local_day(timezone: str, at: str, opens: bool) -> None:
    assert opens_a_local_day(ms(at), timezone) is opens


@given(timezone=st.sampled_from(ODD_ZONES), day=DAYS)
def test_midnight_is_where_the_date_is_first_reached(timezone: str, day: date) -> None:
    midnight_ms = local_midnight_ms(day, timezone)
    assert local_date(midnight_ms, timezone) >= day
    assert local_date(midnight_ms - 1, timezone) < day


@given(timezone=st.sampled_from(ODD_ZONES), day=DAYS)
def test_midnights_never_go_back(timezone: str, day: date) -> None:
    following_ms = local_midnight_ms(day + timedelta(days=1), timezone)
    assert 0 <= following_ms - local_midnight_ms(day, timezone) <= 2 * DAY_MS


@given(timezone=st.sampled_from(ODD_ZONES), at_ms=INSTANTS_MS)
def test_the_wall_clock_is_utc_and_the_offset(timezone: str, at_ms: int) -> None:
    wall = datetime.fromtimestamp(0, UTC) + timedelta(
        milliseconds=at_ms + utc_offset_ms(at_ms, timezone)
    )
    assert local_datetime(at_ms, timezone).replace(tzinfo=None) == wall.replace(tzinfo=None)


@given(timezone=st.sampled_from(ODD_ZONES), at_ms=INSTANTS_MS)
def test_a_midnight_opens_its_day(timezone: str, at_ms: int) -> None:
    midnight_ms = local_midnight_ms(local_date(at_ms, timezone), timezone)
    assert midnight_ms <= at_ms
    assert opens_a_local_day(midnight_ms, timezone)


def test_the_system_database_is_not_asked(tmp_path: Path) -> None:
    (tmp_path / "Europe").mkdir()
    (tmp_path / "Europe" / "Paris").write_bytes(b"not a timezone")
    before = zoneinfo.TZPATH
    zoneinfo.reset_tzpath(to=[str(tmp_path)])
    try:
        assert zone.__wrapped__("Europe/Paris").utcoffset(datetime(2024, 7, 1)) == timedelta(  # noqa: DTZ001
            hours=2
        )
    finally:
        zoneinfo.reset_tzpath(to=before)


@pytest.mark.parametrize("name", ["Europe/Paris", "US/Pacific", "America/Argentina/Ushuaia"])
def test_known_names(name: str) -> None:
    assert is_timezone(name)
    assert zone(name).key == name


@pytest.mark.parametrize("name", ["", "Mars/Base", "europe/paris", "../zones", "Europe", "/UTC"])
def test_unknown_names(name: str) -> None:
    assert not is_timezone(name)
    with pytest.raises(ValueError, match="unknown timezone"):
        zone(name)


def test_every_name_of_the_wheel_loads() -> None:
    names = sorted(filter(is_timezone, zoneinfo.available_timezones()))
    assert len(names) > 400
    assert [zone(name).key for name in names] == names


def test_tzdata_version_is_the_wheels() -> None:
    assert tzdata_version() == version("tzdata")
