"""Laws of periods found by arithmetic: the same ones as made one after the other from the start."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.definitions.periods import _FEW_TERMS, NEVER_MS, Period, ceil_to
from app.definitions.terms import subscription_timeline
from app.definitions.timeline import Timeline
from tables.cells.late_cut import LateCut, revised_after_correction
from tests.laws.lives import ZONES
from tests.world.clock import ms
from tests.world.definitions_log import ORG, Log, subscription_body

_Changes = list[tuple[int, Command]]
DAY_MS = 86_400_000
NOW = "2024-01-31T01:00:00Z"

SOON_MS = st.builds(
    lambda week, seconds: week * 7 * DAY_MS + 5 * DAY_MS - 3_600_000 + seconds * 1000,
    st.integers(0, 9),
    st.integers(-100, 200),
)
"""Around the end of a week, where terms may come and go before any of them has it due."""
LIMITS = st.sampled_from([3, 4, 5])
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 90 * DAY_MS) | SOON_MS,
        st.one_of(
            st.builds(
                lambda grid_s, grace_s, elapsed, late_window_s: commands.set_settings(
                    SettingsRecord(
                        close_grid_s=grid_s,
                        revise_every_s=max(3600, grid_s),
                        grace_s=grace_s,
                        close_elapsed=elapsed,
                        late_window_s=late_window_s,
                        input_limits=5,
                    )
                ),
                st.sampled_from([60, 3600, 86_400, 20 * 86_400, 21 * 86_400]),
                st.sampled_from([0, 90, 40 * 86_400]),
                st.booleans(),
                st.sampled_from([0, 3600, 30 * 86_400]),
            ),
            st.builds(
                lambda zone, days: commands.upsert_customer(
                    ORG,
                    {
                        "external_id": "cust_1",
                        "timezone": zone,
                        "billing_configuration": {"invoice_grace_period": days},
                    },
                ),
                st.sampled_from(ZONES),
                st.sampled_from([0, 3, 45]),
            ),
            st.just(commands.terminate_subscription(ORG, "sub_1")),
            st.just(commands.create_subscription(ORG, subscription_body(plan_code="cheaper"))),
        ),
    ),
    max_size=8,
)
MOVES = st.lists(
    st.tuples(
        st.integers(0, 400 * DAY_MS),
        st.one_of(
            st.builds(
                lambda zone: commands.upsert_customer(
                    ORG, {"external_id": "cust_1", "timezone": zone}
                ),
                st.sampled_from(ZONES),
            ),
            st.builds(
                lambda ending_at: commands.update_subscription(
                    ORG, "sub_1", {"ending_at": ending_at}
                ),
                st.sampled_from([None, "2024-06-10T10:00:00Z", "2025-01-15T10:30:00Z"]),
            ),
            st.just(commands.terminate_subscription(ORG, "sub_1")),
        ),
    ),
    max_size=8,
)
"""Of the customer, and of the end."""


@pytest.fixture(
    autouse=True, scope="module", params=[0, _FEW_TERMS], ids=["all terms", "many terms"]
)
def _how_few_are_gone_through(request: pytest.FixtureRequest) -> Iterator[None]:
    """Find where to begin by arithmetic of however few terms, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.definitions.periods._FEW_TERMS", request.param)
        yield


@st.composite
def timelines(draw: st.DrawFn, changes: st.SearchStrategy[_Changes] = CHANGES) -> Timeline:
    """Of a subscription that began years before or after it was made, under terms that change."""
    log = Log(NOW)
    elapsed, fold_version = draw(st.booleans()), draw(st.sampled_from([1, 2]))
    settings = SettingsRecord(
        close_elapsed=elapsed, fold_version=fold_version, input_limits=draw(LIMITS)
    )
    log.accept(commands.set_settings(settings))
    log.plan(interval=draw(st.sampled_from(["weekly", "monthly", "quarterly", "yearly"])))
    log.plan("cheaper", amount_cents=0)
    log.customer(timezone=draw(st.sampled_from(ZONES)))
    more: dict[str, Any] = {}
    if draw(st.booleans()):
        more["ending_at"] = draw(st.sampled_from(["2024-03-01T00:00:00Z", "2025-01-15T10:30:00Z"]))
    log.subscribe(
        billing_time=draw(st.sampled_from(["calendar", "anniversary"])),
        subscription_at=draw(
            st.sampled_from(["2011-11-30T12:00:00Z", "2020-02-29T00:00:00Z", NOW])
        ),
        **more,
    )
    for later_ms, command in sorted(draw(changes), key=lambda change: change[0]):
        log.now_ms = ms(NOW) + later_ms
        log.append(command)
    versions = log.definitions.subscriptions(ORG, "sub_1")[0]
    return subscription_timeline(log.definitions, versions)


