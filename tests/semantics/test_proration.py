"""Prorated charges by how a period begins and ends (metering-semantics §4.11, §4.12).

Everyone has 31 units, or one seat, from before the subscription, and gets as much on 10 January.
"""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil
from typing import Any

import pytest

from app.definitions import commands
from app.numbers import plain
from tests.world.bodies import Json
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

JANUARY = 31


def share(days: int, units: int = 1) -> str:
    """Units by days of a month of 31, rounded up to five decimals."""
    number = Fraction(units * days, JANUARY)
    return plain(Decimal(ceil(number * 10**5)).scaleb(-5))


def story(
    aggregation_type: str, timezone: str = "UTC", start: str = "2024-01-01T00:00:00Z"
) -> Story:
    """A subscription to `plan` of middle price; `dearer` and `cheaper` have the same charge."""
    told = Story().metric("m", aggregation_type, recurring=True)
    for code, amount_cents in (("plan", 100), ("dearer", 200), ("cheaper", 50)):
        told.plan({"prorated": True}, code=code, amount_cents=amount_cents)
    body = {"external_id": "customer", "timezone": timezone}
    told.define("2023-12-31", commands.upsert_customer(ORG, body))
    told.subscribe(subscription_at=start)
    values = (31, 31) if aggregation_type == "sum_agg" else ("first seat", "second seat")
    told.send("2023-12-15", v=values[0])
    return told.send("2024-01-10T12:00:00Z", v=values[1])


def change_plan(told: Story, at: str, code: str) -> Story:
    body = {"external_customer_id": "customer", "plan_code": code, "external_id": SUBSCRIPTION}
    return told.define(at, commands.create_subscription(ORG, body))


def january(told: Story) -> dict[str, Json]:
    """Records by plan of periods that began in January."""
    return {
        record["plan_code"]: record
        for record in told.records("2024-02-05")
        if record["period"]["from"].startswith("2024-01")
    }


@pytest.mark.parametrize("aggregation_type", ["sum_agg", "unique_count_agg"])
def test_a_whole_month(aggregation_type: str) -> None:
    record = january(story(aggregation_type))["plan"]
    units = 31 if aggregation_type == "sum_agg" else 1
    assert record["prorated_units"] == share(31 + 22, units)
    assert record["units"] == f"{2 * units}.0"


@pytest.mark.parametrize(
    ("at", "days", "added_days"),
    [
        pytest.param("2024-01-16T12:00:00Z", 16, 7, id="midday"),
        pytest.param("2024-01-16T00:00:00Z", 16, 7, id="a midnight counts the day it opens"),
        pytest.param("2024-01-16T00:00:00.001Z", 16, 7, id="just after midnight"),
        pytest.param("2024-01-15T23:59:59.999Z", 15, 6, id="just before midnight"),
    ],
)
@pytest.mark.parametrize("aggregation_type", ["sum_agg", "unique_count_agg"])
def test_a_termination(aggregation_type: str, at: str, days: int, added_days: int) -> None:
    told = story(aggregation_type).define(at, commands.terminate_subscription(ORG, SUBSCRIPTION))
    record = january(told)["plan"]
    units = 31 if aggregation_type == "sum_agg" else 1
    assert record["prorated_units"] == share(days + added_days, units)


@pytest.mark.parametrize("aggregation_type", ["sum_agg", "unique_count_agg"])
def test_an_upgrade_bills_both_sides(aggregation_type: str) -> None:
    """Of what a sum persisted, the day of the upgrade belongs to the new plan alone.

    Everything else is counted from date to date, that day included on both sides
    (metering-semantics §4.11, §4.12).
    """
    records = january(change_plan(story(aggregation_type), "2024-01-16T12:00:00Z", "dearer"))
    if aggregation_type == "sum_agg":
        assert records["plan"]["prorated_units"] == share(15 + 7, 31)
        assert records["dearer"]["prorated_units"] == share(2 * 16, 31)
    else:
        assert records["plan"]["prorated_units"] == share(16 + 7)
        assert records["dearer"]["prorated_units"] == share(2 * 16)
    assert records["plan"]["closing_reason"] == "plan_change"


@pytest.mark.parametrize("aggregation_type", ["sum_agg", "unique_count_agg"])
def test_an_upgrade_at_the_end_of_a_period_takes_no_day_of_it(aggregation_type: str) -> None:
    """It is the upgrade's own that belongs to the new plan, and that is the next period's first."""
    told = change_plan(story(aggregation_type), "2024-02-01T00:00:00Z", "dearer")
    record, whole = january(told)["plan"], january(story(aggregation_type))["plan"]
    assert record["prorated_units"] == whole["prorated_units"]
    assert (record["closing_reason"], whole["closing_reason"]) == ("plan_change", "period_end")


