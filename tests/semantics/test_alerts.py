"""Alerts, from definitions and events to the messages that are sent."""

from __future__ import annotations

from typing import Any

from app.definitions import commands
from app.definitions.model import SettingsRecord
from tests.world import bodies
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import cancel, raw
from tests.world.story import Story

THRESHOLDS = [
    {"code": "low", "value": "10"},
    {"code": "high", "value": 50},
    {"code": "more", "value": "25", "recurring": True},
]


def alert(code: str = "a", metric: str = "m", **more: Any) -> dict[str, Any]:
    return {
        "alert_type": "billable_metric_current_usage_units",
        "code": code,
        "billable_metric_code": metric,
        "thresholds": THRESHOLDS,
        **more,
    }


LIFE = "billable_metric_lifetime_usage_units"


def told(aggregation_type: str = "sum_agg", **metric: Any) -> Story:
    story = Story(close_grid_s=60, since="2023-12-01")
    story.metric("m", aggregation_type, **metric).plan({"billable_metric_code": "m"})
    return story.subscribe()


def watched(aggregation_type: str = "sum_agg", **metric: Any) -> Story:
    story = told(aggregation_type, **metric)
    return story.define("2024-01-01T00:10:00Z", commands.create_alert(ORG, SUBSCRIPTION, alert()))


def watched_for_life(aggregation_type: str = "sum_agg", **metric: Any) -> Story:
    story = told(aggregation_type, **metric)
    made = commands.create_alert(ORG, SUBSCRIPTION, alert(alert_type=LIFE))
    return story.define("2024-01-01T00:10:00Z", made)


def crossings(story: Story, at: str) -> list[tuple[str, str, str, list[str]]]:
    """(triggered_at, previous value, current value, crossed values) of every message."""
    found = []
    for message in story.messages(at, "usage-alerts"):
        body = message["triggered_alert"]
        values = [threshold["value"] for threshold in body["crossed_thresholds"]]
        found.append((body["triggered_at"], body["previous_value"], body["current_value"], values))
    return found


def test_who_has_another_alert_is_told_of_corrections_as_before() -> None:
    """The value falls with one, and so it arms again."""
    story = watched()
    made = commands.create_alert(ORG, SUBSCRIPTION, alert("b", alert_type=LIFE))
    story.define("2024-01-01T00:20:00Z", made)
    story.define("2024-01-01T00:30:00Z", commands.delete_alert(ORG, SUBSCRIPTION, "b"))
    story.send("2024-01-02T10:00:10Z", v=12)
    story.append("2024-01-03T10:00:01Z", cancel("t0"))
    story.send("2024-01-04T10:00:01Z", v=11)
    assert crossings(story, "2024-01-20") == [
        ("2024-01-02T10:01:00Z", "0.0", "12.0", ["10.0"]),
        ("2024-01-04T10:01:00Z", "0.0", "11.0", ["10.0"]),
    ]


def test_a_value_that_rises_crosses_and_one_that_falls_arms_again() -> None:
    story = watched()
    story.send("2024-01-02T10:00:10Z", v=12)
    story.send("2024-01-02T10:00:40Z", v=0)
    story.send("2024-01-03T10:00:00Z", v=70)
    story.send("2024-01-04T10:00:01Z", v=18)
    story.append("2024-01-05T10:00:01Z", cancel("t3"))
    story.send("2024-01-05T10:00:02Z", v=-12)
    story.send("2024-01-06T10:00:00Z", v=10)
    assert crossings(story, "2024-01-20") == [
        ("2024-01-02T10:01:00Z", "0.0", "12.0", ["10.0"]),
        ("2024-01-03T10:00:00Z", "12.0", "82.0", ["50.0", "75.0"]),
        ("2024-01-04T10:01:00Z", "82.0", "100.0", ["100.0"]),
        ("2024-01-06T10:00:00Z", "70.0", "80.0", ["75.0"]),
    ]


def test_what_was_late_before_the_alert_is_seen_when_it_counts() -> None:
    story = told(recurring=True)
    story.send("2024-01-20", appended="2024-02-01T00:05:00Z", v=12)
    story.define("2024-02-01T00:10:00Z", commands.create_alert(ORG, SUBSCRIPTION, alert()))
    assert crossings(story, "2024-02-20") == [
        ("2024-02-01T01:00:00Z", "0.0", "12.0", ["10.0"]),
    ]


