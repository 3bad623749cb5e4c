"""A charge or a filter that comes or goes: what unpublished and published periods show."""

from __future__ import annotations

from typing import Any

import pytest

from app.definitions import commands
from tests.world.definitions import ORG
from tests.world.events import cancel
from tests.world.story import Story, buckets, groups

REGION = [{"key": "region", "values": ["eu", "us"]}]
EU = '{"region": ["eu"]}'


def started() -> tuple[Story, str]:
    """A count `m` with 4 events of region eu and 6 others in January; the charge's id."""
    story = Story().metric("m", "count_agg", filters=REGION).plan({}).subscribe()
    for number in range(10):
        story.send("2024-01-10", region="eu" if number < 4 else "us")
    (plan,) = story.meter("2024-01-10").definitions.plans(ORG)
    return story, plan.charges[0].id


def add_filter(story: Story, at: str) -> str:
    """Add the filter region=eu; return its id."""
    body = {"values": {"region": ["eu"]}, "properties": {"amount": "2"}}
    command = commands.create_charge_filter(ORG, "plan", "m", body)
    story.define(at, command)
    filter_id = command.payload["filter"]["new_id"]
    assert isinstance(filter_id, str)
    return filter_id


def figures(records: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(r["period"]["from"][:10], r["filters"], r["units"], r["revision"]) for r in records]


def test_a_filter_counts_the_running_period_from_its_start() -> None:
    story, _ = started()
    add_filter(story, "2024-01-15")
    (usage,) = story.usage("2024-01-20")["charges_usage"]
    assert buckets(usage) == {EU: "4.0", "rest": "6.0"}
    assert usage["units"] == "10.0"


def test_a_deleted_filter_leaves_what_is_published_alone() -> None:
    story, _ = started()
    filter_id = add_filter(story, "2024-01-15")
    published = story.records("2024-02-02")
    january = [("2024-01-01", {"region": ["eu"]}, "4.0", 0), ("2024-01-01", None, "6.0", 0)]
    assert sorted(figures(published), key=str) == sorted(january, key=str)
    gone = commands.delete_charge_filter(ORG, "plan", "m", filter_id)
    story.define("2024-02-05", gone)
    for number in range(10):
        story.send("2024-02-10", region="eu" if number < 4 else "us")
    # A late event of January still finds the filter there.
    story.send("2024-01-31", appended="2024-02-11", region="eu")
    told = figures(story.records("2024-03-02"))
    assert told[:2] == figures(published)
    assert told[2:] == [
        ("2024-01-01", {"region": ["eu"]}, "5.0", 1),
        ("2024-02-01", None, "10.0", 0),
    ]


def test_of_filters_with_the_same_values_the_oldest_counts() -> None:
    story, _ = started()
    first = add_filter(story, "2024-01-12")
    second = add_filter(story, "2024-01-13")
    (usage,) = story.usage("2024-01-20")["charges_usage"]
    shown = [(each["values"], each["units"]) for each in usage["filters"]]
    assert shown == [({"region": ["eu"]}, "4.0"), ({"region": ["eu"]}, "0.0"), (None, "6.0")]
    (eu,) = (r for r in story.records("2024-02-02") if r["filters"] is not None)
    assert (eu["lago_charge_filter_id"], eu["units"]) == (first, "4.0")
    # Without it they fall to the next.
    story.define("2024-01-18", commands.delete_charge_filter(ORG, "plan", "m", first))
    (eu,) = (r for r in story.records("2024-02-02") if r["filters"] is not None)
    assert (eu["lago_charge_filter_id"], eu["units"]) == (second, "4.0")


def test_an_added_charge_counts_unpublished_periods_and_no_published_one() -> None:
    story, _ = started()
    for _number in range(3):
        story.send("2024-02-03")
    body = {"billable_metric_code": "m", "charge_model": "standard", "code": "new"}
    story.define("2024-02-20", commands.create_charge(ORG, "plan", body))
    usage = story.usage("2024-02-21")["charges_usage"]
    assert [each["units"] for each in usage] == ["3.0", "3.0"]
    told = [(r["charge"]["code"], r["period"]["from"][:7]) for r in story.records("2024-03-02")]
    assert sorted(told) == [("m", "2024-01"), ("m", "2024-02"), ("new", "2024-02")]


def test_the_unpublished_cells_of_a_deleted_charge_vanish() -> None:
    story, charge_id = started()
    story.send("2024-02-03")
    story.define("2024-02-20", commands.delete_charge(ORG, "plan", "m"))
    assert story.usage("2024-02-21")["charges_usage"] == []
    (record,) = story.records("2024-03-02")
    assert (record["period"]["from"][:7], record["units"]) == ("2024-01", "10.0")
    assert record["charge"]["lago_id"] == charge_id


@pytest.mark.parametrize(
    ("more", "flipped"), [({"prorated": True}, False), ({"pay_in_advance": True}, True)]
)
def test_an_update_of_the_plan_leaves_how_charges_are_billed(
    more: dict[str, Any], flipped: bool
) -> None:
    """As one of the charge itself does: its records are as if nobody had asked."""
    story = Story().metric("m", "sum_agg", recurring=True).plan({"code": "m", **more}).subscribe()
    for day in ("2024-01-10", "2024-01-20"):
        story.send(day, v="7")
    (plan,) = story.meter("2024-01-10").definitions.plans(ORG)
    asked = {"id": plan.charges[0].id, "prorated": flipped, "pay_in_advance": False, "code": "x"}

    def told() -> list[dict[str, Any]]:
        return [record | {"definitions_offset": None} for record in story.records("2024-02-02")]

    before = told()
    story.define("2024-01-15", commands.update_plan(ORG, "plan", {"charges": [asked]}))
    assert told() == before != []


def test_a_bucket_is_not_corrected_by_what_was_corrected_in_another() -> None:
    """Its events went to a filter at the same cut; it has none of the correction's."""
    story = Story().metric("m", "count_agg", filters=REGION)
    story.plan({"code": "m", "filters": [{"values": {"region": ["eu"]}}]}).subscribe()
    for region in ("eu", "us", "eu"):
        story.send("2024-01-10", region=region)
    added = commands.create_charge_filter(ORG, "plan", "m", {"values": {"region": ["us"]}})
    story.define("2024-02-10T10:10", added)
    (metric,) = story.meter("2024-02-10T10:10").definitions.metrics(ORG)
    history = commands.apply_history(ORG, metric_ids=[metric.id], from_ms=0, to_ms=1 << 45)
    story.define("2024-02-10T10:15", history).append("2024-02-10T10:20", cancel("t0"))
    told = story.records("2024-02-11")
    assert sorted((r["units"], r["revision_reason"] or "", r["filters"]) for r in told[2:]) == [
        ("0.0", "definition", None),
        ("1.0", "", {"region": ["us"]}),
        ("1.0", "correction", {"region": ["eu"]}),
    ]


def test_a_charge_that_is_grouped_anew_is_so_from_the_start_of_the_period() -> None:
    story, _ = started()
    grouped = {"amount": "1", "pricing_group_keys": ["region"]}
    story.define("2024-01-15", commands.update_charge(ORG, "plan", "m", {"properties": grouped}))
    (usage,) = story.usage("2024-01-20")["charges_usage"]
    assert groups(usage) == {"eu": "4.0", "us": "6.0"}
