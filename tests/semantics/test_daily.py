"""Daily records, from definitions and events to what each day says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Applied
from app.definitions.periods import NEVER_MS
from app.definitions.versions import Versions
from app.wire.arrivals import SubscriptionKey
from app.wire.usage_records import PublishedRecord
from tables.closing.daily import daily_at
from tables.partition.partition import Partition
from tests.world.bodies import charge
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import cancel
from tests.world.story import Story


@pytest.fixture(autouse=True, params=["all", "changed"])
def looked_at(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell each story twice: each day looks at all cells, or at those that changed."""
    if request.param == "all":
        return

    def flushed(
        partition: Partition, name: SubscriptionKey, cut_ms: int
    ) -> Iterator[PublishedRecord | None]:
        yield from daily_at(partition, name, cut_ms)
        partition.take_changes()

    monkeypatch.setattr("tables.cells.cell.FEW_CELLS", 0)
    monkeypatch.setattr("tables.closing.close.daily_at", flushed)


def told(
    aggregation_type: str = "sum_agg", charge: Any = None, max_groups: int = 1_000, **metric: Any
) -> Story:
    story = Story(close_grid_s=60, daily_records=True, max_groups=max_groups, since="2023-12-01")
    story.metric("m", aggregation_type, **metric)
    return story.plan({"billable_metric_code": "m", **(charge or {})}).subscribe()


def days(story: Story, at: str, *fields: str) -> list[tuple[Any, ...]]:
    """(day, units, delta_units, further fields) of every record."""
    names = ("day", "units", "delta_units", *fields)
    return [tuple(r[name] for name in names) for r in story.messages(at, "usage-daily")]


def test_what_comes_late_shows_in_the_next_day() -> None:
    story = told()
    story.send("2024-03-04T10:00:00Z", v=2)
    story.send("2024-03-05T10:00:00Z", v=3)
    story.send("2024-03-04T11:00:00Z", v=1, appended="2024-03-06T09:00:00Z")
    assert days(story, "2024-03-10", "closed_at") == [
        ("2024-03-04", "2.0", "2.0", "2024-03-05T00:00:00.000Z"),
        ("2024-03-05", "5.0", "3.0", "2024-03-06T00:00:00.000Z"),
        ("2024-03-06", "6.0", "1.0", "2024-03-07T00:00:00.000Z"),
    ]


def test_a_day_shows_the_units_of_a_share_below_zero() -> None:
    """As current usage does; the record of the period says 0.0."""
    story = told(charge={"prorated": True}, recurring=True)
    story.send("2024-03-01T10:00:00Z", v=-50).send("2024-03-31T10:00:00Z", v=100)
    assert days(story, "2024-04-01T00:00:30")[-1] == ("2024-03-31", "50.0", "50.0")
    (current,) = story.usage("2024-03-31T12:00")["charges_usage"]
    assert current["units"] == "50.0"
    (record,) = story.records("2024-04-01T00:00:30")
    assert (record["units"], record["prorated_units"]) == ("0.0", "0.0")


def test_a_balance_shows_on_the_first_day_of_a_period_and_not_again() -> None:
    story = told(recurring=True).send("2024-03-20T10:00:00Z", v=8)
    assert days(story, "2024-05-10") == [
        ("2024-03-20", "8.0", "8.0"),
        ("2024-04-01", "8.0", "8.0"),
        ("2024-05-01", "8.0", "8.0"),
    ]


@pytest.mark.parametrize("deleted", [True, False])
def test_a_balance_shows_on_a_first_day_before_its_charge_ended(*, deleted: bool) -> None:
    """A worker may have read the end of it before it takes the cut."""
    story = told(recurring=True).send("2024-03-20T10:00:00Z", v=8)
    without = commands.update_plan(ORG, "plan", {"charges": []})
    ended = commands.delete_billable_metric(ORG, "m") if deleted else without
    partition = story.define("2024-04-04", ended).meter("2024-04-05").partition
    partition.checkpoint.cut_ms = ms("2024-03-31")
    assert partition.cuts.next_first_day((ORG, SUBSCRIPTION)) == ms("2024-04-02")


