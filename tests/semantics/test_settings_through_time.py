"""A change of the settings holds for periods that are due later (records-and-cuts §7)."""

from __future__ import annotations

from typing import Any

import pytest

from app.definitions import commands
from app.definitions.model import MAX_WAIT_S, SettingsRecord
from tests.semantics.story import Story

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


def test_a_correction_is_shown_at_the_grid_of_its_own_time() -> None:
    story = change(told(revise_every_s=3_600), "2024-02-10", revise_every_s=86_400)
    story.send("2024-01-10", v=1)
    cancel = {
        "organization_id": "org",
        "external_subscription_id": "sub",
        "transaction_id": "t0",
        "operation": "cancel",
        "correction_id": "c",
    }
    story.append("2024-02-20T10:30:00Z", cancel)
    (_, revised) = story.records("2024-02-25")
    assert (revised["closed_at"], revised["units"]) == ("2024-02-21T00:00:00.000Z", "0.0")


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
