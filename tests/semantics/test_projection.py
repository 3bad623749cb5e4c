"""projected_usage: what the running period comes to if it goes on as it did so far."""

from __future__ import annotations

from typing import Any

import pytest

from tests.world.definitions import presented_by
from tests.world.story import Story


def june(recurring: bool = False, starts: str = "2024-01-01T00:00:00Z", **charge: Any) -> Story:
    story = Story().metric("m", "sum_agg", recurring=recurring)
    return story.plan(charge).subscribe(subscription_at=starts)


def projected(story: Story, at: str) -> str:
    (shown,) = story.projected(at)["charges_usage"]
    units: str = shown["projected_units"]
    return units


@pytest.mark.parametrize(
    ("at", "v", "units"),
    [
        pytest.param("2024-06-10T12:00:00Z", "7", "21.0", id="the tenth of thirty days"),
        pytest.param("2024-06-11T00:00:00Z", "5", "13.64", id="midnight begins the next day"),
        pytest.param("2024-06-10T23:59:59.999Z", "5", "15.0", id="just before it"),
        pytest.param("2024-06-01T02:00:00Z", "0.5", "15.0", id="the first day"),
        pytest.param("2024-06-30T23:59:59Z", "5", "5.0", id="the last day"),
        pytest.param("2024-06-16T00:00:00Z", "0.016", "0.03", id="16 of 30 days"),
        pytest.param("2024-06-15T12:00:00Z", "-3", "0.0", id="a negative sum shows 0"),
        pytest.param("2024-06-12T12:00:00Z", "0.002", "0.01", id="halves go away from zero"),
    ],
)
def test_units_grow_by_the_days_that_began(at: str, v: str, units: str) -> None:
    assert projected(june().send("2024-06-01T01:00:00Z", v=v), at) == units


def test_a_balance_stays_as_it_is() -> None:
    story = june(recurring=True).send("2024-05-03", v=2).send("2024-06-05", v=3)
    assert projected(story, "2024-06-10T12:00:00Z") == "5.0"


def test_days_count_from_the_midnight_before_a_start() -> None:
    story = june(starts="2024-06-21T15:00:00Z")
    # 3 of 10 days: the first one counts from its midnight on.
    story.send("2024-06-22", v=3)
    assert projected(story, "2024-06-23T15:00:00Z") == "10.0"


def test_the_month_of_a_yearly_plan_is_projected() -> None:
    story = Story().metric("m", "sum_agg")
    story.plan({}, interval="yearly", bill_charges_monthly=True).subscribe()
    assert projected(story.send("2024-06-05", v=7), "2024-06-10T12:00:00Z") == "21.0"


def test_beside_filters_the_default_bucket_is_not_projected() -> None:
    story = Story().metric("m", "sum_agg", filters=[{"key": "tier", "values": ["x", "y"]}])
    filters = [
        {"values": {"tier": [value]}, "properties": {"amount": "1", "pricing_group_keys": ["g"]}}
        for value in ("x", "y")
    ]
    story.plan({"filters": filters}).subscribe()
    story.send("2024-06-02", v=7, tier="x", g="a").send("2024-06-02", v=1, tier="x", g="b")
    story.send("2024-06-02", v=2, tier="y", g="a").send("2024-06-02", v=9)
    shown = story.projected("2024-06-10T12:00:00Z")
    (charge,) = shown["charges_usage"]
    assert (charge["units"], charge["projected_units"]) == ("19.0", "30.0")
    assert [entry["projected_units"] for entry in charge["filters"]] == ["24.0", "6.0", "0.0"]
    assert [
        (entry["grouped_by"], entry["projected_units"]) for entry in charge["grouped_usage"]
    ] == [({}, "0.0"), ({"g": "a"}, "27.0"), ({"g": "b"}, "3.0")]
    of_a = charge["grouped_usage"][1]["filters"]
    assert [entry["projected_units"] for entry in of_a] == ["21.0", "6.0"]


def test_each_cell_is_rounded_for_itself() -> None:
    story = june(properties={"pricing_group_keys": ["g"]})
    for group in ("a", "b", "c"):
        story.send("2024-06-02", v="0.005", g=group)
    # 30/11 x 0.005 is 0.0136…: three of them are 0.03, and 0.04 together.
    assert projected(story, "2024-06-11T00:00:00Z") == "0.03"


def test_rows_of_presentation_keys_are_projected_one_by_one() -> None:
    story = june(properties=presented_by("cloud"))
    for cloud, v in (("a", 7), ("b", -1), (None, "0.005")):
        story.send("2024-06-02", v=v, cloud=cloud)
    (shown,) = story.projected("2024-06-10T12:00:00Z")["charges_usage"]
    assert (shown["units"], shown["projected_units"]) == ("6.005", "18.02")
    rows = [
        (row["presentation_by"]["cloud"], row["units"])
        for row in shown["projected_presentation_breakdowns"]
    ]
    assert rows == [(None, "0.02"), ("a", "21.0"), ("b", "0.0")]


def test_rows_of_a_balance_stay_and_those_of_the_default_bucket_are_not_projected() -> None:
    eu = {"values": {"region": ["eu"]}, "properties": {"amount": "1", **presented_by("cloud")}}
    story = Story().metric(
        "m", "sum_agg", recurring=True, filters=[{"key": "region", "values": ["eu"]}]
    )
    story.plan({"properties": {"amount": "1", **presented_by("cloud")}, "filters": [eu]})
    story.subscribe().send("2024-06-02", v=-3, region="eu", cloud="a")
    story.send("2024-06-02", v=2, cloud="b")
    (shown,) = story.projected("2024-06-10T12:00:00Z")["charges_usage"]
    units = [
        [row["units"] for row in entry["projected_presentation_breakdowns"]]
        for entry in (*shown["filters"], shown)
    ]
    assert units == [["-3.0"], ["0.0"], ["0.0"]]


def test_amounts_are_there_and_0_at_every_level() -> None:
    story = june(properties={"pricing_group_keys": ["g"]}).send("2024-06-02", v=1, g="a")
    shown = story.projected("2024-06-10T12:00:00Z")
    assert shown["projected_amount_cents"] == 0
    (charge,) = shown["charges_usage"]
    for entry in (charge, *charge["grouped_usage"]):
        assert entry["projected_amount_cents"] == 0
        assert entry["projected_presentation_breakdowns"] == []
    assert "projected_units" not in story.usage("2024-06-10")["charges_usage"][0]
