"""A change of the settings holds for periods that are due later (records-and-cuts §7)."""

from __future__ import annotations

from typing import Any

import pytest

from app.definitions import commands
from app.definitions.model import MAX_WAIT_S, SettingsRecord
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import amend, cancel, raw
from tests.world.story import Story

ALERT = {
    "alert_type": "billable_metric_current_usage_units",
    "code": "a",
    "billable_metric_code": "m",
    "thresholds": [{"value": "1"}],
}
GROUPED = {"properties": {"pricing_group_keys": ["g"]}}


def told(**settings: Any) -> Story:
    return Story(**settings).metric("m", "sum_agg").plan({}).subscribe()


def change(story: Story, at: str, **settings: Any) -> Story:
    return story.define(at, commands.set_settings(SettingsRecord(**settings)))


def refusals(story: Story, at: str) -> list[str]:
    return [str(refused.code) for refused in story.meter(at).refused]


@pytest.mark.parametrize(
    ("changed", "refused"),
    [
        pytest.param("2024-01-31T23:59:59Z", ["period_closed"], id="before it is due"),
        pytest.param("2024-02-01T00:00:00Z", ["period_closed"], id="when it is due"),
        pytest.param("2024-02-01T00:00:01Z", [], id="after it was due"),
    ],
)
def test_late_policy(changed: str, refused: list[str]) -> None:
    story = change(told(), changed, late_policy="refuse")
    story.send("2024-01-10", appended="2024-02-03", v=1)
    assert refusals(story, "2024-02-05") == refused


def test_a_period_due_under_refuse_stays_refusing() -> None:
    story = change(told(late_policy="refuse"), "2024-02-02", late_policy="revise")
    story.send("2024-01-10", appended="2024-02-03", v=1)
    story.send("2024-02-01", appended="2024-03-03", v=2)
    assert refusals(story, "2024-03-05") == ["period_closed"]
    assert [record["units"] for record in story.records("2024-03-05")] == ["2.0"]


def test_late_window() -> None:
    story = change(told(late_window_s=86_400), "2024-02-10", late_window_s=10 * 86_400)
    story.send("2024-01-10", appended="2024-02-03", v=1)
    story.send("2024-02-20", appended="2024-03-09", v=2)
    story.send("2024-02-21", appended="2024-03-12", v=4)
    assert refusals(story, "2024-03-15") == ["too_late", "too_late"]
    assert [record["units"] for record in story.records("2024-03-15")] == ["2.0"]


def test_revise_every() -> None:
    """January was due under hours and keeps them; February is revised by days."""
    story = change(told(revise_every_s=3_600), "2024-02-10", revise_every_s=86_400)
    story.send("2024-01-10", appended="2024-02-20T10:30:00Z", v=1)
    story.send("2024-01-11", appended="2024-03-05T10:30:00Z", v=4)
    story.send("2024-02-20", appended="2024-03-20T10:30:00Z", v=2)
    closed = [(r["period"]["from"][:7], r["closed_at"]) for r in story.records("2024-04-05")]
    assert closed == [
        ("2024-01", "2024-02-20T11:00:00.000Z"),
        ("2024-01", "2024-03-05T11:00:00.000Z"),
        ("2024-02", "2024-03-21T00:00:00.000Z"),
    ]


def test_a_late_event_of_a_balance_shows_everywhere_at_its_own_periods_cut() -> None:
    story = Story(revise_every_s=3_600).metric("m", "sum_agg", recurring=True).plan({}).subscribe()
    story.send("2024-01-05", v=1)
    change(story, "2024-02-10", revise_every_s=86_400)
    story.send("2024-01-10", appended="2024-03-05T10:30:00Z", v=1)
    closed = [
        (r["period"]["from"][:7], r["closed_at"], r["units"])
        for r in story.records("2024-03-25")
        if r["revision"]
    ]
    assert closed == [
        ("2024-01", "2024-03-05T11:00:00.000Z", "2.0"),
        ("2024-02", "2024-03-05T11:00:00.000Z", "2.0"),
    ]


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("dated", ["2023-12-05", "2024-01-10"])
def test_a_later_period_that_is_revised_more_often_shows_a_late_event_first(
    dated: str, watched: bool
) -> None:
    """Its cut at eleven is of all that was appended by then; somebody watching changes nothing."""
    story = Story(revise_every_s=86_400).metric("m", "sum_agg", recurring=True)
    story.plan({}).subscribe()
    if watched:
        story.define("2024-01-02", commands.create_alert(ORG, SUBSCRIPTION, ALERT))
    story.send("2024-01-05", v=1)
    change(story, "2024-02-10", revise_every_s=3_600)
    story.send(dated, appended="2024-03-05T10:30:00Z", v=1)
    assert revisions(story, "2024-03-25") == [
        ("2024-02", f"2024-03-05{AT_ELEVEN}", "2.0", "late_events"),
        ("2024-01", f"2024-03-06{AT_MIDNIGHT}", "2.0", "late_events"),
    ]