def is_due(period: Period, done_ms: int) -> bool:
    return done_ms < period.due_at_ms < NEVER_MS


@given(timelines(), st.integers(-1, 120 * DAY_MS))
def test_what_is_due_later_is_found_without_what_was_due_before(
    timeline: Timeline, later_ms: int
) -> None:
    check_what_is_due(timeline, later_ms if later_ms < 0 else ms(NOW) + later_ms)


@given(timelines(MOVES))
def test_what_is_due_is_found_however_often_the_customer_moved(timeline: Timeline) -> None:
    for days in range(0, 500, 9):
        check_what_is_due(timeline, ms(NOW) + days * DAY_MS)
    if timeline.over_ms < NEVER_MS:
        # Whoever looks at all that there is has a cut that never comes.
        assert not any(is_due(period, NEVER_MS) for period in timeline.due_after(NEVER_MS))


@pytest.mark.parametrize("days", range(0, 120, 5))
def test_who_was_just_made_has_no_period_that_a_grid_had_before(days: int) -> None:
    log = Log(NOW)
    log.plan(interval="monthly")
    log.customer()
    log.subscribe(billing_time="calendar", subscription_at=NOW)
    timeline = subscription_timeline(
        log.definitions, log.definitions.subscriptions(ORG, "sub_1")[0]
    )
    check_what_is_due(timeline, ms(NOW) + days * DAY_MS + 3_600_000)


def check_what_is_due(timeline: Timeline, done_ms: int) -> None:
    until_ms = ms("2026-01-01T00:00:00Z")
    every = timeline.until(until_ms)
    found = []
    for period in timeline.due_after(done_ms):
        if period.start_ms > until_ms:
            break
        found.append(period)
    assert [p for p in found if is_due(p, done_ms)] == [p for p in every if is_due(p, done_ms)]
    assert set(found) <= set(every)
    # Whoever closes one looks at the one before it.
    before = {later.start_ms: earlier for earlier, later in pairwise(every)}
    at_hand = set(found)
    assert all(before.get(p.start_ms) in {None, *at_hand} for p in found if is_due(p, done_ms))


def is_open(period: Period, at_ms: int) -> bool:
    last_ms = max(period.due_at_ms, period.carries_until_ms)
    return at_ms <= last_ms and period.due_at_ms < NEVER_MS


DAYS = st.integers(-13 * 366, 500).map(lambda day: ms(NOW) + day * DAY_MS)
AGES = st.integers(0, 300).map(lambda day: ms(NOW) + day * DAY_MS)


@given(timelines(), AGES, DAYS | st.just(-1), DAYS)
def test_what_late_events_change_is_found_without_what_is_over(
    timeline: Timeline, at_ms: int, start_ms: int, asked_ms: int
) -> None:
    every = [p for p in Timeline(timeline.terms).until(at_ms) if p.start_ms >= start_ms]
    timeline.holding(asked_ms)
    found = []
    for period in timeline.open_after(at_ms, start_ms):
        if period.start_ms > at_ms:
            break
        found.append(period)
    assert [p for p in found if is_open(p, at_ms)] == [p for p in every if is_open(p, at_ms)]
    assert set(found) <= set(every)


def first_of_all(every: list[Period], at_ms: int, cut_ms: int) -> int:
    """Return the first cut of all periods at which an event counts; `cut_ms`: the latest."""
    for period in every:
        if at_ms <= period.due_at_ms:
            cut_ms = min(cut_ms, period.due_at_ms)
        elif at_ms <= period.carries_until_ms:
            revised_ms = ceil_to(at_ms, period.revise_every_ms)
            cut_ms = min(cut_ms, period.carries_until_ms, revised_ms)
    return cut_ms


