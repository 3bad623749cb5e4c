"""current_usage with `skip_grouping` and `group` (metering-semantics §6.1).

Expected is what a charge without those groups would have shown of the same events.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from tests.world.bodies import Json, charge
from tests.world.story import Story, groups

AT = "2024-01-20"
MONTHS = ("2023-12", "2024-01")
METRICS: dict[str, Json] = {
    "count": {"aggregation_type": "count_agg"},
    "sum": {"aggregation_type": "sum_agg"},
    "balance": {"aggregation_type": "sum_agg", "recurring": True},
    "max": {"aggregation_type": "max_agg"},
    "latest": {"aggregation_type": "latest_agg"},
    "unique": {"aggregation_type": "unique_count_agg"},
    "seats": {"aggregation_type": "unique_count_agg", "recurring": True},
    "level": {"aggregation_type": "weighted_sum_agg", "recurring": True},
    "average": {"aggregation_type": "weighted_sum_agg"},
    "rounded": {
        "aggregation_type": "sum_agg",
        "rounding_function": "ceil",
        "rounding_precision": -1,
    },
}
GROUPED: dict[str, Any] = {"properties": {"pricing_group_keys": ["cloud", "region"]}}
Events = list[dict[str, Any]]


def events(seed: int) -> Events:
    """Some of last month; few values, so that one is often active in several groups."""
    choose = random.Random(seed)
    return [
        {
            "at": f"{choose.choice(MONTHS)}-{choose.randint(2, 19):02d}T0{i % 10}:00:00Z",
            "v": choose.choice([-3, 1, 2, 5]),
            "cloud": choose.choice(["aws", "gcp", None]),
            "region": choose.choice(["eu", "", " \u3000"]),
            "tier": choose.choice(["x", "y"]),
            "operation_type": choose.choice(["add", "add", "remove"]),
        }
        for i in range(14)
    ]


def told(metric: str, sent: Events, **more: Any) -> Story:
    described = dict(METRICS[metric])
    story = Story().metric("m", described.pop("aggregation_type"), at="2023-11-01", **described)
    story.plan(more, at="2023-11-01")
    story.subscribe(at="2023-11-02", subscription_at="2023-11-02T00:00:00Z")
    for event in sorted(sent, key=lambda event: event["at"]):
        story.send(**event)
    return story


def figures(usage: Json) -> tuple[Any, ...]:
    (shown,) = usage["charges_usage"]
    return (
        shown["units"],
        shown["total_aggregated_units"],
        shown["events_count"],
        shown.get("units_so_far"),
        groups(shown),
    )


def without_zeros(shown: tuple[Any, ...]) -> tuple[Any, ...]:
    """A group that only another value had is listed with 0, or not at all."""
    return (*shown[:4], {name: units for name, units in shown[4].items() if units != "0.0"})


each_metric = pytest.mark.parametrize("metric", METRICS)
each_seed = pytest.mark.parametrize("seed", range(6))


@each_metric
@each_seed
def test_skip_grouping_is_as_if_nothing_were_grouped(metric: str, seed: int) -> None:
    sent = events(seed)
    regrouped = told(metric, sent, **GROUPED).regrouped(AT, skip_grouping=True)
    assert figures(regrouped) == figures(told(metric, sent).usage(AT))


@each_metric
@each_seed
def test_a_group_is_the_usage_of_its_events_by_the_keys_left(metric: str, seed: int) -> None:
    sent = events(seed)
    regrouped = told(metric, sent, **GROUPED).regrouped(AT, group={"cloud": frozenset({"aws"})})
    those = [event for event in sent if event["cloud"] == "aws"]
    expected = told(metric, those, properties={"pricing_group_keys": ["region"]}).usage(AT)
    assert without_zeros(figures(regrouped)) == without_zeros(figures(expected))


@each_metric
@each_seed
def test_a_property_that_does_not_group_selects_too(metric: str, seed: int) -> None:
    sent = events(seed)
    story = told(metric, sent, **GROUPED)
    regrouped = story.regrouped(AT, events_read=True, group={"tier": frozenset({"x"})})
    those = [event for event in sent if event["tier"] == "x"]
    assert figures(regrouped) == figures(told(metric, those, **GROUPED).usage(AT))


@pytest.mark.parametrize("metric", ["count", "sum", "max", "latest", "level", "unique"])
def test_several_values_and_none(metric: str) -> None:
    sent = events(7)
    wanted = {"cloud": frozenset({"", "gcp"})}
    regrouped = told(metric, sent, **GROUPED).regrouped(AT, group=wanted, skip_grouping=True)
    those = [event for event in sent if event["cloud"] != "aws"]
    assert figures(regrouped) == figures(told(metric, those).usage(AT))


@pytest.mark.parametrize(
    ("metric", "events_read"), [("latest", False), ("max", False), ("seats", True)]
)
def test_events_are_read_only_where_cells_do_not_tell(metric: str, events_read: bool) -> None:
    told(metric, events(3), **GROUPED).regrouped(AT, events_read, skip_grouping=True)


def test_filters_stay_and_a_filter_has_keys_of_its_own() -> None:
    story = Story().metric("m", "sum_agg", filters=[{"key": "tier", "values": ["x", "y"]}])
    of_x = {"amount": "1", "pricing_group_keys": ["region"]}
    story.plan(charge(filters=[{"values": {"tier": ["x"]}, "properties": of_x}], **GROUPED))
    story.subscribe()
    for v, tier, cloud in ((1, "x", "aws"), (2, "y", "aws"), (4, "x", "gcp"), (8, "y", "gcp")):
        story.send("2024-01-10", v=v, tier=tier, cloud=cloud, region="eu")
    # The filter does not group by cloud, so its events are read.
    (shown,) = story.regrouped(AT, events_read=True, group={"cloud": frozenset({"aws"})})[
        "charges_usage"
    ]
    assert [entry["units"] for entry in shown["filters"]] == ["1.0", "2.0"]
    assert groups(shown) == {"eu": "3.0"}


def test_the_result_of_an_expression_selects() -> None:
    story = Story().metric("m", "sum_agg", expression="event.properties.a * 2").plan({})
    story.subscribe().send("2024-01-10", a=1, v="9").send("2024-01-11", a=2, v="2")
    (shown,) = story.regrouped(AT, group={"v": frozenset({"2"})})["charges_usage"]
    assert (shown["units"], shown["events_count"]) == ("2.0", 1)


def test_an_event_whose_expression_fails_is_not_selected() -> None:
    story = Story().metric("m", "sum_agg", expression="event.properties.a * 2").plan({})
    story.subscribe().send("2024-01-10", v="2").send("2024-01-11", a=1)
    (shown,) = story.regrouped(AT, group={"v": frozenset({"2"})})["charges_usage"]
    assert (shown["units"], shown["events_count"]) == ("2.0", 1)


def test_a_prorated_charge_shows_its_full_units() -> None:
    story = Story().metric("m", "unique_count_agg", recurring=True)
    story.plan({"prorated": True, **GROUPED}).subscribe()
    for cloud in ("aws", "gcp"):
        story.send("2024-01-10", v="seat", cloud=cloud)
    (shown,) = story.regrouped(AT, events_read=True, skip_grouping=True)["charges_usage"]
    assert (shown["units"], shown["events_count"]) == ("1.0", 1)


def test_the_implicit_plan_can_be_regrouped() -> None:
    story = Story(implicit_plan=True)
    story.metric("m", "unique_count_agg", filters=[{"key": "cloud", "values": ["aws", "gcp"]}])
    for cloud in ("aws", "gcp"):
        story.send("2024-01-10", v="a", cloud=cloud)
    (plain,) = story.usage(AT)["charges_usage"]
    assert plain["units"] == "2.0"
    (shown,) = story.regrouped(AT, events_read=True, skip_grouping=True)["charges_usage"]
    assert (shown["units"], shown["grouped_usage"]) == ("1.0", [])


@pytest.mark.parametrize("metric", ["count", "sum", "balance", "unique", "seats"])
@pytest.mark.parametrize(
    "wanted", [{"group": {"tier": frozenset({"t"})}}, {"skip_grouping": True}], ids=["tier", "skip"]
)
def test_only_groups_that_are_admitted_count(metric: str, wanted: dict[str, Any]) -> None:
    described = dict(METRICS[metric])
    story = Story(max_groups=2).metric("m", described.pop("aggregation_type"), **described)
    story.plan(charge(**GROUPED)).subscribe()
    for v, cloud in ((1, "aws"), (2, "gcp"), (4, "azure"), (8, "aws")):
        story.send("2024-01-10", v=v, cloud=cloud, region="eu", tier="t")
    (plain,) = story.usage(AT)["charges_usage"]
    (shown,) = story.regrouped(AT, **wanted)["charges_usage"]
    assert len(groups(plain)) == 2
    assert (shown["units"], shown["events_count"]) == (plain["units"], plain["events_count"])
    assert wanted.get("skip_grouping") or groups(shown) == groups(plain)


@pytest.mark.parametrize(
    ("properties", "events_read"), [(GROUPED["properties"], False), ({}, True)]
)
def test_the_null_group_has_events_of_a_blank_text(properties: Json, events_read: bool) -> None:
    story = Story().metric("m", "sum_agg").plan(charge(properties=properties)).subscribe()
    for v, cloud in ((1, " "), (2, ""), (4, None), (8, "aws")):
        story.send("2024-01-10", v=v, cloud=cloud)
    shown = story.regrouped(AT, events_read, group={"cloud": frozenset({""})})
    assert shown["charges_usage"][0]["units"] == "7.0"