AT_ELEVEN, AT_MIDNIGHT = "T11:00:00.000Z", "T00:00:00.000Z"
either_way = pytest.mark.parametrize(
    ("before_s", "after_s"),
    [
        pytest.param(86_400, 3_600, id="days to hours"),
        pytest.param(3_600, 86_400, id="hours to days"),
    ],
)


def correct(story: Story, at: str, to: str | None = None, **properties: Any) -> Story:
    """Cancel the first event, or amend it."""
    if to is None:
        return story.append(at, cancel("t0"))
    return story.append(at, amend(raw("m", "t0", ms(to), **properties)))


def revisions(story: Story, at: str) -> list[tuple[str, str, str, str]]:
    """Period, cut, units and reason of everything after the first cuts, at the month's begin."""
    return [
        (r["period"]["from"][:7], r["closed_at"], r["units"], r["revision_reason"])
        for r in story.records(at)
        if r["closed_at"][8:10] != "01"
    ]


@either_way
@pytest.mark.parametrize("to", [None, "2024-01-10"], ids=["cancelled", "amended"])
def test_a_correction_is_shown_at_the_next_revision_of_its_period(
    to: str | None, before_s: int, after_s: int
) -> None:
    story = told(revise_every_s=before_s).send("2024-01-10", v=5)
    change(story, "2024-02-10", revise_every_s=after_s)
    correct(story, "2024-02-20T10:30:00Z", to, v=7)
    closed = f"2024-02-20{AT_ELEVEN}" if before_s == 3_600 else f"2024-02-21{AT_MIDNIGHT}"
    units = "0.0" if to is None else "7.0"
    assert revisions(story, "2024-02-25") == [("2024-01", closed, units, "correction")]


@either_way
def test_an_event_that_is_moved_leaves_and_comes_at_the_revision_of_each_period(
    before_s: int, after_s: int
) -> None:
    story = told(revise_every_s=before_s).send("2024-01-10", v=5).send("2024-02-20", v=1)
    change(story, "2024-02-10", revise_every_s=after_s)
    correct(story, "2024-03-05T10:10:00Z", "2024-02-21", v=7)
    cuts = {3_600: f"2024-03-05{AT_ELEVEN}", 86_400: f"2024-03-06{AT_MIDNIGHT}"}
    assert sorted(revisions(story, "2024-03-25")) == [
        ("2024-01", cuts[before_s], "0.0", "correction"),
        ("2024-02", cuts[after_s], "8.0", "correction"),
    ]


@either_way
@pytest.mark.parametrize(
    ("moved", "units"), [("2024-01-11", ("7.0", "8.0")), ("2024-02-21", ("0.0", "8.0"))]
)
def test_no_revision_of_a_balance_is_without_what_a_corrected_event_was_and_became(
    moved: str, units: tuple[str, str], before_s: int, after_s: int
) -> None:
    """A later period shows it when the first of the two is revised."""
    story = Story(revise_every_s=before_s).metric("m", "sum_agg", recurring=True)
    story.plan({}).subscribe().send("2024-01-10", v=5).send("2024-02-20", v=1)
    change(story, "2024-02-10", revise_every_s=after_s)
    correct(story, "2024-03-05T10:10:00Z", moved, v=7)
    january = f"2024-03-05{AT_ELEVEN}" if before_s == 3_600 else f"2024-03-06{AT_MIDNIGHT}"
    assert sorted(revisions(story, "2024-03-25")) == [
        ("2024-01", january, units[0], "correction"),
        ("2024-02", f"2024-03-05{AT_ELEVEN}", units[1], "correction"),
    ]


def test_a_correction_of_a_balance_waits_for_the_revision_of_its_own_period() -> None:
    """The period before it is revised more often."""
    story = Story(revise_every_s=3_600).metric("m", "sum_agg", recurring=True)
    story.plan({}).subscribe().send("2024-02-20", v=5)
    change(story, "2024-02-10", revise_every_s=86_400)
    correct(story, "2024-03-05T10:10:00Z", "2024-02-20", v=7)
    assert revisions(story, "2024-03-25") == [
        ("2024-02", f"2024-03-06{AT_MIDNIGHT}", "7.0", "correction")
    ]