@given(timelines(), st.data())
def test_the_first_cut_of_all_open_periods_is_found_in_a_few(
    timeline: Timeline, data: st.DataObject
) -> None:
    every = Timeline(timeline.terms).until(ms("2025-01-01T00:00:00Z"))[-60:]
    if not every:
        return
    some = st.sampled_from(every)
    held, near, last = data.draw(some), data.draw(some), data.draw(some)
    part = data.draw(st.sampled_from(["start_ms", "due_at_ms", "carries_until_ms"]))
    at_ms = getattr(near, part) - data.draw(st.sampled_from([0, 1, 60_000, DAY_MS]))
    if not held.start_ms <= at_ms < ms("2025-01-01T00:00:00Z"):
        return
    own_ms = ceil_to(at_ms, held.revise_every_ms)
    found = LateCut.of(timeline, at_ms, held.start_ms, last.end_ms, own_ms)
    shown = [period for period in every if held.start_ms <= period.start_ms < last.end_ms]
    # So do those that come after it, until the cut is taken.
    times_ms = [found.until_ms, *(period.start_ms for period in shown)]
    for late_ms in [at_ms, *(each for each in times_ms if at_ms < each <= found.until_ms)]:
        begun = [period for period in shown if period.start_ms <= late_ms]
        own_ms = ceil_to(late_ms, held.revise_every_ms)
        assert found.cut_ms == first_of_all(begun, late_ms, own_ms)


def test_late_events_count_at_the_last_cut_of_a_period_that_comes_before_revisions() -> None:
    log = Log(NOW)
    log.accept(commands.set_settings(SettingsRecord(close_grid_s=60, grace_s=90)))
    log.plan(interval="weekly")
    log.customer()
    log.subscribe(subscription_at="2020-01-06T00:00:00Z")
    (versions,) = log.definitions.subscriptions(ORG, "sub_1")
    timeline = subscription_timeline(log.definitions, versions)
    week = timeline.holding(ms("2024-03-14T00:00:00Z"))
    assert week is not None
    at_ms = week.carries_until_ms - 60_000
    for weeks in (0, 1, 8):
        start_ms = week.start_ms - weeks * 7 * DAY_MS
        found = LateCut.of(timeline, at_ms, start_ms, NEVER_MS, ceil_to(at_ms, 3_600_000))
        assert found.cut_ms == found.until_ms == week.carries_until_ms


@given(timelines(), AGES)
def test_a_correction_shows_at_the_next_revision_of_any_period(
    timeline: Timeline, at_ms: int
) -> None:
    due = [p for p in Timeline(timeline.terms).until(at_ms) if p.due_at_ms < at_ms]
    own_ms = at_ms + 30 * DAY_MS
    cut_ms = min([own_ms, *(ceil_to(at_ms, period.revise_every_ms) for period in due)])
    assert revised_after_correction(timeline, at_ms, own_ms) == cut_ms


def test_however_many_periods_are_open_only_a_few_are_asked_for_their_cut() -> None:
    log = Log(NOW)
    log.accept(commands.set_settings(SettingsRecord(late_window_s=20 * 366 * 86_400)))
    log.plan(interval="weekly")
    log.customer()
    log.subscribe(subscription_at="2010-01-04T00:00:00Z")
    (versions,) = log.definitions.subscriptions(ORG, "sub_1")
    timeline = subscription_timeline(log.definitions, versions)
    at_ms = ms(NOW) + 30 * DAY_MS
    revised_ms = ceil_to(at_ms, 3_600_000)
    for years in (1, 5, 13):
        asked = 0
        for period in timeline.showing(at_ms, at_ms - years * 365 * DAY_MS, revised_ms):
            if period.start_ms > at_ms:
                break
            asked += 1
        assert asked <= 2
    made = len(timeline._first.periods)
    revised_after_correction(timeline, at_ms, revised_ms)
    assert len(timeline._first.periods) == made


