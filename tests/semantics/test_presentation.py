"""Usage of a cell by the keys that its charge is presented by: records and current usage."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.http.query import Query
from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.numbers import plain
from tables.reading.usage import current_usage
from tests.world.bodies import Json
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION, presented_by
from tests.world.events import amend, cancel, raw
from tests.world.story import Story


def rows(*parts: tuple[str | None, str], key: str = "cloud") -> list[Json]:
    return [{"presentation_by": {key: text}, "units": units} for text, units in parts]


def story(aggregation_type: str, *keys: str, recurring: bool = False, **charge: Any) -> Story:
    properties = {**presented_by(*(keys or ("cloud",))), **charge.pop("properties", {})}
    charges = {"properties": {"amount": "1", **properties}, **charge}
    return Story().metric("m", aggregation_type, recurring=recurring).plan(charges).subscribe()


def test_a_count_by_cloud() -> None:
    told = story("count_agg")
    for cloud in ("aws", "gcp", "aws", "aws"):
        told.send("2024-01-10", cloud=cloud)
    shown = rows(("aws", "3.0"), ("gcp", "1.0"))
    (record,) = told.records("2024-02-02")
    assert (record["units"], record["presentation_breakdowns"]) == ("4.0", shown)
    (usage,) = told.usage("2024-01-20")["charges_usage"]
    assert (usage["units"], usage["presentation_breakdowns"]) == ("4.0", shown)


def test_the_latest_value_has_one_row_which_may_be_negative() -> None:
    told = story("latest_agg").send("2024-01-10", cloud="aws", v="14")
    told.send("2024-01-11", cloud="gcp", v="-5")
    (record,) = told.records("2024-02-02")
    assert record["units"] == "0.0"
    assert record["presentation_breakdowns"] == rows(("gcp", "-5.0"))


def test_a_weighted_sum_carries_the_level_of_each_text() -> None:
    told = story("weighted_sum_agg", recurring=True)
    told.send("2024-01-10", v="10")
    told.send("2024-02-01", v="2", cloud="eu").send("2024-02-01T12:00", v="1", cloud="eu")
    last = told.records("2024-03-02")[-1]
    null, eu = last["presentation_breakdowns"]
    assert null == {"presentation_by": {"cloud": None}, "units": "10.0"}
    assert eu["units"].startswith("2.98275862")
    (same,) = told.usage("2024-02-20")["charges_usage"]
    assert same["presentation_breakdowns"] == [null, eu]


@pytest.mark.parametrize(
    ("charge", "january", "february"),
    [
        pytest.param({}, [("aws", "5.25")], [("aws", "5.25"), ("gcp", "-1.0")], id="balance"),
        pytest.param({"prorated": True}, [("aws", "5.25")], [("gcp", "-1.0")], id="prorated"),
    ],
)
def test_a_balance_goes_on_and_a_prorated_one_shows_its_period_alone(
    charge: Json, january: list[tuple[str, str]], february: list[tuple[str, str]]
) -> None:
    told = story("sum_agg", recurring=True, **charge).send("2024-01-10", v="5.25", cloud="aws")
    told.send("2024-02-10", v="-1", cloud="gcp")
    first, second = told.records("2024-03-02")
    assert first["presentation_breakdowns"] == rows(*january)
    assert second["presentation_breakdowns"] == rows(*february)


def test_rows_are_neither_rounded_nor_clamped_and_null_comes_first() -> None:
    told = (
        Story()
        .metric("m", "sum_agg", rounding_function="round")
        .plan({"properties": {"amount": "1", **presented_by("cloud")}})
    )
    told.subscribe()
    told.send("2024-01-10", v="-1.25", cloud="b").send("2024-01-10", v="2.6", cloud="a")
    told.send("2024-01-10", v="0", cloud=" ").send("2024-01-11", v="0", cloud={"x": 1})
    (record,) = told.records("2024-02-02")
    assert record["units"] == "1.0"
    shown = rows((None, "0.0"), ("a", "2.6"), ("b", "-1.25"))
    assert record["presentation_breakdowns"] == shown


def test_a_key_that_groups_is_left_out() -> None:
    told = story("count_agg", "cloud", "team", properties={"pricing_group_keys": ["team"]})
    told.send("2024-01-10", team="t", cloud="a").send("2024-01-10", cloud="a")
    found = {
        record["grouped_by"]["team"]: record["presentation_breakdowns"]
        for record in told.records("2024-02-02")
    }
    assert found == {None: rows(("a", "1.0")), "t": rows(("a", "1.0"))}
    (usage,) = told.usage("2024-01-20")["charges_usage"]
    assert usage["presentation_breakdowns"] == []
    assert [group["presentation_breakdowns"] for group in usage["grouped_usage"]] == [
        rows(("a", "1.0")),
        rows(("a", "1.0")),
    ]


def test_rows_stand_on_the_entry_of_each_filter() -> None:
    eu = {"values": {"region": ["eu"]}, "properties": {"amount": "1", **presented_by("x")}}
    told = Story().metric("m", "count_agg", filters=[{"key": "region", "values": ["eu"]}])
    told.plan({"properties": {"amount": "1", **presented_by("cloud")}, "filters": [eu]}).subscribe()
    told.send("2024-01-10", region="eu", cloud="a").send("2024-01-10", cloud="b")
    (usage,) = told.usage("2024-01-20")["charges_usage"]
    of_filter, of_rest = usage["filters"]
    assert of_filter["presentation_breakdowns"] == rows(("a", "1.0"))
    assert of_rest["presentation_breakdowns"] == rows(("b", "1.0"))
    assert usage["presentation_breakdowns"] == rows(("b", "1.0"))


def test_a_correction_that_only_moves_a_row_revises_the_record() -> None:
    told = story("count_agg").send("2024-01-10", cloud="aws")
    moved = raw("m", "t0", ms("2024-01-10"), cloud="gcp")
    told.append("2024-02-03T10:15", amend(moved))
    first, second = told.records("2024-02-04")
    assert first["presentation_breakdowns"] == rows(("aws", "1.0"))
    assert (second["revision"], second["delta_units"]) == (1, "0.0")
    assert second["revision_reason"] == "correction"
    assert second["presentation_breakdowns"] == rows(("gcp", "1.0"))
    assert first["digest"] == second["digest"]


def test_without_keys_there_are_no_rows() -> None:
    told = Story().metric("m", "count_agg").plan({}).subscribe().send("2024-01-10", cloud="a")
    (record,) = told.records("2024-02-02")
    assert record["presentation_breakdowns"] is None
    (usage,) = told.usage("2024-01-20")["charges_usage"]
    assert usage["presentation_breakdowns"] == []


def test_keys_that_come_in_the_middle_of_a_period_hold_for_all_of_it() -> None:
    told = Story().metric("m", "count_agg").plan({"code": "m"}).subscribe()
    told.send("2024-01-10", cloud="a")
    properties = {"amount": "1", **presented_by("cloud")}
    told.define("2024-01-15", commands.update_charge(ORG, "plan", "m", {"properties": properties}))
    (record,) = told.records("2024-02-02")
    assert record["presentation_breakdowns"] == rows(("a", "1.0"))


@pytest.mark.parametrize(("most", "shown"), [(1, False), (2, True)])
def test_too_many_rows_are_none_and_the_events_count(most: int, shown: bool) -> None:
    told = Story(max_groups=most).metric("m", "count_agg")
    told.plan({"properties": {"amount": "1", **presented_by("cloud")}}).subscribe()
    told.send("2024-01-10", cloud="a").send("2024-01-10", cloud="b")
    (record,) = told.records("2024-02-02")
    assert record["units"] == "2.0"
    expected = rows(("a", "1.0"), ("b", "1.0")) if shown else None
    assert record["presentation_breakdowns"] == expected
    (usage,) = told.usage("2024-01-20")["charges_usage"]
    assert usage["presentation_breakdowns"] == expected


def test_rows_that_become_too_many_by_a_late_event_stay_in_earlier_revisions() -> None:
    told = Story(max_groups=1).metric("m", "count_agg")
    told.plan({"properties": {"amount": "1", **presented_by("cloud")}}).subscribe()
    told.send("2024-01-10", cloud="a")
    told.send("2024-01-11", appended="2024-02-03T10:15", cloud="b")
    first, second = told.records("2024-02-04")
    assert first["presentation_breakdowns"] == rows(("a", "1.0"))
    assert (second["units"], second["presentation_breakdowns"]) == ("2.0", None)


@pytest.mark.parametrize("cancelled", ["2024-02-03T10:10", "2024-02-03T10:20"])
def test_a_late_event_takes_a_place_whenever_it_was_cancelled(cancelled: str) -> None:
    told = Story(max_groups=1).metric("m", "count_agg")
    told.plan({"properties": {"amount": "1", **presented_by("cloud")}}).subscribe()
    told.send("2024-01-10", cloud="a")
    late = raw("m", "late", ms("2024-01-11"), cloud="b")
    both = {"2024-02-03T10:15": late, cancelled: cancel("late")}
    for at in sorted(both):
        told.append(at, both[at])
    recorded, revised = told.records("2024-02-04")
    assert recorded["presentation_breakdowns"] == rows(("a", "1.0"))
    assert (revised["units"], revised["presentation_breakdowns"]) == ("1.0", None)
    assert revised["closed_at"] == "2024-02-03T11:00:00.000Z"


def test_under_fold_version_1_nothing_is_presented() -> None:
    told = Story(fold_version=1).metric("m", "count_agg")
    told.plan({"properties": {"amount": "1", **presented_by("cloud")}}).subscribe()
    (record,) = told.send("2024-01-10", cloud="a").records("2024-02-02")
    assert record["schema_version"] == 1
    assert "presentation_breakdowns" not in record
    # What it published stays without rows when later periods have them.
    told.define("2024-02-03", commands.set_settings(SettingsRecord(fold_version=2)))
    ((usage,),) = (period["charges_usage"] for period in told.past("2024-02-20"))
    assert usage["presentation_breakdowns"] == []


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        (None, [(("a", "x"), "1.0"), (("a", "y"), "2.0"), (("b", "x"), "3.0")]),
        ({"cloud"}, [(("a",), "3.0"), (("b",), "3.0")]),
        ({"region", "other"}, [(("x",), "4.0"), (("y",), "2.0")]),
        ({"other"}, []),
        (set(), []),
    ],
)
def test_usage_by_some_of_the_keys(wanted: set[str] | None, shown: list[Any]) -> None:
    told = story("sum_agg", "cloud", "region")
    for number, (cloud, region) in enumerate([("a", "x"), ("a", "y"), ("b", "x")], 1):
        told.send("2024-01-10", v=number, cloud=cloud, region=region)
    meter, at_ms = told.meter("2024-01-20"), ms("2024-01-20")
    usage = current_usage(meter.partition, (ORG, SUBSCRIPTION), at_ms, wanted)
    assert usage is not None
    (row,) = usage.rows
    assert row.presented is not None
    found = [(tuple(t for _, t in p.presentation_by), plain(p.units)) for p in row.presented]
    assert found == shown


@pytest.mark.parametrize(
    ("query", "listed"),
    [
        ("", None),
        ("filter_by_presentation=[]", set()),
        ('filter_by_presentation=["a","b"]', {"a", "b"}),
        ("filter_by_presentation=a", {"a"}),
        ("filter_by_presentation[]=a&filter_by_presentation[]=b", {"a", "b"}),
    ],
)
def test_keys_are_given_as_json_or_repeated(query: str, listed: set[str] | None) -> None:
    assert Query(query).listed("filter_by_presentation") == listed


@pytest.mark.parametrize("wanted", [None, {"team"}, {"cloud", "team"}, {"cloud"}, set()])
def test_a_key_that_groups_is_kept_as_a_row_without_it(wanted: set[str] | None) -> None:
    told = story("count_agg", "team", properties={"pricing_group_keys": ["team"]})
    told.send("2024-01-10", team="t").send("2024-01-11", team="t")
    meter, at_ms = told.meter("2024-01-20"), ms("2024-01-20")
    usage = current_usage(meter.partition, (ORG, SUBSCRIPTION), at_ms, wanted)
    assert usage is not None
    (row,) = usage.rows
    assert row.presented is not None
    kept = wanted is None or "team" in wanted
    found = [(p.presentation_by, plain(p.units)) for p in row.presented]
    assert found == ([((), "2.0")] if kept else [])
    # Of cells that are read again, or merged, it is the same.
    by = None if wanted is None else frozenset(wanted)
    for asked, read in (({"group": {"other": frozenset({""})}}, True), ({"full": True}, False)):
        regrouped = told.regrouped("2024-01-20", read, presented_by=by, **asked)
        (charge,) = regrouped["charges_usage"]
        shown = [each["presentation_breakdowns"] for each in charge["grouped_usage"]]
        assert shown == [[{"presentation_by": {}, "units": "2.0"}] if kept else []]


@pytest.mark.parametrize(
    ("wanted", "shown"),
    [(None, ["1.0", "1.0"]), ({"cloud"}, ["2.0"]), ({"region"}, ["1.0", "1.0"])],
)
def test_a_unique_value_has_a_text_once_for_each_text_of_the_other_key(
    wanted: set[str] | None, shown: list[str]
) -> None:
    told = story("unique_count_agg", "cloud", "region")
    for region in ("x", "y"):
        told.send("2024-01-10", v="ann", cloud="a", region=region)
    meter, at_ms = told.meter("2024-01-20"), ms("2024-01-20")
    usage = current_usage(meter.partition, (ORG, SUBSCRIPTION), at_ms, wanted)
    assert usage is not None
    (row,) = usage.rows
    assert (plain(row.units), [plain(p.units) for p in row.presented or ()]) == ("1.0", shown)


def test_past_usage_shows_the_rows_of_the_newest_record() -> None:
    told = story("count_agg").send("2024-01-10", cloud="aws")
    told.send("2024-01-11", cloud="gcp", appended="2024-02-03T10:10:00Z")
    for at, shown in (
        ("2024-02-01T00:00:00Z", rows(("aws", "1.0"))),
        ("2024-02-03T10:30:00Z", rows(("aws", "1.0"))),
        ("2024-02-03T11:30:00Z", rows(("aws", "1.0"), ("gcp", "1.0"))),
    ):
        ((usage,),) = (period["charges_usage"] for period in told.past(at))
        assert usage["presentation_breakdowns"] == shown


def test_rows_of_a_period_are_not_told_when_its_cells_hold_what_came_too_late() -> None:
    """A balance shows it from the first open period on; the record of the one before stays."""
    told = story("sum_agg", recurring=True).send("2024-01-10", cloud="aws", v=5)
    told.send("2024-01-11", cloud="gcp", v=2, appended="2024-06-10T10:10:00Z")
    newest, *_, first = told.past("2024-08-10")
    (usage,) = newest["charges_usage"]
    assert usage["presentation_breakdowns"] == rows(("aws", "5.0"), ("gcp", "2.0"))
    (usage,) = first["charges_usage"]
    assert (usage["units"], usage["presentation_breakdowns"]) == ("5.0", None)


def test_full_usage_shows_the_rows_of_all_periods() -> None:
    told = story("sum_agg").send("2024-01-10", cloud="aws", v=5)
    told.send("2024-02-10", cloud="gcp", v=7).send("2024-03-10", cloud="aws", v=3)
    (usage,) = told.regrouped("2024-03-20", events_read=False, full=True)["charges_usage"]
    assert usage["presentation_breakdowns"] == rows(("aws", "8.0"), ("gcp", "7.0"))


def test_who_is_in_two_periods_is_in_one_row_of_full_usage() -> None:
    told = story("unique_count_agg").send("2024-01-10", cloud="aws", v="ann")
    told.send("2024-02-10", cloud="aws", v="ann").send("2024-02-10", cloud="gcp", v="ann")
    (usage,) = told.regrouped("2024-02-20", events_read=True, full=True)["charges_usage"]
    assert usage["presentation_breakdowns"] == rows(("aws", "1.0"), ("gcp", "1.0"))


def test_what_groups_no_more_is_in_the_rows() -> None:
    told = story("sum_agg", "cloud", "zone", properties={"pricing_group_keys": ["cloud"]})
    told.send("2024-01-10", cloud="aws", zone="a", v=1).send("2024-01-10", cloud="gcp", v=2)
    told.send("2024-01-11", cloud="gcp", zone="a", v=4)
    (usage,) = told.regrouped("2024-01-20", events_read=False, skip_grouping=True)["charges_usage"]
    assert usage["presentation_breakdowns"] == [
        {"presentation_by": {"cloud": "aws", "zone": "a"}, "units": "1.0"},
        {"presentation_by": {"cloud": "gcp", "zone": None}, "units": "2.0"},
        {"presentation_by": {"cloud": "gcp", "zone": "a"}, "units": "4.0"},
    ]
    kept = told.regrouped("2024-01-20", skip_grouping=True, presented_by=frozenset(["zone"]))
    assert kept["charges_usage"][0]["presentation_breakdowns"] == rows(
        (None, "2.0"), ("a", "5.0"), key="zone"
    )


def test_rows_of_a_filter_stay_its_own_where_its_groups_are_merged() -> None:
    by_team = {"amount": "1", **presented_by("cloud"), "pricing_group_keys": ["team"]}
    eu = {"values": {"region": ["eu"]}, "properties": by_team}
    told = Story().metric("m", "count_agg", filters=[{"key": "region", "values": ["eu"]}])
    told.plan({"properties": by_team, "filters": [eu]}).subscribe()
    for team in "ab":
        told.send("2024-01-10", region="eu", cloud="aws", team=team)
    told.send("2024-01-10", cloud="gcp", team="a")
    (usage,) = told.regrouped("2024-01-20", events_read=False, skip_grouping=True)["charges_usage"]
    found = [each["presentation_breakdowns"] for each in usage["filters"]]
    assert found == [rows(("aws", "2.0")), rows(("gcp", "1.0"))]


@pytest.mark.parametrize("late", [False, True], ids=["in time", "late"])
def test_a_key_that_grouped_before_tells_rows_apart_from_the_next_period_on(*, late: bool) -> None:
    told = story("sum_agg", properties={"pricing_group_keys": ["team", "cloud"]})
    told.send("2024-01-05", v="1", team="a", cloud="aws")
    told.send("2024-02-05", v="3", team="a", cloud="aws")
    grouped = {"amount": "1", **presented_by("cloud"), "pricing_group_keys": ["team"]}
    told.define("2024-02-10", commands.update_charge(ORG, "plan", "m", {"properties": grouped}))
    appended = "2024-03-02" if late else None
    told.send("2024-02-15", appended=appended, v="4", team="a", cloud="gcp")
    january, *_, february = told.records("2024-03-10")
    assert (january["grouped_by"], january["presentation_breakdowns"]) == (
        {"team": "a", "cloud": "aws"},
        [{"presentation_by": {}, "units": "1.0"}],
    )
    assert (february["grouped_by"], february["units"]) == ({"team": "a"}, "7.0")
    assert february["presentation_breakdowns"] == rows(("aws", "3.0"), ("gcp", "4.0"))