def test_whether_a_plan_carries_is_known_until_it_or_a_metric_changes() -> None:
    story = told().send("2024-03-20T10:00:00Z", v=8)
    metric = {"name": "r", "code": "r", "aggregation_type": "sum_agg", "field_name": "v"}
    partition = story.meter("2024-03-21").partition
    definitions, cuts = partition.definitions, partition.cuts
    definitions.append_time_ms = ms("2024-03-21")

    def define(command: Command) -> None:
        at_ms = definitions.append_time_ms + 1
        assert isinstance(apply(definitions, command.encode(), at_ms, definitions.offset), Applied)

    def looked() -> tuple[bool, int]:
        with patch.object(Versions, "all", autospec=True, side_effect=_all) as walking:
            first_ms = cuts.next_first_day((ORG, SUBSCRIPTION))
        return first_ms < NEVER_MS, walking.call_count

    carries, _ = looked()
    assert not carries
    carries, known = looked()
    define(commands.upsert_customer(ORG, {"external_id": "another"}))
    assert looked() == (False, known), "a customer decides nothing of it"
    define(commands.create_billable_metric(ORG, {**metric, "recurring": True}))
    charge = {"billable_metric_code": "r", "charge_model": "standard"}
    define(commands.update_plan(ORG, "plan", {"charges": [charge]}))
    carries, looks = looked()
    assert carries
    assert looks > known


_all = Versions.all


def test_an_event_dated_ahead_counts_on_its_own_day() -> None:
    story = told().send("2024-03-10T10:00:00Z", v=5, appended="2024-03-04T10:00:00Z")
    story.send("2024-03-04T11:00:00Z", v=1)
    assert story.usage("2024-03-05")["charges_usage"][0]["units"] == "6.0"
    assert days(story, "2024-03-20") == [("2024-03-04", "1.0", "1.0"), ("2024-03-10", "6.0", "5.0")]


def test_a_correction_shows_in_the_next_day() -> None:
    story = told().send("2024-03-04T10:00:00Z", v=5)
    story.append("2024-03-06T10:00:00Z", cancel("t0"))
    assert days(story, "2024-03-20", "events_count", "delta_events_count") == [
        ("2024-03-04", "5.0", "5.0", 1, 1),
        ("2024-03-06", "0.0", "-5.0", 0, -1),
    ]


def test_a_correction_after_a_planned_end_shows_in_the_last_day() -> None:
    story = Story(close_grid_s=60, daily_records=True, since="2023-12-01").metric("m", "sum_agg")
    story.plan({"billable_metric_code": "m"}).subscribe(ending_at="2024-03-06T11:00:00Z")
    story.send("2024-03-04T10:00:00Z", v=5)
    story.append("2024-03-06T15:00:00Z", cancel("t0"))
    assert days(story, "2024-03-20", "closed_at") == [
        ("2024-03-04", "5.0", "5.0", "2024-03-05T00:00:00.000Z"),
        ("2024-03-06", "0.0", "-5.0", "2024-03-07T00:00:00.000Z"),
    ]


@pytest.mark.parametrize("recurring", [True, False])
def test_a_day_shows_what_a_balance_has_though_its_period_leaves_it_out(*, recurring: bool) -> None:
    """It ended at noon and takes nothing more; what is not recurring is refused."""
    story = Story(close_grid_s=60, daily_records=True, late_policy="refuse", since="2023-12-01")
    story.metric("m", "sum_agg", recurring=recurring).plan({"billable_metric_code": "m"})
    story.subscribe(ending_at="2024-03-06T12:00:00Z")
    story.send("2024-03-04T10:00:00Z", v=5)
    story.send("2024-03-06T11:00:00Z", v=1, appended="2024-03-06T15:00:00Z")
    shown = [("2024-03-06", "6.0", "1.0")] if recurring else []
    assert days(story, "2024-03-20") == [("2024-03-04", "5.0", "5.0"), *shown]
    assert [record["units"] for record in story.records("2024-03-20")] == ["5.0"]


