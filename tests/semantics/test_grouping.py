"""By what a charge splits usage: filters, groups, target wallets, results of expressions."""

from __future__ import annotations

from typing import Any

import pytest

from tests.world.story import Story, buckets, groups

AT = "2024-01-20"


def told(metric: dict[str, Any], charge: dict[str, Any], *events: dict[str, Any]) -> Any:
    story = Story().metric("m", **metric).plan(charge).subscribe()
    for event in events:
        story.send("2024-01-10", **event)
    (charge_usage,) = story.usage(AT)["charges_usage"]
    return charge_usage


SUM: dict[str, Any] = {"aggregation_type": "sum_agg"}


@pytest.mark.parametrize(
    ("properties", "shown"),
    [
        pytest.param({"pricing_group_keys": ["g"]}, {"a": "1.0", "None": "4.0"}, id="own name"),
        pytest.param({"grouped_by": ["g"]}, {"a": "1.0", "None": "4.0"}, id="former name"),
        pytest.param(
            {"pricing_group_keys": [], "grouped_by": ["g"]},
            {"a": "1.0", "None": "4.0"},
            id="an empty list is none",
        ),
        pytest.param(
            {"pricing_group_keys": ["h"], "grouped_by": ["g"]},
            {"b": "1.0", "None": "4.0"},
            id="the own name comes first",
        ),
    ],
)
def test_group_keys(properties: dict[str, Any], shown: dict[str, str]) -> None:
    usage = told(
        SUM, {"properties": properties}, {"v": 1, "g": "a", "h": "b"}, {"v": 4, "g": "", "h": None}
    )
    assert groups(usage) == shown


def test_a_charge_that_accepts_a_target_wallet_is_split_by_it() -> None:
    usage = told(
        SUM,
        {"accepts_target_wallet": True},
        {"v": 1, "target_wallet_code": "w1"},
        {"v": 2, "target_wallet_code": "w2"},
        {"v": 4},
    )
    assert groups(usage) == {"None": "4.0", "w1": "1.0", "w2": "2.0"}


def test_the_target_wallet_comes_after_the_other_keys_and_in_every_filter() -> None:
    metric = {**SUM, "filters": [{"key": "region", "values": ["eu"]}]}
    charge = {
        "accepts_target_wallet": True,
        "properties": {"pricing_group_keys": ["g"]},
        "filters": [{"values": {"region": ["eu"]}, "properties": {"amount": "1"}}],
    }
    usage = told(
        metric,
        charge,
        {"v": 1, "g": "a", "target_wallet_code": "w"},
        {"v": 2, "g": "a", "target_wallet_code": "w", "region": "eu"},
    )
    assert groups(usage) == {"a/w": "1.0", "w": "2.0"}


def test_the_target_wallet_is_a_group_of_the_records() -> None:
    story = Story().metric("m", **SUM).plan({"accepts_target_wallet": True}).subscribe()
    story.send("2024-01-10", v=1, target_wallet_code="w")
    (record,) = story.records("2024-02-02")
    assert record["grouped_by"] == {"target_wallet_code": "w"}


DOUBLED = {"expression": "event.properties.a * 2", "filters": [{"key": "v", "values": ["4", "6"]}]}


@pytest.mark.parametrize("aggregation_type", ["sum_agg", "unique_count_agg", "max_agg"])
def test_filters_see_the_result_of_the_expression(aggregation_type: str) -> None:
    """It stands in place of the property from then on (metering-semantics §1.7)."""
    usage = told(
        {"aggregation_type": aggregation_type, **DOUBLED},
        {"filters": [{"values": {"v": ["4"]}, "properties": {"amount": "1"}}]},
        {"a": 2, "v": "6"},
        {"a": 3, "v": "4"},
        {"a": 3, "v": "6"},
    )
    expected = {
        "sum_agg": {'{"v": ["4"]}': "4.0", "rest": "12.0"},
        "max_agg": {'{"v": ["4"]}': "4.0", "rest": "6.0"},
        "unique_count_agg": {'{"v": ["4"]}': "1.0", "rest": "1.0"},
    }
    assert buckets(usage) == expected[aggregation_type]


def test_groups_see_the_result_of_the_expression() -> None:
    usage = told(
        {**SUM, "expression": "event.properties.a * 2"},
        {"properties": {"pricing_group_keys": ["v"]}},
        {"a": 2, "v": "x"},
        {"a": 2, "v": "y"},
    )
    assert groups(usage) == {"4": "8.0"}


def test_a_filter_on_another_property_sees_it_as_sent() -> None:
    usage = told(
        {**SUM, "expression": "event.properties.a * 2", "filters": [{"key": "a", "values": ["2"]}]},
        {"filters": [{"values": {"a": ["2"]}, "properties": {"amount": "1"}}]},
        {"a": 2},
        {"a": 3},
    )
    assert buckets(usage) == {'{"a": ["2"]}': "4.0", "rest": "6.0"}


BLANK = " \u2003"


def test_a_blank_text_is_the_null_group_of_the_records() -> None:
    story = Story().metric("m", **SUM).plan({"properties": {"pricing_group_keys": ["g"]}})
    story.subscribe().send("2024-01-10", v=1, g=BLANK).send("2024-01-10", v=2)
    (record,) = story.records("2024-02-02")
    assert (record["grouped_by"], record["units"]) == ({"g": None}, "3.0")


def test_a_blank_result_of_an_expression_is_the_null_group() -> None:
    metric = {"aggregation_type": "count_agg", "expression": "event.properties.a"}
    usage = told(metric, {"properties": {"pricing_group_keys": ["a"]}}, {"a": BLANK}, {"a": None})
    assert groups(usage) == {"None": "2.0"}


def test_filters_and_unique_values_take_a_blank_text_as_it_stands() -> None:
    metric = {
        "aggregation_type": "unique_count_agg",
        "filters": [{"key": "g", "values": [BLANK, "a"]}],
    }
    charge = {"filters": [{"values": {"g": [BLANK]}, "properties": {"amount": "1"}}]}
    usage = told(
        metric, charge, {"v": BLANK, "g": BLANK}, {"v": " ", "g": BLANK}, {"v": "", "g": ""}
    )
    assert [bucket["units"] for bucket in usage["filters"]] == ["2.0", "1.0"]