def test_an_upgrade_on_the_first_day_leaves_nothing_of_what_persisted() -> None:
    told = change_plan(story("sum_agg"), "2024-01-01T06:00:00Z", "dearer")
    assert january(told)["plan"]["prorated_units"] == "0.0"


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize("aggregation_type", ["sum_agg", "unique_count_agg"])
def test_a_downgrade_ends_with_the_whole_month(aggregation_type: str, timezone: str) -> None:
    """Its end is the start of the next period, whose day is not counted."""
    told = change_plan(story(aggregation_type, timezone), "2024-01-16T12:00:00Z", "cheaper")
    record = january(told)["plan"]
    whole = january(story(aggregation_type, timezone))["plan"]
    assert record["closing_reason"] == "plan_change"
    assert record["prorated_units"] == whole["prorated_units"]
    assert record["period"] == whole["period"]


def test_a_downgrade_ends_at_the_last_second_of_the_month() -> None:
    told = change_plan(story("sum_agg"), "2024-01-16T12:00:00Z", "cheaper")
    assert january(told)["plan"]["period"]["to"] == "2024-01-31T23:59:59Z"


def test_a_wished_end_at_the_end_of_a_month() -> None:
    told = story("sum_agg")
    body: dict[str, Any] = {"ending_at": "2024-02-01T00:00:00Z"}
    told.define("2024-01-20", commands.update_subscription(ORG, SUBSCRIPTION, body))
    record = january(told)["plan"]
    assert record["closing_reason"] == "termination"
    assert record["prorated_units"] == share(31 + 22, 31)
    assert record["period"]["to"] == "2024-01-31T23:59:59Z"


@pytest.mark.parametrize(
    ("start", "days"),
    [
        pytest.param("2024-01-05T18:00:00Z", 27, id="the first day is a started one"),
        pytest.param("2024-01-05T00:00:00Z", 27, id="from midnight on"),
    ],
)
def test_a_start_within_the_month(start: str, days: int) -> None:
    record = january(story("sum_agg", start=start))["plan"]
    assert record["prorated_units"] == share(days + 22, 31)
    assert record["period"]["charges_duration_in_days"] == 31


def test_days_are_those_of_the_customer() -> None:
    """10 January 12:00 UTC is the 10th in Los Angeles; an hour before midnight there it is not."""
    told = story("sum_agg", "America/Los_Angeles", "2024-01-01T08:00:00Z")
    told.send("2024-01-11T07:59:59.999Z", v=31).send("2024-01-11T08:00:00Z", v=31)
    assert january(told)["plan"]["prorated_units"] == share(31 + 22 + 22 + 21, 31)


@pytest.mark.parametrize(
    ("operations", "days"),
    [
        pytest.param([("02T01", "add"), ("02T05", "remove")], 1, id="on one day"),
        pytest.param([("02T01", "add"), ("04T05", "remove")], 3, id="the day of removal counts"),
        pytest.param(
            [("02T01", "add"), ("04T05", "remove"), ("04T09", "add")], 30, id="back on the same day"
        ),
        pytest.param(
            [("02T01", "add"), ("04T05", "remove"), ("05T09", "add")], 30, id="back the next day"
        ),
        pytest.param(
            [("02T01", "add"), ("04T05", "remove"), ("04T09", "add"), ("04T11", "remove")],
            3,
            id="back and gone on the same day",
        ),
        pytest.param([("02T01", "remove"), ("03T01", "add")], 29, id="a removal of nothing"),
        pytest.param([("02T01", "add"), ("02T01", "remove")], 1, id="in one moment: in order"),
        pytest.param([("02T01", "remove"), ("02T01", "add")], 30, id="the other way round"),
    ],
)
def test_days_of_a_seat(operations: list[tuple[str, str]], days: int) -> None:
    told = Story().metric("m", "unique_count_agg", recurring=True)
    told.plan({"prorated": True}).subscribe()
    for hour, operation in operations:
        told.send(f"2024-01-{hour}:00:00Z", v="seat", operation_type=operation)
    (record,) = told.records("2024-02-05")
    assert record["prorated_units"] == share(days)


@pytest.mark.parametrize(("fold_version", "january"), [(1, "50.0"), (2, "0.0")])
def test_a_share_below_zero_bills_nothing(fold_version: int, january: str) -> None:
    """By version 1 a record shows the full units all the same."""
    story = Story(grace_s=86_400, fold_version=fold_version).metric("m", "sum_agg", recurring=True)
    story.plan({"prorated": True}).subscribe()
    story.send("2024-01-01", v="-50").send("2024-01-31", v="100")
    (current,) = story.usage("2024-01-31T12:00")["charges_usage"]
    assert current["units"] == "50.0"
    (in_grace,) = story.past("2024-02-01T12:00")[0]["charges_usage"]
    assert in_grace["units"] == january
    assert [
        (r["units"], r["prorated_units"], r["total_aggregated_units"], r["events_count"])
        for r in story.records("2024-03-03")
    ] == [(january, "0.0", january, 2), ("50.0", "50.0", "50.0", 2)]


def test_a_share_that_is_rounded_to_zero_is_none_below_it() -> None:
    story = Story().metric("m", "sum_agg", recurring=True, rounding_function="round")
    story.plan({"prorated": True}).subscribe()
    story.send("2024-01-01", v="-0.4").send("2024-01-31", v="10")
    (record,) = story.records("2024-02-02")
    assert (record["units"], record["prorated_units"]) == ("10.0", "0.0")