def test_a_revision_for_an_earlier_period_leaves_no_reason_for_the_next() -> None:
    """February, revised by days, shows its correction together with what comes from January."""
    story = Story(revise_every_s=3_600).metric("m", "sum_agg", recurring=True)
    story.plan({}).subscribe().send("2024-02-20", v=5)
    change(story, "2024-02-10", revise_every_s=86_400)
    correct(story, "2024-03-05T09:10:00Z", "2024-02-20", v=7)
    story.send("2024-01-10", appended="2024-03-05T10:10:00Z", v=1)
    story.send("2024-02-21", appended="2024-03-05T12:10:00Z", v=2)
    assert revisions(story, "2024-03-25") == [
        ("2024-01", f"2024-03-05{AT_ELEVEN}", "1.0", None),
        ("2024-02", f"2024-03-05{AT_ELEVEN}", "8.0", "correction"),
        ("2024-02", f"2024-03-06{AT_MIDNIGHT}", "10.0", "late_events"),
    ]


def test_more_groups_admit_those_that_found_no_room() -> None:
    story = Story(max_groups=1).metric("m", "sum_agg").plan(GROUPED).subscribe()
    for day, group in ((10, "a"), (11, "b"), (12, "a"), (13, "c")):
        story.send(f"2024-01-{day}", v=1, g=group)
    assert usage_groups(story, "2024-01-14") == {"a": "2.0"}
    change(story, "2024-01-15", max_groups=2)
    assert usage_groups(story, "2024-01-16") == {"a": "2.0", "b": "1.0"}


def test_fewer_groups_drop_the_later_ones_but_not_of_a_period_that_was_due() -> None:
    story = Story(max_groups=2).metric("m", "sum_agg").plan(GROUPED).subscribe()
    for month in ("01", "02"):
        for day, group in ((10, "a"), (11, "b")):
            story.send(f"2024-{month}-{day}", v=1, g=group)
    change(story, "2024-02-15", max_groups=1)
    # A late event finds January as it was, with room for both.
    story.send("2024-01-12", appended="2024-02-20", v=1, g="b")
    shown = [(r["period"]["from"][:7], r["grouped_by"]["g"], r["units"]) for r in records(story)]
    assert shown == [
        ("2024-01", "a", "1.0"),
        ("2024-01", "b", "1.0"),
        ("2024-01", "b", "2.0"),
        ("2024-02", "a", "1.0"),
    ]


def test_the_implicit_plan_follows_the_newest_settings() -> None:
    story = Story(implicit_plan=True, max_groups=1)
    story.metric("m", "sum_agg", filters=[{"key": "g", "values": ["a", "b"]}])
    story.send("2024-01-10", v=1, g="a").send("2024-01-11", v=1, g="b")
    assert usage_groups(story, "2024-01-14") == {"a": "1.0"}
    change(story, "2024-01-15", max_groups=2, implicit_plan=True)
    assert usage_groups(story, "2024-01-16") == {"a": "1.0", "b": "1.0"}


def usage_groups(story: Story, at: str) -> dict[str, str]:
    (shown,) = story.usage(at)["charges_usage"]
    return {entry["grouped_by"]["g"]: entry["units"] for entry in shown["grouped_usage"]}


def records(story: Story) -> list[dict[str, Any]]:
    found = story.records("2024-03-05")
    return sorted(found, key=lambda r: (r["period"]["from"], r["grouped_by"]["g"], r["revision"]))


def test_the_longest_waits_have_a_spelling() -> None:
    waits = ("close_grid_s", "revise_every_s", "late_window_s", "grace_s")
    story = told(**dict.fromkeys(waits, MAX_WAIT_S)).send("2024-01-10", v=1)
    (record,) = story.records("2170-01-01")
    assert (record["closed_at"][:4], record["final_after"][:4]) == ("2169", "2269")


@pytest.mark.parametrize("sent", ["2023-12-10", "2024-01-10"])
@pytest.mark.parametrize(("before", "after", "groups"), [(1, 3, 3), (3, 1, 1)])
def test_max_groups_of_what_is_carried_on(sent: str, before: int, after: int, groups: int) -> None:
    """Also when every event of a balance is older than its subscription."""
    story = Story(max_groups=before).metric("m", "sum_agg", recurring=True, at="2023-12-01")
    story.plan(GROUPED).subscribe(at="2024-01-01")
    for group in "xyz":
        story.send(sent, v=1, g=group)
    change(story, "2024-01-15", max_groups=after)
    assert len(story.records("2024-02-02")) == groups