@pytest.mark.parametrize(
    ("timezone", "closed_at"),
    [
        ("Asia/Kathmandu", "2024-03-04T18:15:00.000Z"),
        ("America/New_York", "2024-03-05T05:00:00.000Z"),
    ],
)
def test_a_day_is_over_at_midnight_of_the_customer(timezone: str, closed_at: str) -> None:
    story = told()
    story.define(
        "2024-01-02",
        commands.upsert_customer(ORG, {"external_id": "customer", "timezone": timezone}),
    )
    story.send("2024-03-04T12:00:00Z", v=2)
    assert days(story, "2024-03-20", "closed_at") == [("2024-03-04", "2.0", "2.0", closed_at)]


def test_a_late_event_of_a_balance_shows_at_midnight_of_the_period_that_runs() -> None:
    """Its own period had another timezone; a day of that one nobody is shown any more."""
    story = told(recurring=True)
    for at, timezone in (("2024-01-02", "Asia/Tokyo"), ("2024-03-10", "UTC")):
        body = {"external_id": "customer", "timezone": timezone}
        story.define(at, commands.upsert_customer(ORG, body))
    story.send("2024-02-20T10:00:00Z", appended="2024-03-12T10:00:00Z", v=2)
    assert days(story, "2024-03-20", "closed_at") == [
        ("2024-03-12", "2.0", "2.0", "2024-03-13T00:00:00.000Z")
    ]


def test_a_balance_of_before_shows_on_the_first_day_as_the_timezone_has_it() -> None:
    """The timezone changes before that day is over, and the event is dated before all periods."""
    story = Story(close_grid_s=60, daily_records=True, since="2023-12-01")
    story.metric("m", "sum_agg", recurring=True).plan({"billable_metric_code": "m"})
    body = {"external_id": "customer", "timezone": "America/Los_Angeles"}
    story.define("2024-03-01", commands.upsert_customer(ORG, body))
    story.send("2024-03-04T00:00:00Z", v=4)
    story.subscribe("2024-03-04T01:00:02Z", subscription_at="2024-03-04T01:00:02Z")
    body = {"external_id": "customer", "timezone": "America/New_York"}
    story.define("2024-03-04T01:00:03Z", commands.upsert_customer(ORG, body))
    assert days(story, "2024-03-20", "closed_at") == [
        ("2024-03-03", "4.0", "4.0", "2024-03-04T05:00:00.000Z")
    ]


@pytest.mark.parametrize("cancelled", [False, True])
def test_what_a_repeated_day_cannot_tell_shows_in_the_next_day(*, cancelled: bool) -> None:
    """The clock goes back behind midnight: 4 March is over again eight hours later."""
    story = told().send("2024-03-04T10:00:00Z", v=2)
    body = {"external_id": "customer", "timezone": "America/Los_Angeles"}
    story.define("2024-03-05T01:00:00Z", commands.upsert_customer(ORG, body))
    if cancelled:
        story.append("2024-03-05T02:00:00Z", cancel("t0"))
    else:
        story.send("2024-03-05T02:00:00Z", v=3)
    assert days(story, "2024-03-20", "closed_at") == [
        ("2024-03-04", "2.0", "2.0", "2024-03-05T00:00:00.000Z"),
        (
            "2024-03-05",
            *(("0.0", "-2.0") if cancelled else ("5.0", "3.0")),
            "2024-03-06T08:00:00.000Z",
        ),
    ]


