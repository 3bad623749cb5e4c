"""Rules of a billing run that the published vectors do not pin, and laws over all of them."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.grid import BILLING_TIMES, INTERVALS, PeriodGrid
from app.billing_periods.timezones import opens_a_local_day
from tests.conformance.lago_invoice_dates import (
    BoundariesRequest,
    LastInvoice,
    Replacement,
    boundaries,
    end_of_day_ms,
    invoices_from_runs,
    is_billing_day,
    is_post,
    lago_end_ms,
    midnight_by_clock_at_ms,
    settled_index,
    split_monthly,
)
from tests.world.clock import ms
from tests.world.grids import index_of, post_of

ZONES = ["UTC", "America/Havana", "Asia/Beirut", "America/Sao_Paulo", "Pacific/Apia", "Asia/Tokyo"]
INSTANTS_MS = st.integers(200_000_000_000, 2_500_000_000_000)
INDEXES = st.integers(-20, 400)
GRIDS = st.builds(
    PeriodGrid,
    st.sampled_from(INTERVALS),
    st.sampled_from(BILLING_TIMES),
    INSTANTS_MS,
    st.sampled_from(ZONES),
    st.booleans(),
)
REQUESTS = st.builds(
    BoundariesRequest,
    interval=st.sampled_from(INTERVALS),
    billing_time=st.sampled_from(BILLING_TIMES),
    timezone=st.sampled_from(ZONES),
    subscription_at_ms=INSTANTS_MS,
    started_at_ms=INSTANTS_MS,
    billing_at_ms=INSTANTS_MS,
    current_usage=st.booleans(),
    terminated_at_ms=st.none() | INSTANTS_MS,
    pay_in_advance=st.booleans(),
    bill_charges_monthly=st.booleans(),
    bill_fixed_charges_monthly=st.booleans(),
    replacement=st.none() | st.builds(Replacement, st.booleans()),
    last_invoice=st.none() | st.builds(LastInvoice, st.sampled_from(ZONES), INSTANTS_MS),
)


MONTHLY = BoundariesRequest(
    interval="monthly",
    billing_time="calendar",
    timezone="UTC",
    subscription_at_ms=ms("2023-01-01T00:00:00Z"),
    started_at_ms=ms("2023-01-01T00:00:00Z"),
    billing_at_ms=ms("2024-03-15T12:00:00Z"),
)
YEARLY = replace(MONTHLY, interval="yearly")


def test_the_start_after_a_second_midnight_is_the_second_one() -> None:
    started_at_ms = ms("2024-11-03T15:00:00Z")
    found = boundaries(
        replace(
            MONTHLY,
            timezone="America/Havana",
            billing_time="anniversary",
            subscription_at_ms=started_at_ms,
            started_at_ms=started_at_ms,
            billing_at_ms=ms("2024-11-10T12:00:00Z"),
            current_usage=True,
        )
    )
    assert found.previous_beginning_of_period == ms("2024-11-03T04:00:00Z")
    assert found.from_datetime == ms("2024-11-03T05:00:00Z")
    assert found.charges_from_datetime == started_at_ms


def test_only_the_fee_range_rounds_the_termination() -> None:
    terminated_at_ms = ms("2024-03-15T11:59:59.600Z")
    found = boundaries(replace(MONTHLY, terminated_at_ms=terminated_at_ms))
    assert found.to_datetime == ms("2024-03-15T12:00:00Z")
    assert found.charges_to_datetime == terminated_at_ms


@pytest.mark.parametrize(
    ("terminated_at", "fee_from"),
    [
        pytest.param("2024-03-15T12:00:00.400Z", "2024-03-01T00:00:00Z", id="same-rounded-second"),
        pytest.param("2024-03-15T12:00:00.500Z", "2024-02-01T00:00:00Z", id="next-second"),
    ],
)
def test_over_is_decided_by_rounded_seconds(terminated_at: str, fee_from: str) -> None:
    found = boundaries(replace(MONTHLY, terminated_at_ms=ms(terminated_at)))
    assert found.from_datetime == ms(fee_from)


@pytest.mark.parametrize(
    ("run_at", "charges_from", "charges_to", "days"),
    [
        pytest.param(
            "2024-03-15T12:00:00Z", "2024-02-01T00:00:00Z", "2024-02-29T23:59:59.999Z", 29, id="at"
        ),
        pytest.param(
            "2024-03-16T00:10:00Z", "2024-03-01T00:00:00Z", "2024-03-15T12:00:00Z", 31, id="after"
        ),
    ],
)
def test_split_usage_of_a_midday_termination(
    run_at: str, charges_from: str, charges_to: str, days: int
) -> None:
    """Lago's oddity: the run at the very moment of the termination settles the month before."""
    found = boundaries(
        replace(
            YEARLY,
            bill_charges_monthly=True,
            terminated_at_ms=ms("2024-03-15T12:00:00Z"),
            billing_at_ms=ms(run_at),
        )
    )
    assert found.from_datetime == ms("2024-01-01T00:00:00Z")
    assert found.charges_from_datetime == ms(charges_from)
    assert found.charges_to_datetime == ms(charges_to)
    assert found.charges_duration_in_days == days


