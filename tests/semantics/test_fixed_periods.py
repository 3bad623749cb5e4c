"""Once due, a period is fixed, and so is where the one before it ends (records-and-cuts §2)."""

from __future__ import annotations

from typing import Any

import pytest

from app.definitions import commands
from tests.world.bodies import Json
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

WEEKLY = {"interval": "weekly"}


def customer(timezone: str, grace_days: int) -> Json:
    billing = {"invoice_grace_period": grace_days}
    return {"external_id": "customer", "timezone": timezone, "billing_configuration": billing}


def ended_in_grace(**changed: Any) -> Story:
    """Weeks in Los Angeles with days of grace; ended while the week before is in grace.

    The first period has eight hours, until Monday begins there. By version 1 the end has no grace.
    """
    told = Story(fold_version=1).metric("m", "sum_agg").plan({}, **WEEKLY)
    told.define("2024-01-01", commands.upsert_customer(ORG, customer("America/Los_Angeles", 4)))
    told.subscribe(at="2024-01-02", subscription_at="2024-01-01T00:00:00Z")
    told.send("2024-01-01T02:00:00Z", appended="2024-01-02T10:00:00Z", v=1)
    told.send("2024-01-01T20:00:00Z", appended="2024-01-02T11:00:00Z", v=2)
    told.define("2024-01-02T17:43:01.500Z", commands.terminate_subscription(ORG, SUBSCRIPTION))
    if changed:
        body = customer(**{"timezone": "America/Los_Angeles", "grace_days": 4, **changed})
        told.define("2024-01-03", commands.upsert_customer(ORG, body))
    return told


@pytest.mark.parametrize(
    ("changed", "due"),
    [
        pytest.param({}, "2024-01-06T00:00:00.000Z", id="nothing changed"),
        pytest.param({"timezone": "UTC"}, "2024-01-06T00:00:00.000Z", id="timezone"),
        pytest.param({"timezone": "UTC", "grace_days": 9}, "2024-01-11T00:00:00.000Z", id="longer"),
        pytest.param({"grace_days": 0}, "2024-01-03T00:00:00.000Z", id="no grace any more"),
    ],
)
def test_what_is_published_is_not_published_again(changed: dict[str, Any], due: str) -> None:
    records = ended_in_grace(**changed).records("2024-02-01")
    assert [
        (r["period"]["from"], r["period"]["to"], r["units"], r["closed_at"]) for r in records
    ] == [
        ("2024-01-01T08:00:00Z", "2024-01-02T17:43:01Z", "2.0", "2024-01-02T17:44:00.000Z"),
        ("2024-01-01T00:00:00Z", "2024-01-01T07:59:59Z", "1.0", due),
    ]


def test_before_it_is_due_a_period_follows_the_timezone() -> None:
    told = Story().metric("m", "sum_agg").plan({}, **WEEKLY)
    told.define("2024-01-01", commands.upsert_customer(ORG, customer("America/Los_Angeles", 4)))
    told.subscribe(at="2024-01-02", subscription_at="2024-01-01T00:00:00Z")
    told.send("2024-01-01T02:00:00Z", appended="2024-01-02T10:00:00Z", v=1)
    told.define("2024-01-03", commands.upsert_customer(ORG, customer("UTC", 4)))
    records = told.records("2024-02-01")
    assert [(r["period"]["from"], r["period"]["to"]) for r in records] == [
        ("2024-01-01T00:00:00Z", "2024-01-07T23:59:59Z")
    ]


def test_a_whole_period_ends_a_second_before_the_next_also_after_a_doubled_hour() -> None:
    """Sao Paulo's clocks showed 23:00 to 24:00 of 17 February 2018 twice."""
    story = Story(since="2017-01-01")
    zone = {"external_id": "customer", "timezone": "America/Sao_Paulo"}
    story.define("2018-01-01", commands.upsert_customer(ORG, zone))
    story.metric("m", "count_agg", at="2018-01-01").plan({}, at="2018-01-01")
    dates = {"billing_time": "anniversary", "subscription_at": "2018-01-18T10:00:00Z"}
    story.subscribe(at="2018-01-18T10:00:00Z", **dates)
    # One event in each pass of the hour.
    story.send("2018-02-18T01:30:00Z").send("2018-02-18T02:30:00Z")
    assert story.usage("2018-02-18T02:45:00Z")["to_datetime"] == "2018-02-18T02:59:59Z"
    (record,) = story.records("2018-03-01")
    assert (record["period"]["to"], record["units"]) == ("2018-02-18T02:59:59Z", "2.0")
    (past,) = story.past("2018-03-01")
    assert past["to_datetime"] == "2018-02-18T02:59:59Z"
    assert story.usage("2018-03-01")["from_datetime"] == "2018-02-18T03:00:00Z"
