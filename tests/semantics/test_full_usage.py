"""full_usage: all periods since the subscription began, as the running one counts.

Expected is what a yearly plan shows of the same events: there all of them are in one period.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from app.definitions import commands
from app.meter.errors import TooManyGroups
from tests.world.bodies import Json, charge
from tests.world.definitions import ORG
from tests.world.events import cancel
from tests.world.story import Story, buckets, groups

AT = "2024-01-20"
START = "2023-11-02T00:00:00Z"
MONTHS = ("2023-11", "2023-12", "2024-01")
METRICS: dict[str, Json] = {
    "count": {"aggregation_type": "count_agg"},
    "sum": {"aggregation_type": "sum_agg"},
    "balance": {"aggregation_type": "sum_agg", "recurring": True},
    "max": {"aggregation_type": "max_agg"},
    "latest": {"aggregation_type": "latest_agg"},
    "unique": {"aggregation_type": "unique_count_agg"},
    "seats": {"aggregation_type": "unique_count_agg", "recurring": True},
    "rounded": {
        "aggregation_type": "sum_agg",
        "rounding_function": "ceil",
        "rounding_precision": -1,
    },
}
TIERS = [{"key": "tier", "values": ["x", "y", "z"]}]
PLAIN: Json = {}
GROUPED: Json = {"properties": {"pricing_group_keys": ["cloud"]}}
FILTERED: Json = {
    "properties": {"pricing_group_keys": ["cloud", "region"]},
    "filters": [
        {"values": {"tier": ["x"]}, "properties": {"amount": "1"}},
        {
            "values": {"tier": ["y"]},
            "properties": {"amount": "1", "pricing_group_keys": ["region"]},
        },
    ],
}
Events = list[dict[str, Any]]

each_metric = pytest.mark.parametrize("metric", METRICS)
each_charge = pytest.mark.parametrize(
    "described", [PLAIN, GROUPED, FILTERED], ids=["plain", "grouped", "filtered"]
)
each_seed = pytest.mark.parametrize("seed", range(3))


def events(seed: int) -> Events:
    """Few values, so that one is often active in several months."""
    choose = random.Random(seed)
    return [
        {
            "at": f"{choose.choice(MONTHS)}-{choose.randint(3, 19):02d}T0{i % 10}:00:00Z",
            "v": choose.choice([-3, 1, 2, 5]),
            "cloud": choose.choice(["aws", "gcp", None]),
            "region": choose.choice(["eu", "us"]),
            "tier": choose.choice(["x", "y", "z"]),
            "operation_type": choose.choice(["add", "add", "remove"]),
        }
        for i in range(18)
    ]


def begun(metric: str, described: Json, interval: str = "monthly", **settings: Any) -> Story:
    story = Story(**settings)
    of_metric = dict(METRICS[metric])
    kind = of_metric.pop("aggregation_type")
    story.metric("m", kind, at="2023-10-01", filters=TIERS, **of_metric)
    story.plan(described, at="2023-10-01", interval=interval)
    return story.subscribe(at=START, subscription_at=START, billing_time="anniversary")


def sent(story: Story, some: Events) -> Story:
    for event in sorted(some, key=lambda event: event["at"]):
        story.send(**event)
    return story


def figures(usage: Json) -> tuple[Any, ...]:
    (shown,) = usage["charges_usage"]
    return (
        shown["units"],
        shown["total_aggregated_units"],
        shown["events_count"],
        buckets(shown),
        groups(shown),
    )


@each_metric
@each_charge
@each_seed
def test_it_is_what_one_long_period_shows(metric: str, described: Json, seed: int) -> None:
    full = sent(begun(metric, described), events(seed)).regrouped(AT, full=True)
    assert figures(full) == figures(
        sent(begun(metric, described, "yearly"), events(seed)).usage(AT)
    )
    assert (full["from_datetime"], full["to_datetime"]) == (START, "2024-02-01T23:59:59Z")


@each_metric
@each_seed
@pytest.mark.parametrize(
    ("before", "after"),
    [(PLAIN, FILTERED), (GROUPED, PLAIN), (FILTERED, GROUPED)],
    ids=["more", "no groups", "others"],
)
def test_all_of_it_counts_as_the_running_period_does(
    metric: str, seed: int, before: Json, after: Json
) -> None:
    story = begun(metric, before)
    # Another charge takes the place of the first one; it has no events in the cells before.
    body = {"charges": [charge(**after)]}
    story.define("2023-12-20", commands.update_plan(ORG, "plan", body))
    full = sent(story, events(seed)).regrouped(AT, full=True)
    assert figures(full) == figures(sent(begun(metric, after, "yearly"), events(seed)).usage(AT))


@each_metric
def test_groups_and_values_can_be_chosen(metric: str) -> None:
    for wanted in (
        {"skip_grouping": True},
        {"group": {"cloud": frozenset({"aws", ""})}},
        {"group": {"region": frozenset({"eu"})}},
    ):
        full = sent(begun(metric, GROUPED), events(5)).regrouped(AT, full=True, **wanted)
        long = sent(begun(metric, GROUPED, "yearly"), events(5)).regrouped(AT, **wanted)
        assert figures(full) == figures(long)


@pytest.mark.parametrize(
    ("metric", "events_read"),
    [("sum", False), ("latest", False), ("seats", False), ("unique", True)],
)
def test_events_are_read_only_where_cells_do_not_tell(metric: str, events_read: bool) -> None:
    sent(begun(metric, GROUPED), events(3)).regrouped(AT, events_read, full=True)


def test_a_property_in_one_period_alone_needs_no_events() -> None:
    story = begun("unique", PLAIN).send("2023-12-05", v="a").send("2023-12-06", v="b")
    full = story.regrouped(AT, events_read=False, full=True)
    assert full["charges_usage"][0]["units"] == "2.0"


def test_sums_of_all_months() -> None:
    story = begun("sum", PLAIN)
    for at, v in (("2023-11-05", 5), ("2023-12-05", 7), ("2024-01-05", 3)):
        story.send(at, v=v)
    assert story.regrouped(AT, full=True)["charges_usage"][0]["units"] == "15.0"
    assert story.usage(AT)["charges_usage"][0]["units"] == "3.0"


def test_one_machine_runs_over_all_months() -> None:
    story = begun("unique", PLAIN)
    for at, v, operation in (
        ("2023-11-05", "a", "add"),
        ("2023-11-06", "b", "add"),
        ("2023-12-05", "a", "remove"),
        ("2024-01-05", "a", "add"),
    ):
        story.send(at, v=v, operation_type=operation)
    assert story.regrouped(AT, full=True)["charges_usage"][0]["units"] == "2.0"
    assert story.usage(AT)["charges_usage"][0]["units"] == "1.0"


def test_what_comes_late_or_is_cancelled_shows_at_once() -> None:
    story = begun("sum", PLAIN).send("2023-11-05", v=5).send("2023-12-05", v=7)
    story.send("2023-12-06", v=2, appended="2024-01-19T23:59:00Z")
    story.append("2024-01-19T23:59:30Z", cancel("t1"))
    assert story.regrouped(AT, full=True)["charges_usage"][0]["units"] == "7.0"


@pytest.mark.parametrize("changed", [False, True], ids=["from the cells", "from the events"])
def test_each_period_has_room_for_its_first_groups(changed: bool) -> None:
    story = begun("sum", GROUPED if not changed else PLAIN, max_groups=2)
    if changed:
        body = {"charges": [charge(**GROUPED)]}
        story.define("2023-12-20", commands.update_plan(ORG, "plan", body))
    for at, cloud, v, appended in (
        ("2023-11-05", "a", 1, None),
        ("2023-11-06", "b", 2, None),
        # No room any more, though an event of an earlier time.
        ("2023-11-04", "c", 4, "2023-11-06T01:00:00Z"),
        ("2023-11-07", "a", 8, None),
        ("2023-12-06", "c", 16, None),
        ("2024-01-06", "d", 32, None),
    ):
        story.send(at, cloud=cloud, v=v, appended=appended)
    (full,) = story.regrouped(AT, events_read=changed, full=True)["charges_usage"]
    assert groups(full) == {"a": "9.0", "b": "2.0", "c": "16.0", "d": "32.0"}


@pytest.mark.parametrize("metric", ["sum", "unique"])
def test_more_groups_than_one_answer_shows_are_refused(
    metric: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = begun(metric, GROUPED)
    for at, cloud in (("2023-11-05", "a"), ("2023-12-05", "b"), ("2024-01-05", "a")):
        story.send(at, cloud=cloud, v="1")
    monkeypatch.setattr("tables.reading.regrouping.FULL_USAGE_GROUPS", 1)
    with pytest.raises(TooManyGroups):
        story.regrouped(AT, full=True, group={"v": frozenset({"1"})})
    with pytest.raises(TooManyGroups):
        story.regrouped(AT, full=True)
    (shown,) = story.regrouped(AT, full=True, skip_grouping=True)["charges_usage"]
    assert shown["events_count"] > 0


def test_a_cancelled_event_keeps_the_place_of_its_group() -> None:
    shown = []
    for changed in (False, True):
        story = begun("sum", GROUPED if not changed else PLAIN, max_groups=2)
        for day, cloud in enumerate("abca", 5):
            story.send(f"2023-11-{day:02d}", cloud=cloud, v=1)
        story.append("2023-11-20", cancel("t1"))
        if changed:
            body = {"charges": [charge(**GROUPED)]}
            story.define("2023-12-20", commands.update_plan(ORG, "plan", body))
        (full,) = story.regrouped(AT, events_read=changed, full=True)["charges_usage"]
        shown.append(groups(full))
    assert shown == [{"a": "2.0"}, {"a": "2.0"}]
