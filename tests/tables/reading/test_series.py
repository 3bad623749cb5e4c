"""Windows on the wall of a timezone, and what is folded into them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.instants import iso_seconds
from app.bounds.turns import STEP_ITEMS, drained
from app.meter.evidence import WindowName
from app.numbers import exact_sum
from app.wire.arrivals import Arrival
from bench.growth.spent import steps_of
from tables.cells.figures import CellFigures
from tables.reading.series import (
    Series,
    SeriesValue,
    SeriesWindow,
    TooManyWindows,
    _shows,
    windows,
)
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, ms
from tests.world.definitions import (
    METRICS,
    ORG,
    SUBSCRIPTION,
    changing_definitions,
    definitions_of,
)
from tests.world.events import arrivals, arrived
from tests.world.partition import Live
from tests.world.profiles import examples


@pytest.mark.parametrize(
    ("name", "timezone", "since", "until", "hours"),
    [
        ("day", "Europe/Paris", "2024-03-30T12:00:00Z", "2024-04-01T00:00:00Z", [24, 23, 24]),
        ("day", "Europe/Paris", "2024-10-26T12:00:00Z", "2024-10-28T00:00:00Z", [24, 25, 24]),
        ("day", "UTC", "2024-03-30T12:00:00Z", "2024-04-01T00:00:00Z", [24, 24]),
        ("month", "America/New_York", "2024-03-10T00:00:00Z", "2024-04-02T00:00:00Z", [743, 720]),
        ("month", "UTC", "2024-02-29T00:00:00Z", "2024-03-02T00:00:00Z", [696, 744]),
        ("hour", "Europe/Paris", "2024-03-31T00:30:00Z", "2024-03-31T02:00:00Z", [1, 1]),
        ("hour", "Asia/Kolkata", "2024-03-31T00:15:00Z", "2024-03-31T01:00:00Z", [1, 1]),
        # The clock goes from 2:00 to 2:30, in autumn from 2:00 to 1:30.
        (
            "hour",
            "Australia/Lord_Howe",
            "2024-10-05T14:30:00Z",
            "2024-10-05T16:30:00Z",
            [1, 0.5, 1],
        ),
        (
            "hour",
            "Australia/Lord_Howe",
            "2024-04-06T14:00:00Z",
            "2024-04-06T16:00:00Z",
            [1, 0.5, 1],
        ),
        # 30 December 2011 does not exist there.
        ("day", "Pacific/Apia", "2011-12-29T12:00:00Z", "2011-12-31T00:00:00Z", [24, 24]),
    ],
)
def test_windows_are_as_long_as_on_the_wall(
    name: WindowName, timezone: str, since: str, until: str, hours: list[float]
) -> None:
    found = windows(name, timezone, ms(since), ms(until), 100)
    assert [(end - start) / HOUR_MS for start, end in found] == hours
    assert found[0].start_ms <= ms(since) < found[0].end_ms
    assert found[-1].start_ms < ms(until) <= found[-1].end_ms


@pytest.mark.parametrize(
    ("name", "timezone", "first"),
    [
        ("minute", "UTC", "2024-01-15T10:20:00Z"),
        ("hour", "Asia/Kolkata", "2024-01-15T09:30:00Z"),
        ("day", "Asia/Kolkata", "2024-01-14T18:30:00Z"),
        ("month", "Asia/Kolkata", "2023-12-31T18:30:00Z"),
    ],
)
def test_the_first_window_holds_the_start(name: WindowName, timezone: str, first: str) -> None:
    at_ms = ms("2024-01-15T10:20:30Z")
    assert iso_seconds(windows(name, timezone, at_ms, at_ms + 1, 1)[0].start_ms) == first


ZONES = ["UTC", "Europe/Paris", "Australia/Lord_Howe", "America/St_Johns", "Pacific/Apia"]


@given(
    st.sampled_from(["minute", "hour", "day", "month"]),
    st.sampled_from(ZONES),
    st.integers(ms("2005-01-01T00:00:00Z"), ms("2040-01-01T00:00:00Z")),
    st.integers(1, 400 * DAY_MS),
)
@examples(100)
def test_windows_follow_each_other(
    name: WindowName, timezone: str, from_ms: int, length_ms: int
) -> None:
    try:
        found = windows(name, timezone, from_ms, from_ms + length_ms, 500)
    except TooManyWindows:
        shortest_ms = {"minute": 60_000, "hour": HOUR_MS // 2, "day": 23 * HOUR_MS}
        assert length_ms > 499 * shortest_ms[name]
        return
    assert all(one.end_ms == other.start_ms for one, other in pairwise(found))
    assert all(start < end for start, end in found)
    assert found[0].start_ms <= from_ms < found[0].end_ms
    # Wherever one starts, the same windows are met.
    (alone,) = windows(name, timezone, found[-1].end_ms - 1, found[-1].end_ms, 1)
    assert alone == found[-1]


def test_too_many_windows_are_refused() -> None:
    with pytest.raises(TooManyWindows):
        windows("minute", "UTC", START_MS, START_MS + HOUR_MS, 59)
    assert len(windows("minute", "UTC", START_MS, START_MS + HOUR_MS, 60)) == 60


EVENTS: dict[str, list[dict[str, Any]]] = {
    "count": [{}, {}, {}],
    "sum": [{"v": "1.5"}, {"v": "2", "g": "x"}, {"v": "-1"}],
    "balance": [{"v": "1.5"}, {"v": "2"}, {"v": "-1"}],
    "max": [{"v": "3"}, {"v": "7"}, {"v": "2"}],
    "latest": [{"v": "3"}, {"v": "7"}, {"v": "2"}],
    "unique": [{"u": "a"}, {"u": "b"}, {"u": "a"}],
    "seats": [{"u": "a"}, {"u": "b"}, {"u": "a", "operation_type": "remove"}],
    "level": [{"v": "10"}, {"v": "4"}, {"v": "-4"}],
    "average": [{"v": "10"}, {"v": "4"}, {"v": "-4"}],
}
AT_MS = [START_MS + HOUR_MS, START_MS + 6 * HOUR_MS, START_MS + 36 * HOUR_MS]
"""Two on the first day, one at noon of the second."""


@pytest.mark.parametrize(
    ("code", "units", "events_counts"),
    [
        ("count", ["2", "1", "0"], [2, 1, 0]),
        ("sum", ["3.5", "0", "0"], [2, 1, 0]),
        ("balance", ["3.5", "2.5", "2.5"], [2, 3, 3]),
        ("max", ["7", "2", "0"], [2, 1, 0]),
        ("latest", ["7", "2", "0"], [2, 1, 0]),
        ("unique", ["2", "1", "0"], [2, 1, 0]),
        ("seats", ["2", "1", "1"], [2, 1, 1]),
        # 10 for 23 hours and 4 more for 18; then 14 for half a day and 10 for the other.
        ("level", ["12.58333333333333333334", "12", "10"], [2, 1, 0]),
        ("average", ["12.58333333333333333334", "0", "0"], [2, 1, 0]),
    ],
)
def test_every_aggregation_by_day(code: str, units: list[str], events_counts: list[int]) -> None:
    live = Live(definitions_of([code]))
    live.define_all()
    days = windows("day", "UTC", START_MS, START_MS + 3 * DAY_MS, 3)
    series = Series(live.partition, (ORG, SUBSCRIPTION, code), days, "UTC")
    for offset, (at_ms, properties) in enumerate(zip(AT_MS, EVENTS[code], strict=True)):
        series.feed(arrived(code, offset, at_ms, **properties))
    (charge,) = drained(series.values())
    assert [value.units for value in charge.values] == [Decimal(text) for text in units]
    assert [value.events_count for value in charge.values] == events_counts


def test_a_recurring_window_carries_what_came_before_the_range() -> None:
    live = Live(definitions_of(["balance"]))
    live.define_all()
    days = windows("day", "UTC", START_MS + DAY_MS, START_MS + 2 * DAY_MS, 1)
    series = Series(live.partition, (ORG, SUBSCRIPTION, "balance"), days, "UTC")
    for offset, (at_ms, properties) in enumerate(zip(AT_MS, EVENTS["balance"], strict=True)):
        series.feed(arrived("balance", offset, at_ms, **properties))
    (charge,) = drained(series.values())
    assert charge.values == [SeriesValue(days[0], Decimal("2.5"), Decimal("2.5"), 3)]


def test_events_outside_all_periods_do_not_count() -> None:
    live = Live(definitions_of(["count"]))
    live.define_all()
    days = windows("day", "UTC", START_MS - DAY_MS, START_MS + DAY_MS, 2)
    series = Series(live.partition, (ORG, SUBSCRIPTION, "count"), days, "UTC")
    series.feed(arrived("count", 0, START_MS - HOUR_MS))
    series.feed(arrived("count", 1, START_MS))
    (charge,) = drained(series.values())
    assert [value.events_count for value in charge.values] == [0, 1]


def fed(live: Live, code: str, wanted: Sequence[SeriesWindow], sent: Iterable[Arrival]) -> Series:
    series = Series(live.partition, (ORG, SUBSCRIPTION, code), wanted, "UTC")
    for arrival in sent:
        if arrival.event.code == code and arrival.name == (ORG, SUBSCRIPTION):
            series.feed(arrival)
    return series


def merged_anew(series: Series, window: SeriesWindow) -> list[SeriesValue]:
    """What each charge shows in a window, folded as a period that nothing is carried into."""
    by_charge: dict[str, list[CellFigures]] = {}
    for span, part in series._parts:
        (by_window,) = part.spans
        period = by_window.timeline.holding(window.start_ms)
        assert period is not None
        cells = by_window.cells_of(period) if _shows(span, window) else ()
        figures = [by_window.figures(period, *cell) for cell in cells]
        by_charge.setdefault(span.key.charge_id, []).extend(figures)
    return [
        SeriesValue(
            window,
            exact_sum(each.units for each in found),
            exact_sum(each.total_aggregated_units for each in found),
            sum(each.events_count for each in found),
        )
        for found in by_charge.values()
    ]


@given(st.data())
@examples(100)
def test_a_window_shows_what_all_that_is_earlier_comes_to(data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.sampled_from(list(METRICS)), min_size=1, max_size=3, unique=True))
    live = Live(data.draw(changing_definitions(codes)))
    live.define_all()
    sent = data.draw(arrivals(codes))
    live.deliver(sent)
    from_ms = START_MS + data.draw(st.integers(-3, 14)) * DAY_MS
    until_ms = from_ms + data.draw(st.integers(1, 14)) * DAY_MS
    wanted = windows("day", "Europe/Paris", from_ms, until_ms, 20)
    for code in codes:
        series = fed(live, code, wanted, sent)
        found = [each.values for each in drained(series.values())]
        anew = [merged_anew(series, window) for window in wanted]
        assert found == [list(values) for values in zip(*anew, strict=True)]


def hourly(code: str, count: int, groups: int = 1) -> Series:
    """A series by the hour, with an event of each group in every hour."""
    live = Live(definitions_of([code]))
    live.define_all()
    wanted = windows("hour", "UTC", START_MS, START_MS + count * HOUR_MS, count)
    sent = [
        arrived(code, number, START_MS + number % count * HOUR_MS, v="1", u="a", g=f"g{number % 7}")
        for number in range(count * groups)
    ]
    return fed(live, code, wanted, sent)


@pytest.mark.parametrize("code", ["balance", "seats", "level", "sum"])
def test_each_window_takes_as_much_however_many_are_before_it(code: str) -> None:
    few, many = (hourly(code, count) for count in (32, 128))
    taken = [steps_of(partial(drained, series.values())) for series in (few, many)]
    assert taken[1] <= 4.2 * taken[0]


@pytest.mark.parametrize("code", ["balance", "seats", "level", "count"])
@pytest.mark.parametrize("count", [2, 5 * STEP_ITEMS])
def test_values_are_made_by_steps_of_a_few_windows_of_one_charge(code: str, count: int) -> None:
    assert sum(1 for _ in hourly(code, count).values()) >= count // STEP_ITEMS + 1
