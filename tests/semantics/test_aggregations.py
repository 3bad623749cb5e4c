"""metering-semantics §4.1 to §4.10, rule by rule, from raw bytes to what usage shows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.definitions import commands
from app.offline.fold import EventLine
from tests.world import events
from tests.world.bodies import Json, charge
from tests.world.clock import ms
from tests.world.definitions import ORG
from tests.world.story import Story, buckets, groups

AT = "2024-01-20"


def told(aggregation_type: str, charge_more: Json | None = None, **metric: Any) -> Story:
    story = Story().metric("m", aggregation_type, **metric)
    return story.plan(charge_more or {}).subscribe()


def raw(story: Story, value: str) -> Story:
    """An event whose property `v` is this JSON."""
    number = len(story.events)
    body = (
        f'{{"organization_id":"org","external_subscription_id":"sub","transaction_id":"t{number}",'
        f'"code":"m","timestamp":"1704900000","properties":{{"v":{value}}}}}'
    )
    story.events.append(EventLine(ms("2024-01-10"), 0, number, body.encode()))
    return story


def shown(story: Story, at: str = AT) -> tuple[str, int]:
    (usage,) = story.usage(at)["charges_usage"]
    return usage["units"], usage["events_count"]


# metering-semantics §4.1


@pytest.mark.parametrize(
    ("value", "units"),
    [
        ("12", "12.0"),
        ('"12"', "12.0"),
        ('"-3.50"', None),
        ('"0007"', "7.0"),
        ("1e3", "1000.0"),
        ("1.5E-3", "0.0015"),
        ('"0.10"', "0.1"),
        ('"12345678901234567890.123456789012345678"', "12345678901234567890.123456789012345678"),
    ],
)
def test_numeric_values_count(value: str, units: str | None) -> None:
    assert shown(raw(told("sum_agg"), value)) == (units or "0.0", 1)


@pytest.mark.parametrize(
    "value",
    [
        '""',
        '" 12"',
        '"+5"',
        '".5"',
        '"5."',
        '"1e3"',
        '"1,000"',
        "true",
        "null",
        "{}",
        "[1]",
        '"12 "',
        '"0x10"',
        '"NaN"',
        '"\\u0661"',
        "1e39",
        '"0.' + "0" * 38 + '1"',
    ],
)
@pytest.mark.parametrize("kind", ["sum_agg", "max_agg", "latest_agg", "weighted_sum_agg"])
def test_what_is_no_number_is_ignored_altogether(kind: str, value: str) -> None:
    assert shown(raw(raw(told(kind), value), "0")) == ("0.0", 1)


# metering-semantics §4.3 to §4.6


@pytest.mark.parametrize(
    ("kind", "values", "units", "events"),
    [
        pytest.param("count_agg", [], "0.0", 0, id="count of nothing"),
        pytest.param("count_agg", ["1", "null", '"x"'], "3.0", 3, id="count needs no property"),
        pytest.param("sum_agg", ["5", "-8"], "0.0", 2, id="a negative sum is shown as 0"),
        pytest.param("max_agg", ["-8", "-3"], "0.0", 2, id="a negative maximum is shown as 0"),
        pytest.param("max_agg", ["-8", "3", "2"], "3.0", 3, id="maximum"),
        pytest.param("latest_agg", ["7", "3"], "3.0", 2, id="latest: ties go to the later arrival"),
        pytest.param("latest_agg", ["7", "-3"], "0.0", 2, id="a negative latest is 0"),
        pytest.param("unique_count_agg", ["1", '"1"', "1.0", '"a"', '"A"'], "4.0", 4, id="texts"),
        pytest.param("unique_count_agg", ["null", "{}", '""'], "1.0", 1, id="missing and empty"),
    ],
)
def test_aggregations(kind: str, values: list[str], units: str, events: int) -> None:
    story = told(kind)
    for value in values:
        raw(story, value)
    assert shown(story) == (units, events)


@pytest.mark.parametrize(
    ("operations", "active", "recurring"),
    [
        pytest.param("01-05 add", 1, 1, id="add"),
        pytest.param("01-05 add, 01-06 add", 1, 1, id="twice"),
        pytest.param("01-05 remove", 0, 0, id="a removal of nothing"),
        pytest.param("01-05 add, 01-06 remove", 0, 0, id="gone"),
        pytest.param("01-05 add, 01-06 remove, 01-07 add", 1, 1, id="back"),
        pytest.param("01-07 remove, 01-06 add", 0, 0, id="by event time, not arrival"),
        pytest.param("01-05 add, 01-05 remove", 0, 0, id="in one moment by position"),
        pytest.param("01-05 remove, 01-05 add", 1, 1, id="in one moment, the other way"),
        pytest.param("12-05 add", 0, 1, id="last month"),
        pytest.param("12-05 add, 01-05 remove", 0, 0, id="last month, removed in this"),
        pytest.param("12-05 add, 12-06 remove, 01-05 remove", 0, 0, id="never below 0"),
        pytest.param("01-05 Remove", 0, 0, id="an unknown operation is ignored"),
        pytest.param("01-05 ", 1, 1, id="an empty operation adds"),
    ],
)
def test_unique_count(operations: str, active: int, recurring: int) -> None:
    for carries, count in ((False, active), (True, recurring)):
        story = told("unique_count_agg", recurring=carries)
        for one in operations.split(", "):
            day, _, operation = one.partition(" ")
            year = 2023 if day.startswith("12") else 2024
            story.send(f"{year}-{day}", appended="2024-01-08", v="x", operation_type=operation)
        assert shown(story) == (f"{count}.0", count)


def test_a_late_removal_of_last_month_reaches_every_later_balance() -> None:
    story = told("unique_count_agg", recurring=True)
    story.send("2024-01-05", v="x").send("2024-02-05", v="y")
    story.send("2024-01-20", appended="2024-03-05", v="x", operation_type="remove")
    (usage,) = story.usage("2024-03-06")["charges_usage"]
    assert usage["units"] == "1.0"
    revised = [(r["period"]["from"][:7], r["units"]) for r in story.records("2024-03-06")]
    assert revised == [
        ("2024-01", "1.0"),
        ("2024-02", "2.0"),
        ("2024-01", "0.0"),
        ("2024-02", "1.0"),
    ]


def test_a_negative_balance_is_kept_and_shown_as_0() -> None:
    story = told("sum_agg", recurring=True).send("2024-01-05", v=-5).send("2024-02-05", v=7)
    assert shown(story) == ("0.0", 1)
    assert shown(story, "2024-02-20") == ("2.0", 2)


# metering-semantics §4.7


@pytest.mark.parametrize(
    ("start", "deltas", "value", "level"),
    [
        pytest.param(
            "2023-08-01T00:00:00Z", [("11T00:00:00Z", 10)], Decimal(10) * 21 / 31, 10, id="day 11"
        ),
        pytest.param(
            "2023-08-01T00:00:00Z", [("01T00:00:00Z", 3)] * 2, Decimal(6), 6, id="both at once"
        ),
        pytest.param(
            "2023-08-16T12:00:00Z", [("17T00:00:00Z", 31)], Decimal(15), 31, id="from the middle"
        ),
        pytest.param(
            "2023-08-01T00:00:00Z",
            [("01T00:00:00.500Z", 1)],
            Decimal("0.99999981332138590"),
            1,
            id="half a second",
        ),
        pytest.param(
            "2023-08-01T00:00:00Z",
            [("11T00:00:00Z", 10), ("21T00:00:00Z", -40)],
            Decimal(0),
            0,
            id="below 0",
        ),
    ],
)
def test_weighted_sum(
    start: str, deltas: list[tuple[str, int]], value: Decimal, level: int
) -> None:
    story = Story().metric("m", "weighted_sum_agg", at="2023-07-01").plan({}, at="2023-07-01")
    story.subscribe(at="2023-07-02", subscription_at=start)
    for at, delta in deltas:
        story.send(f"2023-08-{at}", v=delta)
    (usage,) = story.usage("2023-08-30")["charges_usage"]
    assert abs(Decimal(usage["units"]) - value) < Decimal("1e-16")
    assert Decimal(usage["total_aggregated_units"]) == level
    assert usage["events_count"] == len(deltas)


@pytest.mark.parametrize(
    ("month", "value"), [("2024-03", "99.8655913978"), ("2024-10", "100.1344086021")]
)
def test_a_level_over_a_change_of_the_clocks(month: str, value: str) -> None:
    """The denominator is whole days, whatever the clocks do."""
    story = Story().metric("m", "weighted_sum_agg", recurring=True)
    customer = {"external_id": "customer", "timezone": "Europe/Paris"}
    story.plan({}).define("2023-12-31", commands.upsert_customer(ORG, customer)).subscribe()
    story.send("2023-12-01", appended="2024-01-02", v=100)
    (usage,) = story.usage(f"{month}-20")["charges_usage"]
    assert usage["units"].startswith(value)
    assert usage["total_aggregated_units"] == "100.0"
    assert usage["events_count"] == 0


# metering-semantics §4.8, §4.9


def filtered(*filters: Json, keys: list[str] | None = None) -> Story:
    dimensions = [
        {"key": "region", "values": ["eu", "us", "ap"]},
        {"key": "tier", "values": ["a", "b"]},
    ]
    story = Story().metric("m", "sum_agg", filters=dimensions)
    described = [{"values": f, "properties": {"amount": "1"}} for f in filters]
    properties = {"pricing_group_keys": keys} if keys else {}
    return story.plan(charge(filters=described, properties=properties)).subscribe()


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        pytest.param(
            [{"region": ["eu"]}, {"region": ["eu"], "tier": ["a"]}],
            ["4.0", "1.0", "10.0"],
            id="most keys",
        ),
        pytest.param(
            [{"region": ["eu", "us"]}, {"region": ["eu"]}],
            ["2.0", "5.0", "8.0"],
            id="fewest values",
        ),
        pytest.param(
            [{"region": ["eu"]}, {"region": ["eu"]}], ["5.0", "0.0", "10.0"], id="alike: the oldest"
        ),
        pytest.param(
            [{"region": ["eu", "us"]}, {"region": ["us", "ap"]}],
            ["7.0", "0.0", "8.0"],
            id="overlapping",
        ),
        pytest.param(
            [{"region": ["eu"]}, {"tier": ["a"]}], ["5.0", "2.0", "8.0"], id="unrelated: the oldest"
        ),
        pytest.param(
            [{"region": ["__ALL_FILTER_VALUES__"]}], ["7.0", "8.0"], id="all values of the metric"
        ),
        pytest.param(
            [{"region": ["__ALL_FILTER_VALUES__"]}, {"region": ["us"]}],
            ["5.0", "2.0", "8.0"],
            id="all is the widest",
        ),
    ],
)
def test_filters(filters: list[Json], expected: list[str]) -> None:
    """Each event is in exactly one bucket; the last one listed is the default bucket."""
    story = filtered(*filters)
    for v, properties in (
        (1, {"region": "eu", "tier": "a"}),
        (4, {"region": "eu"}),
        (2, {"region": "us", "tier": "a"}),
        (8, {"region": "EU", "tier": None}),
    ):
        story.send("2024-01-10", v=v, **properties)
    (usage,) = story.usage(AT)["charges_usage"]
    assert [entry["units"] for entry in usage["filters"]] == expected
    assert usage["units"] == "15.0"


def test_a_filter_groups_by_its_own_keys_or_not_at_all() -> None:
    story = filtered({"region": ["eu"]}, keys=["user"])
    story.send("2024-01-10", v=1, region="eu", user="ann").send("2024-01-10", v=2, user="bob")
    (usage,) = story.usage(AT)["charges_usage"]
    assert groups(usage) == {"": "1.0", "bob": "2.0"}
    assert buckets(usage) == {'{"region": ["eu"]}': "1.0", "rest": "2.0"}


@pytest.mark.parametrize("value", ["", " ", "\t\n", "\u00a0\u2003\u3000", None, {"a": 1}, [1]])
def test_what_has_no_text_is_in_the_null_group(value: object) -> None:
    story = told("sum_agg", {"properties": {"pricing_group_keys": ["g"]}})
    story.send("2024-01-10", v=1, g=value).send("2024-01-10", v=2)
    (usage,) = story.usage(AT)["charges_usage"]
    assert groups(usage) == {"None": "3.0"}


# metering-semantics §1.6, §4.10


@pytest.mark.parametrize(
    ("function", "precision", "units"),
    [
        ("round", 0, ["3.0", "2.0"]),
        ("round", None, ["3.0", "2.0"]),
        ("ceil", 0, ["3.0", "2.0"]),
        ("floor", 0, ["2.0", "1.0"]),
        ("ceil", -1, ["10.0", "10.0"]),
        (None, 0, ["2.5", "1.6"]),
    ],
)
def test_each_group_is_rounded_alone(
    function: str | None, precision: int | None, units: list[str]
) -> None:
    story = told(
        "sum_agg",
        {"properties": {"pricing_group_keys": ["g"]}},
        rounding_function=function,
        rounding_precision=precision,
    )
    story.send("2024-01-10", v="2.1", g="a").send("2024-01-11", v="0.4", g="a")
    story.send("2024-01-10", v="1.6", g="b")
    (usage,) = story.usage(AT)["charges_usage"]
    assert list(groups(usage).values()) == units
    assert Decimal(usage["units"]) == sum(map(Decimal, units))


def test_the_level_of_a_weighted_sum_is_not_rounded() -> None:
    story = told("weighted_sum_agg", recurring=True, rounding_function="ceil")
    story.send("2024-01-16T12:00:00Z", v="2.5")
    (usage,) = story.usage("2024-01-20")["charges_usage"]
    assert (usage["units"], usage["total_aggregated_units"]) == ("2.0", "2.5")
    (usage,) = story.usage("2024-02-20")["charges_usage"]
    assert (usage["units"], usage["total_aggregated_units"]) == ("3.0", "2.5")


def test_the_precise_amount_of_what_comes_late_is_added() -> None:
    story = told("sum_agg")
    for number, (appended, amount) in enumerate([("2024-01-20", "2.50"), ("2024-02-03", "1.25")]):
        sent = events.raw("m", f"t{number}", ms("2024-01-10"), v="1")
        story.append(appended, sent | {"precise_total_amount_cents": amount})
    amounts = [record["precise_total_amount_cents"] for record in story.records("2024-02-05")]
    assert amounts == ["2.5", "3.75"]