@given(timelines(), st.lists(st.integers(-13 * 366, 500).map(lambda day: day * DAY_MS), max_size=6))
def test_any_period_is_found_whichever_was_asked_for_before(
    timeline: Timeline, later_ms: list[int]
) -> None:
    every = Timeline(timeline.terms).until(ms("2026-06-01T00:00:00Z"))
    for at_ms in (ms(NOW) + each for each in later_ms):
        holding = next((p for p in every if p.start_ms <= at_ms < p.end_ms), None)
        assert timeline.holding(at_ms) == holding
        after = [p for p in every if p.start_ms > at_ms][:3]
        assert list(islice(timeline.after(at_ms), len(after))) == after
    assert Timeline(timeline.terms).until(ms(NOW)) == timeline.until(ms(NOW))


@pytest.mark.parametrize("interval", ["weekly", "monthly"])
def test_as_many_periods_are_kept_after_sixty_years_as_after_one(interval: str) -> None:
    kept = []
    for year in (1971, 1975, 2030):
        log = Log("1970-01-01T00:00:00Z")
        log.plan(interval=interval)
        log.customer()
        log.subscribe(subscription_at="1970-01-01T00:00:00Z")
        (versions,) = log.definitions.subscriptions(ORG, "sub_1")
        timeline = subscription_timeline(log.definitions, versions)
        next(iter(timeline))
        for days in range(0, 60, 3):
            at_ms = ms(f"{year}-01-01T00:00:00Z") + days * DAY_MS
            timeline.holding(at_ms)
            next(timeline.after(at_ms))
        assert timeline._recent is not None
        kept.append(len(timeline._first.periods) + len(timeline._recent.periods))
    assert max(kept) - min(kept) <= 1


@given(timelines(), st.integers(-1, 120 * DAY_MS))
def test_the_next_cut_is_the_earliest_that_is_due(timeline: Timeline, later_ms: int) -> None:
    done_ms = later_ms if later_ms < 0 else ms(NOW) + later_ms
    dues_ms = [
        p.due_at_ms for p in timeline.until(ms("2027-06-01T00:00:00Z")) if is_due(p, done_ms)
    ]
    assert timeline.next_due(done_ms).at_ms == min(dues_ms, default=NEVER_MS)


@given(timelines(), st.lists(st.integers(-1, 500).map(lambda day: day * DAY_MS), max_size=6))
def test_what_is_due_next_is_found_whatever_was_asked_for_before(
    timeline: Timeline, later_ms: list[int]
) -> None:
    every = Timeline(timeline.terms).until(ms("2027-06-01T00:00:00Z"))
    pairs = list(zip(every, [None, *every], strict=False))
    for done_ms in (each if each < 0 else ms(NOW) + each for each in later_ms):
        due = timeline.next_due(done_ms)
        dues_ms = [period.due_at_ms for period in every if is_due(period, done_ms)]
        assert due.at_ms == min(dues_ms, default=NEVER_MS)
        first = [pair for pair in pairs if pair[0].due_at_ms == due.at_ms < NEVER_MS]
        assert list(due.periods) == first


@given(timelines())
def test_no_period_is_due_before_one_that_none_overtakes(timeline: Timeline) -> None:
    every = Timeline(timeline.terms).until(ms("2026-06-01T00:00:00Z"))
    for number, period in enumerate(every):
        after = every[number + 1 :]
        told = list(islice(timeline.overtaking(period), 12))
        if told:
            assert told[: len(after)] == after[: len(told)]
        else:
            assert min((each.due_at_ms for each in after), default=NEVER_MS) >= period.due_at_ms


def test_of_years_that_are_closed_hardly_a_period_is_made() -> None:
    log = Log(NOW)
    log.plan(interval="weekly")
    log.customer()
    log.subscribe(subscription_at="1970-01-01T00:00:00Z")
    (versions,) = log.definitions.subscriptions(ORG, "sub_1")
    timeline = subscription_timeline(log.definitions, versions)
    first = next(timeline.due_after(ms(NOW) + DAY_MS))
    assert first.start_ms > ms("2024-01-10T00:00:00Z")