def test_days_of_a_clock_that_changes_have_23_and_25_hours() -> None:
    story = told()
    body = {"external_id": "customer", "timezone": "Europe/Paris"}
    story.define("2024-01-02", commands.upsert_customer(ORG, body))
    for at in ("2024-03-30T22:59:00Z", "2024-03-31T21:59:00Z", "2024-03-31T22:00:00Z"):
        story.send(at, v=1)
    assert days(story, "2024-04-20", "closed_at") == [
        ("2024-03-30", "1.0", "1.0", "2024-03-30T23:00:00.000Z"),
        ("2024-03-31", "2.0", "1.0", "2024-03-31T22:00:00.000Z"),
        ("2024-04-01", "1.0", "1.0", "2024-04-01T22:00:00.000Z"),
    ]


def test_both_periods_of_a_day_have_a_record_of_it() -> None:
    story = told().send("2024-03-04T10:00:00Z", v=2)
    story.plan({"billable_metric_code": "m"}, code="dear", amount_cents=100_000)
    body = {"external_customer_id": "customer", "plan_code": "dear", "external_id": SUBSCRIPTION}
    story.define("2024-03-04T12:00:00Z", commands.create_subscription(ORG, body))
    story.send("2024-03-04T13:00:00Z", v=3)
    assert sorted(days(story, "2024-03-20", "plan_code")) == [
        ("2024-03-04", "2.0", "2.0", "plan"),
        ("2024-03-04", "3.0", "3.0", "dear"),
    ]


def test_a_skipped_period_keeps_its_days() -> None:
    story = told().send("2024-03-04T10:00:00Z", v=2)
    story.define(
        "2024-03-06T12:00:00Z",
        commands.terminate_subscription(ORG, SUBSCRIPTION, on_termination_invoice="skip"),
    )
    assert story.records("2024-06-01") == []
    assert days(story, "2024-06-01") == [("2024-03-04", "2.0", "2.0")]


def test_figures_hold_to_the_end_of_the_period() -> None:
    story = told("weighted_sum_agg", recurring=True, weighted_interval="seconds")
    story.send("2024-03-01T00:00:00Z", v=31)
    story.send("2024-03-31T00:00:00Z", v=31, appended="2024-03-02T00:00:00Z")
    assert days(story, "2024-04-03", "total_aggregated_units") == [
        ("2024-03-01", "31.0", "31.0", "31.0"),
        ("2024-03-31", "32.0", "1.0", "62.0"),
        ("2024-04-01", "62.0", "62.0", "62.0"),
    ]


def test_a_charge_that_is_gone_takes_its_units_back() -> None:
    filters = [{"values": {"region": ["eu"]}}]
    story = told(charge={"filters": filters}, filters=[{"key": "region", "values": ["eu"]}])
    story.send("2024-03-04T10:00:00Z", v=2, region="eu")
    body = {"code": "plan", "charges": []}
    story.define("2024-03-05T10:00:00Z", commands.update_plan(ORG, "plan", body))
    assert days(story, "2024-03-20", "events_count", "filters") == [
        ("2024-03-04", "2.0", "2.0", 1, {"region": ["eu"]}),
        ("2024-03-05", "0.0", "-2.0", 0, {"region": ["eu"]}),
    ]


def test_what_history_changes_shows_in_the_next_day() -> None:
    """March is grouped then, with room for one group: that of its event, and none of April's."""
    story = told(recurring=True, max_groups=1).send("2024-03-20T10:00:00Z", v=1)
    (record,) = story.messages("2024-03-25", "usage-daily")
    grouped = charge(properties={"pricing_group_keys": ["g"]}, id=record["lago_charge_id"])
    update = commands.update_plan(ORG, "plan", {"charges": [grouped]})
    story.send("2024-04-01T10:00:00Z", v=2, g="x").define("2024-04-02T09:00:00Z", update)
    roomy = SettingsRecord(close_grid_s=60, daily_records=True, max_groups=3)
    story.define("2024-04-02T12:00:00Z", commands.set_settings(roomy))
    metric_ids = (record["billable_metric"]["lago_id"],)
    history = commands.apply_history(ORG, metric_ids=metric_ids, from_ms=0, to_ms=ms("2024-04-01"))
    story.define("2024-04-04T12:00:00Z", history)
    assert sorted(days(story, "2024-04-20", "grouped_by")[-4:], key=str) == [
        ("2024-04-02", "0.0", "-3.0", None),
        ("2024-04-02", "1.0", "1.0", {"g": None}),
        ("2024-04-02", "2.0", "2.0", {"g": "x"}),
        ("2024-04-04", "0.0", "-2.0", {"g": "x"}),
    ]


