"""Lists of single events in records, for prices that need them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.definitions import commands
from tables import entries
from tests.world.bodies import Json
from tests.world.clock import ms
from tests.world.definitions import ORG
from tests.world.events import cancel, raw
from tests.world.story import Story

BY_EACH = {"charge_model": "percentage", "properties": {"per_transaction_min_amount": "1"}}


def free(**units: Any) -> Json:
    named = {f"free_units_{name}": value for name, value in units.items()}
    return {"charge_model": "percentage", "properties": named}


def story(aggregation_type: str, charge: Json, **metric: Any) -> Story:
    return Story().metric("m", aggregation_type, **metric).plan(charge).subscribe()


def lists(told: Story, at: str = "2024-02-02") -> Json:
    """Return the lists of the newest record."""
    shown: Json = told.records(at)[-1]["per_event"]
    return shown


@pytest.mark.parametrize(
    ("free_units", "totals"),
    [
        ({"per_events": 2}, ["12.0", "24.0"]),
        ({"per_events": "2", "per_total_aggregation": "30"}, ["12.0", "24.0"]),
        ({"per_events": 9}, ["12.0", "24.0", "36.0", "48.0"]),
        ({"per_total_aggregation": "30"}, ["12.0", "24.0", "36.0"]),
        ({"per_total_aggregation": "36"}, ["12.0", "24.0", "36.0", "48.0"]),
        ({"per_total_aggregation": "99"}, ["12.0", "24.0", "36.0", "48.0"]),
    ],
)
def test_running_totals_of_a_sum(free_units: Json, totals: list[str]) -> None:
    told = story("sum_agg", free(**free_units))
    for _ in range(4):
        told.send("2024-01-10", v=12)
    assert lists(told) == {
        "count": len(totals),
        "values": None,
        "prorated_values": None,
        "running_total": totals,
    }


def test_a_balance_begins_with_its_history() -> None:
    told = story("sum_agg", free(per_events=3), recurring=True)
    told.send("2024-01-10", v=5).send("2024-02-10", v=1).send("2024-02-09", v="2.5")
    assert lists(told, "2024-03-02")["running_total"] == ["5.0", "7.5", "8.5"]


@pytest.mark.parametrize(
    ("aggregation_type", "values"),
    [
        ("count_agg", ["1.0", "1.0", "1.0"]),
        ("sum_agg", ["3.0", "7.0", "7.0"]),
        ("max_agg", ["0.0", "7.0", "0.0"]),
        ("latest_agg", []),
        ("weighted_sum_agg", []),
        ("unique_count_agg", ["1.0", "1.0", "1.0"]),
    ],
)
def test_values_are_in_order_of_time(aggregation_type: str, values: list[str]) -> None:
    told = story(aggregation_type, BY_EACH)
    told.send("2024-01-11", v=7).send("2024-01-10", v=3).send("2024-01-12", v=7)
    found = lists(told)
    assert (found["values"], found["count"]) == (values, len(values))


def test_units_count_up() -> None:
    told = story("count_agg", free(per_events=1)).send("2024-01-11").send("2024-01-12")
    assert lists(told)["running_total"] == ["1.0", "2.0"]


def prorated(aggregation_type: str) -> Story:
    charge = {"charge_model": "graduated", "prorated": True}
    return story(aggregation_type, charge, recurring=True)


def test_a_prorated_sum_begins_with_what_is_carried() -> None:
    told = prorated("sum_agg").send("2024-02-10", v=5)
    told.send("2024-05-26", v=12).send("2024-05-26", v=12)
    share = "2.32258064516129032259"
    assert lists(told, "2024-06-02") == {
        "count": 3,
        "values": ["5.0", "12.0", "12.0"],
        "prorated_values": ["5.0", share, share],
        "running_total": None,
    }


def test_a_prorated_unique_count_lists_what_changes_it() -> None:
    told = prorated("unique_count_agg").send("2024-01-10", v="a").send("2024-01-11", v="b")
    told.send("2024-02-10", v="a", operation_type="remove").send("2024-02-11", v="b")
    told.send("2024-02-12", v="c").send("2024-02-12T01:00", v="c", operation_type="remove")
    told.send("2024-02-12T02:00", v="c")
    found = lists(told, "2024-03-02")
    assert found["values"] == ["1.0", "1.0", "-1.0", "1.0"]
    assert found["prorated_values"] == ["0.34483", "1.0", "0.0", "0.62069"]


def test_a_late_event_and_a_correction_revise_the_lists() -> None:
    told = story("sum_agg", BY_EACH).send("2024-01-10", v=1)
    told.send("2024-01-09", appended="2024-02-03T10:15", v=2)
    told.append("2024-02-04T10:15", cancel("t0"))
    found = [record["per_event"]["values"] for record in told.records("2024-02-05")]
    assert found == [["1.0"], ["2.0", "1.0"], ["2.0"]]


def test_a_correction_that_only_changes_the_order_revises_the_record() -> None:
    told = story("max_agg", BY_EACH).send("2024-01-10", v=1).send("2024-01-11", v=5)
    moved = raw("m", "t0", ms("2024-01-12"), v=1)
    told.append("2024-02-03T10:15", {**cancel("t0"), "operation": "amend", "event": moved})
    found = [record["per_event"]["values"] for record in told.records("2024-02-05")]
    assert found == [["0.0", "5.0"], ["5.0", "0.0"]]


def test_a_bucket_asks_by_its_own_properties() -> None:
    eu = {"values": {"region": ["eu"]}, "properties": {"per_transaction_max_amount": "1"}}
    told = Story().metric("m", "sum_agg", filters=[{"key": "region", "values": ["eu"]}])
    told.plan({"charge_model": "percentage", "properties": {}, "filters": [eu]}).subscribe()
    told.send("2024-01-10", v=1, region="eu").send("2024-01-10", v=2)
    found = {
        record["lago_charge_filter_id"] is None: record["per_event"]
        for record in told.records("2024-02-02")
    }
    assert found[True] is None
    assert found[False]["values"] == ["1.0"]


def test_a_price_that_comes_in_the_middle_of_a_period_has_lists_of_all_of_it() -> None:
    told = Story().metric("m", "sum_agg").plan({"code": "m", "charge_model": "percentage"})
    told.subscribe().send("2024-01-10", v=1)
    told.define("2024-01-15", commands.update_charge(ORG, "plan", "m", BY_EACH))
    assert lists(told.send("2024-01-20", v=2))["values"] == ["1.0", "2.0"]


def test_other_charges_have_no_lists() -> None:
    told = story("sum_agg", {"charge_model": "graduated"}).send("2024-01-10", v=1)
    assert lists(told) is None
    paid = story("sum_agg", {**BY_EACH, "pay_in_advance": True}).send("2024-01-10", v=1)
    assert [r["per_event"] for r in paid.records("2024-02-02") if "per_event" in r] == [None]


@pytest.mark.parametrize("charge", [BY_EACH, free(per_total_aggregation="99"), free(per_events=9)])
def test_lists_that_are_too_long_are_null(charge: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(entries, "MOST_ENTRIES", 3)
    monkeypatch.setattr("tables.per_event.MOST_ENTRIES", 3)
    told = story("sum_agg", charge)
    for day in range(3):
        told.send(f"2024-01-1{day}", v=1)
    whole = lists(told)
    assert whole["count"] == 3
    told.send("2024-01-20", v=1)
    assert lists(told) == {
        "count": 4,
        "values": None,
        "prorated_values": None,
        "running_total": None,
    }


@pytest.mark.parametrize("shown", ["2024-02-02", "2024-03-02"])
def test_a_prorated_list_is_null_where_its_period_or_its_history_has_too_many(
    shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MOST_ENTRIES", 3)
    monkeypatch.setattr("tables.per_event.MOST_ENTRIES", 3)
    told = prorated("unique_count_agg")
    for value in "abcd":
        told.send("2024-01-10", v=value)
    found = lists(told, shown)
    assert (found["count"], found["values"], found["prorated_values"]) == (4, None, None)


@pytest.mark.parametrize(("events", "is_listed"), [(2, True), (3, False)])
def test_what_is_carried_counts_in_how_long_a_prorated_list_is(
    events: int, is_listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tables.per_event.MOST_ENTRIES", 3)
    told = prorated("sum_agg").send("2024-01-10", v=5)
    for _ in range(events):
        told.send("2024-02-10", v=1)
    found = lists(told, "2024-03-02")
    assert (found["count"], found["values"] is not None) == (events + 1, is_listed)


def test_the_first_events_are_enough_for_a_short_running_total(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(entries, "MOST_ENTRIES", 3)
    monkeypatch.setattr("tables.per_event.MOST_ENTRIES", 3)
    told = story("sum_agg", free(per_events=2))
    for day in range(9, 0, -1):
        told.send(f"2024-01-0{day}", v=day)
    assert lists(told)["running_total"] == ["1.0", "3.0"]


@pytest.mark.parametrize(("first_only", "kept"), [(False, 0), (True, 4)])
def test_no_more_is_kept_than_tells_that_a_list_is_too_long(
    first_only: bool, kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(entries, "MOST_ENTRIES", 3)
    aggregation = entries.Entries(first_only=first_only)
    state = aggregation.initialize()
    for number in range(9):
        state.events += 1
        aggregation.apply(state, Decimal(number), -number, (0, number, 0, number))
    assert len(state.entries) == kept