def test_a_cheaper_replacement_leaves_the_fee_in_advance_where_it_was() -> None:
    found = boundaries(
        replace(
            MONTHLY,
            pay_in_advance=True,
            terminated_at_ms=ms("2024-03-01T00:10:00Z"),
            billing_at_ms=ms("2024-03-01T00:10:00Z"),
            replacement=Replacement(downgrade=True),
        )
    )
    assert found.from_datetime == ms("2024-03-01T00:00:00Z")
    assert found.charges_from_datetime == ms("2024-02-01T00:00:00Z")
    assert found.charges_to_datetime == ms("2024-02-29T23:59:59.999Z")


@pytest.mark.parametrize(
    ("timezone", "charges_to", "charges_from"),
    [
        pytest.param(
            "Asia/Tokyo", "2024-01-31T14:59:59Z", "2024-01-31T15:00:00Z", id="no-hole-left"
        ),
        pytest.param(
            "Asia/Tokyo", "2024-01-30T21:59:59Z", "2024-02-01T00:00:00Z", id="26-hours-apart"
        ),
        pytest.param(
            "Asia/Tokyo", "2024-01-30T22:00:00Z", "2024-01-30T22:00:01Z", id="just-within"
        ),
        pytest.param("UTC", "2024-01-31T14:59:59Z", "2024-02-01T00:00:00Z", id="not-moved"),
    ],
)
def test_usage_continues_where_another_timezone_stopped(
    timezone: str, charges_to: str, charges_from: str
) -> None:
    found = boundaries(replace(MONTHLY, last_invoice=LastInvoice(timezone, ms(charges_to))))
    assert found.charges_from_datetime == ms(charges_from)
    assert found.from_datetime == ms("2024-02-01T00:00:00Z")


@pytest.mark.parametrize("month", range(1, 13))
@pytest.mark.parametrize(
    ("request_", "opening"),
    [
        pytest.param(YEARLY, {1}, id="year"),
        pytest.param(replace(YEARLY, interval="semiannual"), {1, 7}, id="half-year"),
        pytest.param(replace(YEARLY, interval="quarterly"), set(range(1, 13)), id="quarter"),
        pytest.param(replace(YEARLY, interval="weekly"), set(range(1, 13)), id="week"),
        pytest.param(
            replace(YEARLY, billing_time="anniversary", subscription_at_ms=ms("2022-11-05T00:00Z")),
            {11},
            id="year-from-november",
        ),
        pytest.param(
            replace(
                YEARLY,
                interval="semiannual",
                billing_time="anniversary",
                subscription_at_ms=ms("2022-11-05T00:00Z"),
            ),
            {5, 11},
            id="half-year-from-november",
        ),
    ],
)
def test_runs_for_fixed_charges_alone_carry_usage_in_the_opening_month(
    request_: BoundariesRequest, opening: set[int], month: int
) -> None:
    run = replace(
        request_, bill_fixed_charges_monthly=True, billing_at_ms=ms(f"2024-{month:02}-07T01:00Z")
    )
    assert (boundaries(run).charges_from_datetime is not None) is (month in opening)
    assert boundaries(replace(run, current_usage=True)).charges_from_datetime is not None


def test_months_of_a_long_plan_are_billing_days_only_when_billed_monthly() -> None:
    grid = PeriodGrid("yearly", "anniversary", ms("2023-01-31T00:00:00Z"), "UTC")
    month_end_ms = ms("2024-02-29T10:00:00Z")
    assert not is_billing_day(grid, month_end_ms)
    assert is_billing_day(grid, month_end_ms, billed_monthly=True)
    assert not is_billing_day(grid, ms("2024-02-28T10:00:00Z"), billed_monthly=True)


def test_a_billing_day_has_one_invoice_and_the_first_day_none() -> None:
    grid = PeriodGrid("weekly", "anniversary", ms("2024-01-01T00:00:00Z"), "UTC")
    runs_at_ms = [
        ms("2024-01-01T10:00:00Z"),
        ms("2024-01-08T00:10:00Z"),
        ms("2024-01-08T09:10:00Z"),
        ms("2024-01-09T09:10:00Z"),
    ]
    first = invoices_from_runs(grid, runs_at_ms)
    assert first == {date(2024, 1, 8)}
    assert invoices_from_runs(grid, runs_at_ms, billed=first) == frozenset()


@given(request=REQUESTS)
def test_no_range_starts_before_or_ends_before_the_start(request: BoundariesRequest) -> None:
    found = boundaries(request)
    assert request.started_at_ms is not None
    assert found.to_datetime is not None
    assert found.to_datetime >= request.started_at_ms
    if found.charges_from_datetime is not None and found.charges_to_datetime is not None:
        assert found.charges_from_datetime >= request.started_at_ms
        assert found.charges_to_datetime >= request.started_at_ms