def test_what_a_period_said_is_dropped_once_no_day_of_it_is_shown() -> None:
    """Of a balance in two groups."""
    story = told(recurring=True, charge=charge(properties={"pricing_group_keys": ["g"]}))
    for month in range(1, 7):
        for g in ("x", "y"):
            story.send(f"2024-0{month}-20T10:00:00Z", v=1, g=g)
    records = story.messages("2024-06-25", "usage-daily")
    assert len(records) == 2 * 6 + 2 * 5
    subscription_id, table = (
        records[0]["lago_subscription_id"],
        story.meter("2024-06-25").partition.daily,
    )
    assert table.told_before((subscription_id, ms("2024-07-01"))) == [
        ms("2024-05-01"),
        ms("2024-06-01"),
    ]
    # Cells of two months.
    assert table.sum.records == 2 * 2


def test_records_begin_and_end_with_the_setting() -> None:
    story = Story(close_grid_s=60, since="2023-12-01").metric("m", "sum_agg")
    story.plan({"billable_metric_code": "m"}).subscribe()
    story.send("2024-03-04T10:00:00Z", v=2)
    story.send("2024-03-20T10:00:00Z", v=7, appended="2024-03-05T10:00:00Z")
    on, off = (SettingsRecord(close_grid_s=60, daily_records=each) for each in (True, False))
    story.define("2024-03-10T12:00:00Z", commands.set_settings(on))
    story.define("2024-03-25T12:00:00Z", commands.set_settings(off))
    story.send("2024-03-26T10:00:00Z", v=1)
    assert days(story, "2024-05-01") == [("2024-03-10", "2.0", "2.0"), ("2024-03-20", "9.0", "7.0")]


def test_rows_by_presentation_keys_are_those_of_the_day() -> None:
    presented = {"presentation_group_keys": [{"value": "cloud"}]}
    story = told(charge={"properties": presented})
    story.send("2024-03-04T10:00:00Z", v=2, cloud="aws")
    story.send("2024-03-06T10:00:00Z", v=3, cloud="gcp", appended="2024-03-04T11:00:00Z")
    aws = {"presentation_by": {"cloud": "aws"}, "units": "2.0"}
    gcp = {"presentation_by": {"cloud": "gcp"}, "units": "3.0"}
    assert days(story, "2024-03-20", "presentation_breakdowns") == [
        ("2024-03-04", "2.0", "2.0", [aws]),
        ("2024-03-06", "5.0", "3.0", [aws, gcp]),
    ]


def test_fields_stand_in_their_order() -> None:
    story = told(charge={"prorated": True}, recurring=True).send("2024-03-04T10:00:00Z", v=31)
    (record,) = story.messages("2024-03-20", "usage-daily")
    assert list(record) == [
        "schema_version",
        "id",
        "cell_id",
        "type",
        "day",
        "organization_id",
        "external_customer_id",
        "external_subscription_id",
        "lago_subscription_id",
        "plan_code",
        "lago_charge_id",
        "lago_charge_filter_id",
        "charge",
        "amount_currency",
        "billable_metric",
        "filters",
        "grouped_by",
        "period",
        "units",
        "prorated_units",
        "total_aggregated_units",
        "events_count",
        "delta_units",
        "delta_events_count",
        "presentation_breakdowns",
        "closed_at",
        "definitions_offset",
    ]
    assert (record["type"], record["prorated_units"]) == ("usage.daily", "28.0")
