"""Alerts, from definitions and events to the messages that are sent."""

from __future__ import annotations

from typing import Any

from app.definitions import commands
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import cancel
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


def told(aggregation_type: str = "sum_agg", **metric: Any) -> Story:
    story = Story(close_grid_s=60, since="2023-12-01")
    story.metric("m", aggregation_type, **metric).plan({"billable_metric_code": "m"})
    return story.subscribe()


def watched(aggregation_type: str = "sum_agg", **metric: Any) -> Story:
    story = told(aggregation_type, **metric)
    return story.define("2024-01-01T00:10:00Z", commands.create_alert(ORG, SUBSCRIPTION, alert()))


def crossings(story: Story, at: str) -> list[tuple[str, str, str, list[str]]]:
    """(triggered_at, previous value, current value, crossed values) of every message."""
    found = []
    for message in story.messages(at, "usage-alerts"):
        body = message["triggered_alert"]
        values = [threshold["value"] for threshold in body["crossed_thresholds"]]
        found.append((body["triggered_at"], body["previous_value"], body["current_value"], values))
    return found


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


def test_each_period_begins_at_nothing() -> None:
    story = watched()
    story.send("2024-01-02T10:00:10Z", v=80)
    story.send("2024-02-02T10:00:10Z", v=55)
    assert crossings(story, "2024-02-20")[1:] == [
        ("2024-02-02T10:01:00Z", "0.0", "55.0", ["10.0", "50.0"])
    ]