@given(request=REQUESTS)
def test_current_usage_shows_the_running_period(request: BoundariesRequest) -> None:
    found = boundaries(
        replace(request, current_usage=True, terminated_at_ms=None, last_invoice=None)
    )
    assert found.previous_beginning_of_period <= request.billing_at_ms
    # An hour that occurs twice at the end of a period is in none of Lago's ranges.
    assert request.billing_at_ms <= found.next_end_of_period + 3_600_000
    assert found.charges_from_datetime is not None


@given(request=REQUESTS)
def test_not_started_has_no_ranges_but_a_period(request: BoundariesRequest) -> None:
    found = boundaries(replace(request, started_at_ms=None))
    assert (found.from_datetime, found.to_datetime) == (None, None)
    assert (found.charges_from_datetime, found.charges_to_datetime) == (None, None)
    started = boundaries(request)
    assert found.charges_duration_in_days == started.charges_duration_in_days
    assert found.next_end_of_period == started.next_end_of_period


@pytest.mark.parametrize(
    ("timezone", "day", "last_second"),
    [
        pytest.param("Europe/Paris", "2024-03-31", "2024-03-31T21:59:59Z", id="short-day"),
        pytest.param("America/Sao_Paulo", "2018-02-17", "2018-02-18T01:59:59Z", id="hour-repeated"),
        pytest.param("America/Nuuk", "2024-03-30", "2024-03-31T01:59:59Z", id="hour-skipped"),
    ],
)
def test_end_of_day_as_lago_prints_it(timezone: str, day: str, last_second: str) -> None:
    assert end_of_day_ms(date.fromisoformat(day), timezone) == ms(last_second) + 999


@pytest.mark.parametrize(
    ("timezone", "at", "midnight"),
    [
        pytest.param(
            "America/Havana", "2024-11-03T04:30:00Z", "2024-11-03T04:00:00Z", id="first-pass"
        ),
        pytest.param(
            "America/Havana", "2024-11-03T15:00:00Z", "2024-11-03T05:00:00Z", id="second-midnight"
        ),
        pytest.param(
            "Europe/Paris", "2024-03-31T10:00:00Z", "2024-03-30T23:00:00Z", id="offset-not-yet"
        ),
        pytest.param(
            "Asia/Beirut", "2024-03-31T10:00:00Z", "2024-03-30T22:00:00Z", id="midnight-skipped"
        ),
    ],
)
def test_midnight_by_the_clock_in_force(timezone: str, at: str, midnight: str) -> None:
    assert midnight_by_clock_at_ms(ms(at), timezone) == ms(midnight)


@given(timezone=st.sampled_from(ZONES), at_ms=INSTANTS_MS)
def test_either_midnight_opens_a_local_day(timezone: str, at_ms: int) -> None:
    assert opens_a_local_day(midnight_by_clock_at_ms(at_ms, timezone), timezone)


@pytest.mark.parametrize("timezone", ["America/New_York", "Europe/Paris"])
def test_a_clock_change_within_a_month_leaves_its_end(timezone: str) -> None:
    grid = PeriodGrid("monthly", "calendar", ms("2024-01-10T00:00:00Z"), timezone)
    k = grid.index_at(ms("2024-03-15T00:00:00Z"))
    assert lago_end_ms(grid, k) == grid.start_ms(k + 1) - 1


def test_a_repeated_last_hour_is_printed_the_first_time() -> None:
    grid = PeriodGrid("monthly", "anniversary", ms("2017-01-18T10:00:00Z"), "America/Sao_Paulo")
    k = grid.index_at(ms("2018-02-10T00:00:00Z"))
    assert lago_end_ms(grid, k) == ms("2018-02-18T01:59:59Z") + 999


@given(grid=GRIDS, k=INDEXES)
def test_a_period_opens_on_its_post_alone(grid: PeriodGrid, k: int) -> None:
    assert is_post(grid, post_of(grid, k))
    assert not is_post(grid, post_of(grid, k) + timedelta(days=1))


@given(grid=GRIDS, k=INDEXES)
def test_a_run_on_a_post_settles_the_period_before(grid: PeriodGrid, k: int) -> None:
    assert settled_index(grid, post_of(grid, k)) == k - 1


@given(grid=GRIDS, day=st.dates(date(1975, 1, 1), date(2090, 1, 1)))
def test_a_run_settles_the_running_or_the_previous_period(grid: PeriodGrid, day: date) -> None:
    assert index_of(grid, day) - settled_index(grid, day) in {0, 1}


@given(grid=GRIDS, k=st.integers(0, 40))
def test_the_monthly_split_refines_the_plan(grid: PeriodGrid, k: int) -> None:
    assert is_post(split_monthly(grid), post_of(grid, k))
