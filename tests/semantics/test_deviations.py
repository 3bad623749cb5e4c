"""Where the product stays with a rule of its own instead of Lago's (docs/rules/deviations.md)."""

from __future__ import annotations

from typing import Any

import pytest

from app.definitions import commands
from app.definitions.command import Command
from tests.world.bodies import charge
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.story import Story

LEVEL: dict[str, Any] = {"aggregation_type": "weighted_sum_agg", "recurring": True}
FEBRUARY = "2024-02-02"


def levels() -> Story:
    return Story().metric("m", **LEVEL, at="2023-11-01").plan({}, at="2023-11-01")


def test_an_end_means_its_instant() -> None:
    told = Story().metric("m", "count_agg").plan({})
    told.subscribe(ending_at="2024-01-15T18:00:00Z")
    told.send("2024-01-15T17:59:59.999Z").send("2024-01-15T18:00:00Z")
    (record,) = told.records(FEBRUARY)
    assert (record["period"]["to"], record["units"]) == ("2024-01-15T18:00:00Z", "1.0")


def test_a_start_means_its_instant() -> None:
    told = Story().metric("m", "count_agg").plan({})
    told.subscribe(subscription_at="2024-01-15T18:00:00Z")
    told.send("2024-01-15T17:59:59.999Z").send("2024-01-15T18:00:00Z")
    (record,) = told.records(FEBRUARY)
    assert (record["period"]["from"], record["units"]) == ("2024-01-15T18:00:00Z", "1.0")


@pytest.mark.parametrize(
    "deletion", [commands.delete_plan(ORG, "plan"), commands.delete_customer(ORG, "customer")]
)
def test_a_deletion_leaves_grace_as_it_is(deletion: Command) -> None:
    told = Story(grace_s=3 * 86_400).metric("m", "count_agg").plan({}).subscribe()
    told.send("2024-01-15").define("2024-02-02", deletion)
    told.send("2024-01-16", appended="2024-02-03")
    january = told.records("2024-02-10")[0]
    assert (january["period"]["from"], january["units"]) == ("2024-01-01T00:00:00Z", "2.0")
    assert (january["closed_at"], january["revision"]) == ("2024-02-04T00:00:00.000Z", 0)


def test_a_level_from_before_the_first_subscription_is_carried() -> None:
    told = levels().subscribe().send("2023-12-05", v=4)
    (record,) = told.records(FEBRUARY)
    assert (record["units"], record["total_aggregated_units"]) == ("4.0", "4.0")


def test_a_level_goes_on_in_a_charge_that_takes_the_place_of_another() -> None:
    told = levels().subscribe().send("2024-01-01", v=4)
    told.define("2024-02-10", commands.update_plan(ORG, "plan", {"charges": [charge()]}))
    first, second = told.records("2024-03-02")
    assert first["lago_charge_id"] != second["lago_charge_id"]
    assert (second["units"], second["total_aggregated_units"]) == ("4.0", "4.0")


def test_a_level_below_zero_is_shown_as_0() -> None:
    told = levels().subscribe().send("2024-01-01", v=4).send("2024-01-30", v=-9)
    (record,) = told.records(FEBRUARY)
    assert record["total_aggregated_units"] == "0.0"


def test_a_running_average_ends_where_the_subscription_ends() -> None:
    told = levels().subscribe(ending_at="2024-01-11T00:00:00Z").send("2024-01-01", v=31)
    (usage,) = told.usage("2024-01-05")["charges_usage"]
    assert usage["units"] == "10.0"


def test_a_carried_level_comes_from_all_events() -> None:
    told = levels().subscribe().send("2024-01-01", v=4)
    told.send("2024-01-20", appended="2024-02-05", v=2)
    (usage,) = told.usage("2024-02-10")["charges_usage"]
    assert usage["total_aggregated_units"] == "6.0"


def test_past_usage_shows_charges_that_are_paid_in_advance() -> None:
    told = Story().metric("m", "count_agg").plan({"pay_in_advance": True}).subscribe()
    (past,) = told.send("2024-01-10").past(FEBRUARY)
    assert [each["units"] for each in past["charges_usage"]] == ["1.0"]


@pytest.mark.parametrize("operation_type", ["delete", 5])
def test_an_unknown_operation_counts_nothing(operation_type: object) -> None:
    told = Story().metric("m", "unique_count_agg").plan({}).subscribe()
    told.send("2024-01-10", v="a", operation_type=operation_type).send("2024-01-10")
    (usage,) = told.usage("2024-01-20")["charges_usage"]
    assert usage["units"] == "0.0"
    ignored = told.meter("2024-01-20").partition.ignored
    assert ignored == {"unknown_operation_type": 1, "missing_property": 1}


def test_of_one_id_the_first_body_counts() -> None:
    told = Story().metric("m", "sum_agg").plan({}).subscribe()
    for number, v in enumerate(("1", "2")):
        body = {
            "organization_id": ORG,
            "external_subscription_id": SUBSCRIPTION,
            "transaction_id": "t",
        }
        timestamp = f"{1_704_800_000 + number}"
        more = {"code": "m", "timestamp": timestamp, "properties": {"v": v}}
        told.append("2024-01-10", {**body, **more})
    (usage,) = told.usage("2024-01-20")["charges_usage"]
    assert (usage["units"], usage["events_count"]) == ("1.0", 1)
