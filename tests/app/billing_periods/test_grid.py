"""Posts, periods and their instants: the published table and the laws."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from app.billing_periods.grid import BILLING_TIMES, INTERVALS, Interval, PeriodGrid, add_months
from app.billing_periods.timezones import local_date
from tests.world.clock import ms
from tests.world.grids import index_of, post_of

ODD_ZONES = [
    "Africa/Casablanca",
    "America/Havana",
    "America/Nuuk",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "UTC",
]
GRIDS = st.builds(
    PeriodGrid,
    st.sampled_from(INTERVALS),
    st.sampled_from(BILLING_TIMES),
    st.integers(86_400_000, 2_500_000_000_000),
    st.sampled_from(ODD_ZONES),
    st.booleans(),
)
INDEXES = st.integers(-20, 400)
INSTANTS_MS = st.integers(86_400_000, 3_800_000_000_000)
MONTHS = {"monthly": 1, "quarterly": 3, "semiannual": 6, "yearly": 12}


@pytest.mark.parametrize(
    ("interval", "anchor", "day", "start", "end", "days"),
    [
        ("monthly", "2024-01-31", "2024-02-28", "2024-01-31", "2024-02-28", 29),
        ("monthly", "2024-01-31", "2024-02-29", "2024-02-29", "2024-03-30", 31),
        ("monthly", "2024-01-31", "2024-04-29", "2024-03-31", "2024-04-29", 30),
        ("monthly", "2023-01-30", "2023-02-28", "2023-02-28", "2023-03-29", 30),
        ("quarterly", "2022-01-31", "2022-05-31", "2022-04-30", "2022-07-30", 92),
        ("quarterly", "2021-04-30", "2021-07-29", "2021-04-30", "2021-07-29", 91),
        ("quarterly", "2021-04-30", "2022-02-01", "2022-01-30", "2022-04-29", 90),
        ("semiannual", "2021-04-30", "2021-11-15", "2021-10-30", "2022-04-29", 182),
        ("yearly", "2024-02-29", "2025-02-27", "2024-02-29", "2025-02-27", 365),
        ("yearly", "2024-02-29", "2025-02-28", "2025-02-28", "2026-02-27", 365),
        ("yearly", "2024-02-29", "2028-02-28", "2027-02-28", "2028-02-28", 366),
        ("weekly", "2024-01-03", "2024-01-09", "2024-01-03", "2024-01-09", 7),
    ],
)
def test_anniversary_period_of_a_date(
    interval: Interval, anchor: str, day: str, start: str, end: str, days: int
) -> None:
    grid = PeriodGrid(interval, "anniversary", ms(anchor), "UTC")
    k = index_of(grid, date.fromisoformat(day))
    assert post_of(grid, k).isoformat() == start
    assert (post_of(grid, k + 1) - timedelta(days=1)).isoformat() == end
    assert grid.duration_days(k) == days


@pytest.mark.parametrize(
    ("interval", "monthly", "post", "next_post"),
    [
        pytest.param("weekly", False, "2024-08-12", "2024-08-19", id="monday"),
        pytest.param("monthly", False, "2024-08-01", "2024-09-01", id="month"),
        pytest.param("quarterly", False, "2024-07-01", "2024-10-01", id="quarter"),
        pytest.param("quarterly", True, "2024-07-01", "2024-10-01", id="quarter-is-not-split"),
        pytest.param("semiannual", False, "2024-07-01", "2025-01-01", id="half-year"),
        pytest.param("semiannual", True, "2024-08-01", "2024-09-01", id="half-year-split"),
        pytest.param("yearly", False, "2024-01-01", "2025-01-01", id="year"),
        pytest.param("yearly", True, "2024-08-01", "2024-09-01", id="year-split"),
    ],
)
def test_calendar_period_zero_holds_the_subscription(
    interval: Interval, monthly: bool, post: str, next_post: str
) -> None:
    grid = PeriodGrid(interval, "calendar", ms("2024-08-16T09:00:00"), "UTC", monthly)
    assert (post_of(grid, 0).isoformat(), post_of(grid, 1).isoformat()) == (post, next_post)


def test_the_anchor_is_the_local_date() -> None:
    grid = PeriodGrid("monthly", "anniversary", ms("2023-12-31T12:00:00"), "Pacific/Auckland")
    assert grid.anchor == date(2024, 1, 1)


@pytest.mark.parametrize(
    ("timezone", "start", "next_start"),
    [
        ("America/New_York", "2024-03-01T05:00:00", "2024-04-01T04:00:00"),
        ("Europe/Paris", "2024-02-29T23:00:00", "2024-03-31T22:00:00"),
    ],
)
def test_instants_of_a_month_with_a_clock_change(
    timezone: str, start: str, next_start: str
) -> None:
    grid = PeriodGrid("monthly", "calendar", ms("2024-01-10"), timezone)
    k = grid.index_at(ms("2024-03-15"))
    assert (grid.start_ms(k), grid.start_ms(k + 1)) == (ms(start), ms(next_start))
    assert grid.duration_days(k) == 31


def test_a_repeated_last_hour_belongs_to_the_closing_period() -> None:
    grid = PeriodGrid("monthly", "anniversary", ms("2017-01-18T10:00:00"), "America/Sao_Paulo")
    k = grid.index_at(ms("2018-02-10"))
    assert grid.index_at(ms("2018-02-18T02:30:00")) == k
    assert grid.start_ms(k + 1) == ms("2018-02-18T03:00:00")


def test_a_clock_set_back_over_midnight_stays_in_the_new_period() -> None:
    grid = PeriodGrid("monthly", "anniversary", ms("2010-10-07T12:00:00"), "America/St_Johns")
    at_ms = ms("2010-11-07T02:45:00")
    assert local_date(at_ms, grid.timezone) == date(2010, 11, 6)
    assert grid.index_at(at_ms) == 1


def test_a_period_that_opens_on_the_day_apia_skipped() -> None:
    grid = PeriodGrid("monthly", "anniversary", ms("2011-10-30T20:00:00"), "Pacific/Apia")
    assert post_of(grid, 2) == date(2011, 12, 30)
    assert grid.start_ms(2) == ms("2011-12-30T10:00:00")
    assert (grid.index_at(grid.start_ms(2) - 1), grid.index_at(grid.start_ms(2))) == (1, 2)


@pytest.mark.parametrize(
    ("interval", "billing_time", "timezone", "message"),
    [
        ("daily", "calendar", "UTC", "unknown interval"),
        ("weekly", "lunar", "UTC", "unknown billing_time"),
        ("weekly", "calendar", "Mars/Base", "unknown timezone"),
    ],
)
def test_refused_grids(interval: str, billing_time: str, timezone: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PeriodGrid(interval, billing_time, 0, timezone)  # type: ignore[arg-type]


@given(grid=GRIDS, at_ms=INSTANTS_MS)
def test_every_instant_is_in_exactly_one_period(grid: PeriodGrid, at_ms: int) -> None:
    k = grid.index_at(at_ms)
    assert grid.start_ms(k) <= at_ms < grid.start_ms(k + 1)


@given(grid=GRIDS, moments=st.lists(INSTANTS_MS, min_size=2, max_size=4))
def test_the_period_asked_for_last_tells_of_no_other(grid: PeriodGrid, moments: list[int]) -> None:
    k = grid.index_at(moments[0])
    edges = [grid.start_ms(k) - 1, grid.start_ms(k), grid.start_ms(k + 1) - 1]
    for at_ms in (*moments, *edges, grid.start_ms(k + 1)):
        assert grid.index_at(at_ms) == replace(grid).index_at(at_ms)


@given(grid=GRIDS, k=INDEXES)
def test_periods_tile_time(grid: PeriodGrid, k: int) -> None:
    assume(post_of(grid, k).year >= 1970 and post_of(grid, k).year < 2100)
    assert grid.start_ms(k) < grid.start_ms(k + 1)
    assert grid.index_at(grid.start_ms(k)) == k
    assert grid.index_at(grid.start_ms(k + 1) - 1) == k


@given(grid=GRIDS, k=INDEXES)
def test_dates_and_indexes_are_inverse(grid: PeriodGrid, k: int) -> None:
    assert index_of(grid, post_of(grid, k)) == k
    assert index_of(grid, post_of(grid, k + 1) - timedelta(days=1)) == k


@given(grid=GRIDS, k=INDEXES, timezone=st.sampled_from([*ODD_ZONES, "Pacific/Kiritimati"]))
@example(
    # Its anchor is 28 February there and 1 March here: 28 May is 1 June.
    grid=PeriodGrid("quarterly", "anniversary", ms("1971-03-01"), "Pacific/Apia"),
    k=289,
    timezone="Africa/Casablanca",
)
def test_a_start_is_found_again_in_another_timezone(
    grid: PeriodGrid, k: int, timezone: str
) -> None:
    moved, start_ms = replace(grid, timezone=timezone), grid.start_ms(k)
    moved_ms = moved.start_nearest_ms(start_ms)
    days = 4 if grid.billing_time == "anniversary" else 0
    assert abs(moved_ms - start_ms) <= (26 + 24 * days) * 3_600_000
    assert moved.start_ms(moved.index_at(moved_ms)) == moved_ms
    if grid.billing_time == "anniversary":
        assert moved_ms == moved.start_ms(k)


@given(grid=GRIDS)
def test_period_zero_holds_the_subscription(grid: PeriodGrid) -> None:
    assert index_of(grid, grid.anchor) == 0


@given(
    interval=st.sampled_from(sorted(MONTHS)),
    anchor=st.dates(date(1970, 1, 1), date(2040, 12, 31)),
    k=INDEXES,
)
def test_the_anchor_never_drifts(interval: Interval, anchor: date, k: int) -> None:
    post = post_of(PeriodGrid(interval, "anniversary", ms(anchor.isoformat()), "UTC"), k)
    months = (post.year - anchor.year) * 12 + post.month - anchor.month
    assert months == MONTHS[interval] * k
    month_ended = (post + timedelta(days=1)).month != post.month
    assert post.day == anchor.day or (post.day < anchor.day and month_ended)


@given(
    day=st.dates(date(1970, 1, 1), date(2090, 12, 31)),
    months=st.integers(-600, 600),
)
def test_month_addition_clamps_only_to_the_last_day(day: date, months: int) -> None:
    later = add_months(day, months)
    assert (later.year - day.year) * 12 + later.month - day.month == months
    assert later.day == day.day or (later + timedelta(days=1)).day == 1


@given(GRIDS, st.lists(INSTANTS_MS, min_size=1))
def test_anniversaries_on_the_same_days_share_a_grid(grid: PeriodGrid, moments: list[int]) -> None:
    shared = grid.shared()
    assert shared.shared() == shared
    for at_ms in moments:
        k, common = grid.index_at(at_ms), shared.index_at(at_ms)
        for later in (0, 1, 2):
            assert grid.start_ms(k + later) == shared.start_ms(common + later)
            assert grid.duration_days(k + later) == shared.duration_days(common + later)


@pytest.mark.parametrize(
    ("interval", "anchors", "count"),
    [
        ("weekly", ["2024-02-29", "2019-03-07", "2024-02-28"], 2),
        ("monthly", ["2024-02-29", "2023-06-29", "2024-02-28"], 2),
        ("quarterly", ["2024-01-31", "2021-10-31", "2021-04-30", "2024-02-29"], 3),
        ("yearly", ["2024-02-29", "2020-02-29", "2023-02-28", "2024-03-29"], 3),
    ],
)
def test_as_many_grids_as_there_are_days(
    interval: Interval, anchors: list[str], count: int
) -> None:
    grids = {
        PeriodGrid(interval, "anniversary", ms(anchor) + 1, "Europe/Paris").shared()
        for anchor in anchors
    }
    assert len(grids) == count
