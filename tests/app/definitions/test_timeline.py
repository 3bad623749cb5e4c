"""Periods of a subscription and when each is due, under definitions that change."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from app.billing_periods.instants import iso_milliseconds
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.definitions.periods import NEVER_MS, Period, ceil_to
from app.definitions.terms import subscription_timeline
from app.definitions.timeline import Timeline
from tests.world.clock import ms
from tests.world.definitions_log import ORG, Log

DAY_MS = 86_400_000
DAY_S = 86_400


def shown(period: Period) -> tuple[str, str, str]:
    due = "never" if period.due_at_ms == NEVER_MS else iso_milliseconds(period.due_at_ms)
    return iso_milliseconds(period.start_ms), iso_milliseconds(period.end_ms), due


def periods(log: Log, until: str) -> list[tuple[str, str, str]]:
    return [shown(period) for period in timeline(log).until(ms(until))]


def timeline(log: Log) -> Timeline:
    (versions,) = log.definitions.subscriptions(ORG, "sub_1")
    return subscription_timeline(log.definitions, versions)


def upsert(**changes: Any) -> Command:
    return commands.upsert_customer(ORG, {"external_id": "cust_1", **changes})


def world(start: str = "2024-01-10T09:30:00Z", **settings: Any) -> Log:
    log = Log(start)
    if settings:
        log.accept(commands.set_settings(SettingsRecord(**settings)))
    log.plan()
    log.customer()
    return log


def test_first_period_is_partial_and_the_next_ones_follow_without_a_gap() -> None:
    log = world()
    log.subscribe(billing_time="calendar")
    assert periods(log, "2024-03-01T00:00:00Z") == [
        ("2024-01-10T09:30:00.000Z", "2024-02-01T00:00:00.000Z", "2024-02-01T00:00:00.000Z"),
        ("2024-02-01T00:00:00.000Z", "2024-03-01T00:00:00.000Z", "2024-03-01T00:00:00.000Z"),
        ("2024-03-01T00:00:00.000Z", "2024-04-01T00:00:00.000Z", "2024-04-01T00:00:00.000Z"),
    ]
    first = timeline(log).until(ms("2024-01-10T09:30:00Z"))[0]
    assert first.duration_days == 31
    assert first.closing_reason == "period_end"
    assert first.last_ms == first.end_ms - 1
    assert first.to_ms == first.end_ms - 1000


@pytest.mark.parametrize(
    ("at", "start"),
    [
        pytest.param("2024-01-10T09:29:59.999Z", None, id="before-the-start"),
        pytest.param("2024-01-10T09:30:00Z", "2024-01-10T09:30:00Z", id="at-the-start"),
        pytest.param("2024-01-31T23:59:59.999Z", "2024-01-10T09:30:00Z", id="last-millisecond"),
        pytest.param("2024-02-01T00:00:00Z", "2024-02-01T00:00:00Z", id="next-start"),
    ],
)
def test_holding_is_half_open(at: str, start: str | None) -> None:
    log = world()
    log.subscribe(billing_time="calendar")
    found = timeline(log).holding(ms(at))
    assert (found and found.start_ms) == (start and ms(start))


def test_grace_and_close_grid() -> None:
    log = world(close_grid_s=60, grace_s=90)
    log.subscribe(billing_time="calendar")
    assert periods(log, "2024-01-11T00:00:00Z")[0][2] == "2024-02-01T00:02:00.000Z"


def test_the_customers_grace_comes_before_the_settings() -> None:
    log = world(grace_s=90)
    log.customer(billing_configuration={"invoice_grace_period": 3})
    log.subscribe(billing_time="calendar")
    assert periods(log, "2024-01-11T00:00:00Z")[0][2] == "2024-02-04T00:00:00.000Z"


def test_elapsed_periods_are_due_at_creation() -> None:
    log = world("2024-03-10T09:30:30Z")
    log.subscribe(billing_time="calendar", subscription_at="2024-01-10T00:00:00Z")
    dues = [due for _, _, due in periods(log, "2024-03-10T00:00:00Z")]
    created = "2024-03-10T09:31:00.000Z"
    assert dues == [created, created, "2024-04-01T00:00:00.000Z"]


def test_elapsed_periods_may_be_left_out() -> None:
    log = world("2024-03-10T09:30:30Z", close_elapsed=False)
    log.subscribe(billing_time="calendar", subscription_at="2024-01-10T00:00:00Z")
    dues = [due for _, _, due in periods(log, "2024-03-10T00:00:00Z")]
    assert dues == ["never", "never", "2024-04-01T00:00:00.000Z"]


@pytest.mark.parametrize(
    ("close_elapsed", "due"), [(True, "2024-02-01T01:01:00.000Z"), (False, "never")]
)
def test_a_period_that_elapsed_in_its_grace_is_no_running_one(
    close_elapsed: bool, due: str
) -> None:
    """Others on the plan have the same period, and it is due at another time."""
    log = world("2024-01-10T00:00:00Z", grace_s=3600, close_elapsed=close_elapsed)
    log.subscribe(billing_time="calendar", subscription_at="2024-01-10T00:00:00Z")
    assert periods(log, "2024-01-10T00:00:00Z")[0][2] == "2024-02-01T01:00:00.000Z"
    log = world("2024-02-01T00:00:30Z", grace_s=3600, close_elapsed=close_elapsed)
    log.subscribe(billing_time="calendar", subscription_at="2024-01-10T00:00:00Z")
    assert periods(log, "2024-01-10T00:00:00Z")[0][2] == due


@pytest.mark.parametrize(
    ("fold_version", "due"),
    [(1, "2024-01-20T12:01:00.000Z"), (2, "2024-01-21T12:01:00.000Z")],
    ids=["version-1", "version-2"],
)
def test_termination_ends_at_its_instant(fold_version: int, due: str) -> None:
    """It has the grace of any other period; by version 1 it had none."""
    log = world(grace_s=86_400, fold_version=fold_version)
    log.subscribe(billing_time="calendar")
    log.at("2024-01-20T12:00:30.500Z")
    log.accept(commands.terminate_subscription(ORG, "sub_1"))
    (period,) = timeline(log).until(ms("2025-01-01T00:00:00Z"))
    assert shown(period)[1:] == ("2024-01-20T12:00:30.500Z", due)
    assert period.closing_reason == "termination"
    assert iso_milliseconds(period.to_ms) == "2024-01-20T12:00:30.000Z"
    assert period.last_ms == period.end_ms


def test_an_upgrade_ends_the_old_and_starts_the_new_at_one_instant() -> None:
    log = world()
    log.plan("dearer", amount_cents=1000)
    log.subscribe(billing_time="calendar")
    log.at("2024-01-20T12:00:00Z").subscribe(plan_code="dearer")
    old, new = (
        subscription_timeline(log.definitions, versions)
        for versions in log.definitions.subscriptions(ORG, "sub_1")
    )
    (ended,) = old.until(ms("2025-01-01T00:00:00Z"))
    assert (ended.closing_reason, ended.upgraded) == ("plan_change", True)
    first = new.until(ms("2024-01-21T00:00:00Z"))[0]
    assert first.start_ms == ended.end_ms == ms("2024-01-20T12:00:00Z")


def test_a_downgrade_waits_for_the_end_of_the_period() -> None:
    log = world()
    log.plan("cheaper", amount_cents=0)
    log.subscribe(billing_time="calendar")
    log.at("2024-01-20T12:00:00Z").subscribe(plan_code="cheaper")
    old, new = (
        subscription_timeline(log.definitions, versions)
        for versions in log.definitions.subscriptions(ORG, "sub_1")
    )
    (ended,) = old.until(ms("2025-01-01T00:00:00Z"))
    assert (ended.closing_reason, ended.upgraded) == ("plan_change", False)
    assert ended.end_ms == ms("2024-02-01T00:00:00Z")
    assert new.holding(ended.end_ms - 1) is None
    following = new.holding(ended.end_ms)
    assert following is not None
    assert following.end_ms == ms("2024-03-01T00:00:00Z")


def test_what_changes_after_the_due_time_shapes_later_periods_only() -> None:
    log = world()
    log.subscribe(billing_time="calendar")
    log.at("2024-02-01T00:00:01Z").customer(billing_configuration={"invoice_grace_period": 2})
    dues = [due for _, _, due in periods(log, "2024-02-01T00:00:00Z")]
    assert dues == ["2024-02-01T00:00:00.000Z", "2024-03-03T00:00:00.000Z"]


def test_what_changes_at_the_due_time_still_shapes_the_period() -> None:
    log = world()
    log.subscribe(billing_time="calendar")
    log.at("2024-02-01T00:00:00Z").customer(billing_configuration={"invoice_grace_period": 2})
    assert periods(log, "2024-01-11T00:00:00Z")[0][2] == "2024-02-03T00:00:00.000Z"


@pytest.mark.parametrize(
    "made_anew", ["2024-02-02T00:00:00Z", "2024-02-02T12:00:00Z"], ids=["at-once", "later"]
)
def test_a_customer_made_anew_leaves_the_periods_of_the_deleted_one(made_anew: str) -> None:
    log = world()
    log.customer(timezone="Europe/Paris", billing_configuration={"invoice_grace_period": 3})
    log.subscribe(billing_time="calendar")
    log.at("2024-02-02T00:00:00Z").accept(commands.delete_customer(ORG, "cust_1"))
    ended = [
        ("2024-01-10T09:30:00.000Z", "2024-01-31T23:00:00.000Z", "2024-02-03T23:00:00.000Z"),
        ("2024-01-31T23:00:00.000Z", "2024-02-02T00:00:00.000Z", "2024-02-05T00:00:00.000Z"),
    ]
    assert periods(log, "2024-03-01T00:00:00Z") == ended
    log.at(made_anew).customer(timezone="Asia/Tokyo")
    log.subscribe(external_id="sub_2")
    log.customer(billing_configuration={"invoice_grace_period": 1})
    assert periods(log, "2024-03-01T00:00:00Z") == ended


def test_a_new_timezone_leaves_neither_a_hole_nor_a_sliver() -> None:
    log = world()
    log.subscribe(billing_time="calendar")
    log.at("2024-02-10T00:00:00Z").customer(timezone="America/Los_Angeles")
    found = timeline(log).until(ms("2024-04-02T00:00:00Z"))
    assert [iso_milliseconds(period.end_ms) for period in found[:3]] == [
        "2024-02-01T00:00:00.000Z",
        "2024-03-01T08:00:00.000Z",
        "2024-04-01T07:00:00.000Z",
    ]
    for earlier, later in itertools.pairwise(found):
        assert earlier.end_ms == later.start_ms


def test_late_until_is_the_late_window_after_the_due_time() -> None:
    log = world(late_window_s=3600)
    log.subscribe(billing_time="calendar")
    first = timeline(log).until(ms("2024-01-11T00:00:00Z"))[0]
    assert first.late_until_ms == first.due_at_ms + 3_600_000


@pytest.mark.parametrize(
    ("at_ms", "grid_ms", "expected"),
    [
        pytest.param(0, 60_000, 0, id="zero"),
        pytest.param(1, 60_000, 60_000, id="after"),
        pytest.param(60_000, 60_000, 60_000, id="on-the-grid"),
        pytest.param(DAY_MS - 1, DAY_MS, DAY_MS, id="just-before"),
    ],
)
def test_ceil_to(at_ms: int, grid_ms: int, expected: int) -> None:
    assert ceil_to(at_ms, grid_ms) == expected


CHANGES: tuple[tuple[str, Command], ...] = (
    ("2024-02-10T00:00:00Z", upsert(timezone="America/Los_Angeles")),
    ("2024-03-20T00:00:00Z", upsert(billing_configuration={"invoice_grace_period": 40})),
    ("2024-04-02T00:00:00Z", commands.set_settings(SettingsRecord(close_grid_s=600))),
    ("2024-06-05T00:00:00Z", commands.update_plan(ORG, "plan_code", {"name": "other"})),
    ("2024-06-20T12:00:00Z", commands.terminate_subscription(ORG, "sub_1")),
    ("2024-06-21T00:00:00Z", upsert(timezone="Asia/Tokyo")),
)


@pytest.mark.parametrize("close_elapsed", [True, False])
def test_under_other_terms_a_timeline_is_as_if_made_anew(close_elapsed: bool) -> None:
    log = world(grace_s=86_400, close_elapsed=close_elapsed)
    log.subscribe(billing_time="calendar", subscription_at="2023-08-03T00:00:00Z")
    end_ms = ms("2024-12-01T00:00:00Z")
    known = [timeline(log)]
    known[0].until(end_ms)
    for at, command in CHANGES:
        log.at(at).accept(command)
        anew = timeline(log)
        for reached_ms in (0, log.now_ms, end_ms):
            before = Timeline(known[-1].terms)
            before.until(reached_ms)
            assert before.under(anew.terms).until(end_ms) == anew.until(end_ms)
        known.append(anew)
    assert any(a is b for a, b in zip(known[0].until(end_ms), anew.until(end_ms), strict=False))


def test_under_terms_that_differ_from_the_first_on_nothing_is_kept() -> None:
    """As a later subscription makes them, which takes over a period that an end has skipped."""
    log = world()
    log.subscribe(billing_time="calendar")
    ended = commands.terminate_subscription(ORG, "sub_1", on_termination_invoice="skip")
    log.at("2024-03-10T00:00:00Z").accept(ended)
    before, end_ms = timeline(log), ms("2024-12-01T00:00:00Z")
    before.until(end_ms)
    log.at("2024-03-12T00:00:00Z").subscribe(subscription_at="2024-03-05T00:00:00Z")
    first, _ = log.definitions.subscriptions(ORG, "sub_1")
    anew = subscription_timeline(log.definitions, first)
    assert before.until(end_ms) != anew.until(end_ms) == before.under(anew.terms).until(end_ms)
    assert before.differs_ms(anew) == before.terms[0].since_ms
    assert before.differs_ms(before) == NEVER_MS


def test_a_move_hours_after_a_period_was_fixed_makes_no_period_of_hours() -> None:
    """Where the customer lives now that period goes on: the next one begins where it ended."""
    log = world()
    log.subscribe(billing_time="calendar")
    log.at("2024-03-01T02:00:00Z").accept(upsert(timezone="America/Los_Angeles"))
    assert periods(log, "2024-04-02T00:00:00Z")[1:] == [
        ("2024-02-01T00:00:00.000Z", "2024-03-01T00:00:00.000Z", "2024-03-01T00:00:00.000Z"),
        ("2024-03-01T00:00:00.000Z", "2024-04-01T07:00:00.000Z", "2024-04-01T07:00:00.000Z"),
        ("2024-04-01T07:00:00.000Z", "2024-05-01T07:00:00.000Z", "2024-05-01T07:00:00.000Z"),
    ]


@pytest.mark.parametrize("close_elapsed", [True, False])
def test_periods_fixed_since_a_time_are_found_without_those_before(close_elapsed: bool) -> None:
    log = world(grace_s=86_400, close_elapsed=close_elapsed)
    log.subscribe(billing_time="calendar", subscription_at="2023-08-03T00:00:00Z")
    end_ms = ms("2024-12-01T00:00:00Z")
    for at, command in CHANGES:
        before_ms = log.now_ms
        log.at(at).accept(command)
        whole = timeline(log)
        unfixed = [each for each in whole.until(end_ms) if each.fixed_at_ms > before_ms]
        assert Timeline(whole.terms).fixed_since(before_ms + 1, end_ms) == unfixed


@pytest.mark.parametrize(
    ("changes", "done_days"),
    [
        (
            [
                (0, "UTC", 1, 60),
                (3, "UTC", 0, DAY_S),
                (22, "UTC", 1, 21 * DAY_S),
                (41, "UTC", 0, 20 * DAY_S),
                (48, "UTC", 0, 20 * DAY_S),
            ],
            54,
        ),
        ([(0, "Asia/Tokyo", 1, 60), (19, "UTC", 0, 60)], 30),
    ],
    ids=["terms that go before they have it due", "weeks of another timezone"],
)
def test_where_to_begin_is_not_told_by_terms_that_do_not_decide(
    monkeypatch: pytest.MonkeyPatch, changes: list[tuple[int, str, int, int]], done_days: int
) -> None:
    monkeypatch.setattr("app.definitions.periods._FEW_TERMS", 0)
    log = Log("1970-01-01T00:00:00Z")
    log.plan(interval="weekly")
    log.customer()
    log.subscribe(subscription_at="1970-01-01T00:00:00Z", billing_time="calendar")
    (only,) = timeline(log).terms
    terms = [
        only._replace(
            since_ms=days * DAY_MS,
            grid=replace(only.grid, timezone=timezone),
            grace_ms=grace_days * DAY_MS,
            close_grid_ms=grid_s * 1000,
        )
        for days, timezone, grace_days, grid_s in changes
    ]
    done_ms, until_ms = done_days * DAY_MS + 5, 150 * DAY_MS
    every = Timeline(terms).until(until_ms)
    after = Timeline(terms).due_after(done_ms)
    found = list(itertools.takewhile(lambda period: period.start_ms <= until_ms, after))
    assert set(found) <= set(every)
    due = [period for period in every if period.due_at_ms > done_ms]
    assert [period for period in found if period.due_at_ms > done_ms] == due


@pytest.mark.parametrize(
    ("timezone", "hours", "at_hours"), [("Asia/Tokyo", 290, 317), ("America/Los_Angeles", 440, 551)]
)
def test_a_week_that_another_timezone_cut_short_or_not_is_the_one_that_holds_its_instants(
    timezone: str, hours: int, at_hours: int
) -> None:
    log = Log("1970-01-01T00:00:00Z")
    log.plan(interval="weekly")
    log.customer()
    log.subscribe(subscription_at="1970-01-01T00:00:00Z", billing_time="calendar")
    log.now_ms = hours * 3_600_000
    log.accept(upsert(timezone=timezone))
    at_ms = at_hours * 3_600_000
    (every,) = [p for p in timeline(log).until(at_ms) if p.start_ms <= at_ms < p.end_ms]
    assert timeline(log).holding(at_ms) == every


def test_no_period_is_open_for_longer_than_any_terms_say() -> None:
    log = world(late_window_s=40 * DAY_S, revise_every_s=DAY_S)
    log.subscribe(billing_time="calendar")
    log.now_ms = ms("2024-02-20T00:00:00Z")
    log.accept(commands.set_settings(SettingsRecord(late_window_s=DAY_S, revise_every_s=7_200)))
    lived = timeline(log)
    open_ms = [each.final_ms - each.due_at_ms for each in lived.until(ms("2024-05-01T00:00:00Z"))]
    assert max(open_ms) <= lived.open_for_ms == (40 + 1) * DAY_MS
    assert open_ms[0] == 40 * DAY_MS


def test_the_first_period_begins_where_the_start_was_moved_to() -> None:
    log = world("2024-01-01T00:00:00Z")
    log.subscribe(subscription_at="2024-06-15T00:00:00Z", billing_time="calendar")
    log.now_ms = ms("2024-01-02T00:00:00Z")
    log.accept(
        commands.update_subscription(ORG, "sub_1", {"subscription_at": "2024-01-20T00:00:00Z"})
    )
    first = timeline(log).first
    assert first is not None
    assert first.start_ms == ms("2024-01-20T00:00:00Z")