def test_an_alert_that_is_made_above_its_thresholds_tells_them_at_once() -> None:
    story = told().send("2024-01-02", v=60)
    story.define("2024-01-05T00:10:10Z", commands.create_alert(ORG, SUBSCRIPTION, alert()))
    assert crossings(story, "2024-01-20") == [
        ("2024-01-05T00:11:00Z", "0.0", "60.0", ["10.0", "50.0"]),
    ]


def test_a_threshold_that_is_put_below_the_value_is_not_crossed() -> None:
    story = watched().send("2024-01-02", v=8)
    lower = {"thresholds": [{"value": "5"}, {"value": "9"}]}
    story.define("2024-01-03", commands.update_alert(ORG, SUBSCRIPTION, "a", lower))
    story.send("2024-01-04", v=1)
    assert crossings(story, "2024-01-20") == [("2024-01-04T00:00:00Z", "8.0", "9.0", ["9.0"])]


def test_a_balance_that_is_carried_is_told_with_the_first_event_that_counts() -> None:
    story = watched(recurring=True).send("2024-01-02", v=60)
    story.send("2024-02-03", v="no number")
    story.append("2024-02-04", raw("m", "t0", ms("2024-01-02"), v=60))
    story.send("2024-02-05", v=0)
    assert crossings(story, "2024-02-20")[1:] == [
        ("2024-02-05T00:00:00Z", "0.0", "60.0", ["10.0", "50.0"]),
    ]


def test_a_late_event_of_a_period_that_is_closed_is_seen_in_the_balance() -> None:
    story = watched(recurring=True).send("2024-01-02", v=5)
    story.send("2024-01-05", appended="2024-04-20T10:00:10Z", v=20)
    assert crossings(story, "2024-04-25") == [("2024-04-20T10:01:00Z", "0.0", "25.0", ["10.0"])]


def test_a_definition_that_makes_other_cells_is_looked_at() -> None:
    """Not the greatest of two cells any more, but one that has both."""
    regions = {"key": "region", "values": ["eu", "us"]}
    story = Story(close_grid_s=60, since="2023-12-01").metric("m", "sum_agg", filters=[regions])
    story.plan({"code": "m", "filters": [{"values": {"region": ["eu"]}}]}).subscribe()
    story.define("2024-01-01T00:10:00Z", commands.create_alert(ORG, SUBSCRIPTION, alert()))
    story.send("2024-01-02", v=6, region="eu").send("2024-01-02", v=6, region="us")
    whole = bodies.plan("plan", [bodies.charge("m")])
    story.define("2024-01-03T10:00:10Z", commands.update_plan(ORG, "plan", whole))
    assert crossings(story, "2024-01-20") == [("2024-01-03T10:01:00Z", "6.0", "12.0", ["10.0"])]


def test_what_comes_in_the_millisecond_of_settings_is_decided_by_them() -> None:
    story = Story(close_grid_s=600, since="2023-12-01").metric("m", "sum_agg")
    story.plan({"billable_metric_code": "m"}).subscribe()
    story.define("2024-01-01T00:10:00Z", commands.create_alert(ORG, SUBSCRIPTION, alert()))
    story.send("2024-01-02T10:00:20Z", v=12)
    finer = SettingsRecord(close_grid_s=60)
    story.define("2024-01-02T10:00:20Z", commands.set_settings(finer))
    assert crossings(story, "2024-01-02T10:09:00Z") == [
        ("2024-01-02T10:01:00Z", "0.0", "12.0", ["10.0"]),
    ]


def test_what_is_defined_with_a_coarser_grid_is_told_of_by_that_one() -> None:
    """Also if it is read before the settings, and the old grid has one cut more for others."""
    story = told().send("2024-01-02", v=60)
    other = bodies.metric("n", "count_agg")
    story.define("2024-01-02T10:00:10Z", commands.create_billable_metric(ORG, other))
    at = "2024-01-02T10:00:20Z"
    story.define(at, commands.create_alert(ORG, SUBSCRIPTION, alert(alert_type=LIFE)))
    story.define(at, commands.set_settings(SettingsRecord(close_grid_s=600)))
    assert crossings(story, "2024-01-20") == [
        ("2024-01-02T10:10:00Z", "0.0", "60.0", ["10.0", "50.0"]),
    ]


def test_an_alert_is_looked_at_at_the_grid_cut_of_what_changed() -> None:
    story = Story(close_grid_s=60, since="2023-12-01").metric("m", "sum_agg")
    story.metric("n", "sum_agg").plan({"billable_metric_code": "m"}, {"billable_metric_code": "n"})
    story.subscribe()
    for code, metric in ("am", "bn"):
        body = alert(code, metric)
        story.define("2024-01-01T00:10:00Z", commands.create_alert(ORG, SUBSCRIPTION, body))
    story.send("2024-01-02T10:00:10Z", "n", v=1)
    coarser = SettingsRecord(close_grid_s=600)
    story.define("2024-01-02T10:00:20Z", commands.set_settings(coarser))
    body = {"thresholds": [{"value": "3"}]}
    story.define("2024-01-02T10:00:30Z", commands.update_alert(ORG, SUBSCRIPTION, "a", body))

    def looked_at(at: str) -> list[int]:
        rows = story.meter(at).partition.evaluations.rows
        return sorted(evaluation.cut_ms for evaluation in rows.values())

    first_ms, at_once_ms = ms("2024-01-01T00:10:00Z"), ms("2024-01-02T10:01:00Z")
    assert looked_at("2024-01-02T10:05:00Z") == [first_ms, at_once_ms]
    assert looked_at("2024-01-02T10:11:00Z")[-1] == ms("2024-01-02T10:10:00Z")


def test_each_period_begins_at_nothing() -> None:
    story = watched()
    story.send("2024-01-02T10:00:10Z", v=80)
    story.send("2024-02-02T10:00:10Z", v=55)
    assert crossings(story, "2024-02-20")[1:] == [
        ("2024-02-02T10:01:00Z", "0.0", "55.0", ["10.0", "50.0"])
    ]


def test_a_life_is_counted_through_all_its_periods() -> None:
    story = watched_for_life()
    story.send("2024-01-02T10:00:10Z", v=8)
    story.send("2024-02-02T10:00:10Z", v=5)
    story.send("2024-03-05", v=70, appended="2024-02-03T10:00:10Z")
    story.send("2024-01-20", v=1, appended="2024-02-20T10:00:10Z")
    story.send("2024-03-06T10:00:10Z", v=0)
    assert crossings(story, "2024-03-20") == [
        ("2024-02-02T10:01:00Z", "8.0", "13.0", ["10.0"]),
        ("2024-03-06T10:01:00Z", "14.0", "84.0", ["50.0", "75.0"]),
    ]


def test_who_stays_is_counted_once_in_a_life() -> None:
    story = watched_for_life("unique_count_agg")
    for at, users in (
        ("2024-01-02", range(9)),
        ("2024-02-02", range(9)),
        ("2024-02-03", range(12)),
    ):
        for user in users:
            story.send(f"{at}T10:00:10Z", v=f"u{user}")
    assert crossings(story, "2024-03-20") == [("2024-02-03T10:01:00Z", "9.0", "12.0", ["10.0"])]


def test_a_life_begins_with_its_subscription() -> None:
    """Only a recurring metric counts what is dated before it."""
    story = watched_for_life("unique_count_agg")
    for user in range(12):
        story.send("2023-12-20", v=f"u{user}", appended="2024-01-02T10:00:10Z")
    story.send("2024-01-03T10:00:10Z", v="later")
    assert crossings(story, "2024-03-20") == []


def test_a_life_counts_as_the_running_period_does() -> None:
    """Also what came before the alert, and before the charge was in the plan."""
    story = Story(close_grid_s=60, since="2023-12-01").metric("m", "sum_agg").metric("n", "sum_agg")
    story.plan({"billable_metric_code": "n"}).subscribe()
    story.send("2024-01-02T10:00:10Z", v=7)
    story.send("2024-02-02T10:00:10Z", v=6)
    changed = bodies.plan("plan", [bodies.charge(billable_metric_code="m")])
    story.define("2024-02-03T00:00:00Z", commands.update_plan(ORG, "plan", changed))
    made = commands.create_alert(ORG, SUBSCRIPTION, alert(alert_type=LIFE))
    story.define("2024-02-04T00:00:30Z", made)
    assert crossings(story, "2024-03-20") == [("2024-02-04T00:01:00Z", "0.0", "13.0", ["10.0"])]


def test_a_life_leaves_prorated_charges_out() -> None:
    story = Story(close_grid_s=60, since="2023-12-01")
    story.metric("m", "sum_agg", recurring=True)
    story.plan({"billable_metric_code": "m", "prorated": True}).subscribe()
    made = commands.create_alert(ORG, SUBSCRIPTION, alert(alert_type=LIFE))
    story.define("2024-01-01T00:10:00Z", made)
    story.send("2024-01-02T10:00:10Z", v=80)
    assert crossings(story, "2024-03-20") == []
