"""Charges paid in advance, from definitions and events to the records of single events."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.model import SettingsRecord
from app.runtime.topics.instants_topic import put_again
from app.wire.arrivals import Arrival
from app.wire.decode import decode_record
from app.wire.events import Event
from app.wire.identity import event_id
from tables.changelogged.instants import InstantTable
from tables.closing.at_cut import AtCut
from tables.closing.period_at_cut import PeriodAtCut
from tables.reading.in_advance import estimated
from tables.reading.verification import Verification
from tests.world import bodies
from tests.world.begun import begun
from tests.world.clock import ms
from tests.world.definitions import ORG, SUBSCRIPTION
from tests.world.events import amend, cancel, raw
from tests.world.story import Story


def story(
    aggregation: str = "sum_agg",
    *,
    charge: bodies.Json | None = None,
    late_window_s: int = SettingsRecord().late_window_s,
    **metric: Any,
) -> Story:
    made = Story(close_grid_s=60, late_window_s=late_window_s).metric("m", aggregation, **metric)
    return made.plan({"pay_in_advance": True, **(charge or {})}).subscribe()


def instants(told: Story, at: str) -> list[bodies.Json]:
    records = [json.loads(record.value) for record in told.meter(at).records]
    return [record for record in records if record["type"].startswith("usage.instant")]


def shown(records: list[bodies.Json], *fields: str) -> list[tuple[Any, ...]]:
    return [tuple(record[field] for field in fields) for record in records]


def test_each_event_bills_what_rises_above_the_peak() -> None:
    told = story()
    for day, value in ((10, "10"), (11, "-6"), (12, "10")):
        told.send(f"2024-01-{day}T10:00:30", v=value)
    found = instants(told, "2024-01-20")
    assert shown(found, "units", "applied_units", "units_before", "units_after") == [
        ("10.0", "10.0", "0.0", "10.0"),
        ("0.0", "0.0", "10.0", "10.0"),
        ("4.0", "4.0", "10.0", "14.0"),
    ]
    assert shown(found, "current_units", "peak_units", "closed_at")[2] == (
        "14.0",
        "14.0",
        "2024-01-12T10:01:00.000Z",
    )


def test_a_cancel_takes_its_event_out() -> None:
    told = story()
    for day, value in ((10, "10"), (11, "-6"), (12, "10")):
        told.send(f"2024-01-{day}T10:00:30", v=value)
    told.append("2024-01-13T10:00:00", cancel("t0"))
    told.send("2024-01-14", v="1")
    found = instants(told, "2024-01-20")
    assert shown(found, "type", "revision", "units", "delta_units", "events_count")[3:] == [
        ("usage.instant_revised", 1, "0.0", "-10.0", 0),
        ("usage.instant", 0, "1.0", None, 1),
    ]
    assert shown(found, "current_units", "peak_units")[3] == ("4.0", "4.0")


def test_a_correction_is_decided_at_its_own_grid_cut_when_the_grid_changes() -> None:
    told = story()
    told.send("2024-01-10T10:00:30", v="10")
    told.send("2024-01-11T10:00:10", v="1")
    coarser = SettingsRecord(close_grid_s=600)
    told.define("2024-01-11T10:00:20", commands.set_settings(coarser))
    told.append("2024-01-11T10:00:30", cancel("t0"))
    found = instants(told, "2024-01-20")
    assert shown(found, "revision", "closed_at")[1:] == [
        (0, "2024-01-11T10:01:00.000Z"),
        (1, "2024-01-11T10:10:00.000Z"),
    ]


def test_a_record_tells_what_was_billed_in_advance_and_a_cancel_revises_it() -> None:
    told = story()
    for day, value in ((10, "10"), (11, "-6"), (12, "10")):
        told.send(f"2024-01-{day}T10:00:30", v=value)
    told.append("2024-02-03T10:00:00", cancel("t0"))
    found = told.records("2024-02-10")
    records = [record for record in found if record["type"].startswith("usage.re")]
    assert shown(records, "units", "billing", "billed_in_advance", "revision_reason") == [
        ("14.0", "none", "14.0", None),
        ("4.0", "none", "4.0", "correction"),
    ]


def seats() -> Story:
    told = story("unique_count_agg", charge={"prorated": True}, recurring=True)
    for number, day in enumerate(range(11, 16)):
        told.send(f"2024-06-{day}T10:00:00", v=f"seat {number}")
    return told


def test_a_renewal_bills_in_full_what_has_a_share_below_zero() -> None:
    told = story(charge={"prorated": True}, recurring=True)
    told.send("2024-01-01T10:00:00", v="-50").send("2024-01-31T10:00:00", v="66")
    at = "2024-02-01T01:00:00"
    fields = ("units", "prorated_units", "total_aggregated_units", "billing")
    closed = [record for record in told.records(at) if record["type"] == "usage.recorded"]
    assert shown(closed, *fields) == [("16.0", None, "16.0", "renewal")]
    ((past,),) = [period["charges_usage"] for period in told.past(at)]
    assert past["units"] == "16.0"


def test_seats_are_billed_for_the_days_left_and_renewed_in_full() -> None:
    told = seats()
    for number in (5, 6):
        told.send("2024-07-12T01:10:00", v=f"seat {number}")
    found = instants(told, "2024-08-10")
    assert [record["prorated_units"] for record in found] == [
        *("0.66667", "0.63334", "0.6", "0.56667", "0.53334"),
        *("0.64517", "0.64517"),
    ]
    assert shown(found, "units_before", "units_after")[5:] == [("5.0", "6.0"), ("6.0", "7.0")]
    records = [r for r in told.records("2024-08-10") if r["type"] == "usage.recorded"]
    assert shown(records, "units", "prorated_units", "billing", "billed_in_advance") == [
        ("5.0", None, "renewal", "3.00002"),
        ("7.0", None, "renewal", "1.29034"),
    ]


@pytest.mark.parametrize("ended", [True, False])
def test_an_event_is_taken_out_of_a_period_that_is_no_more(*, ended: bool) -> None:
    """Of a subscription that ended before, or where days begin at another time by now."""
    told = story(recurring=True)
    told.send("2024-05-10T10:00:00", appended="2024-01-10T10:00:30", v="2")
    elsewhere = {"external_id": "customer", "timezone": "Europe/Paris"}
    told.define(
        "2024-01-15",
        commands.terminate_subscription(ORG, SUBSCRIPTION)
        if ended
        else commands.upsert_customer(ORG, elsewhere),
    )
    told.append("2024-01-20T10:00:30", cancel("t0"))
    first, gone = instants(told, "2024-01-21")
    assert shown([first, gone], "revision", "units") == [(0, "2.0"), (1, "0.0")]
    assert gone["instant_id"] == first["instant_id"]
    assert gone["period"] == first["period"]
    again, meter = InstantTable(), told.meter("2024-01-21")
    for record in meter.records:
        put_again(again, meter.definitions, record.value)
    assert again.chain(gone["cell_id"]) == meter.partition.instants.chain(gone["cell_id"])


@pytest.mark.parametrize("late_window_s", [3_600, 400 * 86_400], ids=["final", "not final"])
@pytest.mark.parametrize(("ended", "recurring"), [(True, False), (False, False), (False, True)])
def test_a_period_cut_short_tells_that_what_it_billed_beyond_its_end_is_taken_out(
    *, ended: bool, recurring: bool, late_window_s: int
) -> None:
    """A cancel of it revises the period in which it was billed, though it counts there no more."""
    told = story(recurring=recurring, late_window_s=late_window_s)
    told.send("2024-01-10T10:00:30", v="1")
    told.send("2024-01-31T20:00:00", appended="2024-01-10T10:00:40", v="2")
    elsewhere = {"external_id": "customer", "timezone": "Asia/Tokyo"}
    told.define(
        "2024-01-15",
        commands.terminate_subscription(ORG, SUBSCRIPTION)
        if ended
        else commands.upsert_customer(ORG, elsewhere),
    )
    told.append("2024-02-20T10:00:30", cancel("t1"))
    meter = told.meter("2024-02-21")
    bodies = [json.loads(record.value) for record in meter.records]
    records = [body for body in bodies if body["type"].startswith("usage.re")]
    fields = ("units", "billed_in_advance", "revision_reason", "closed_at")
    assert shown(records, *fields)[1:] == [("1.0", "1.0", "correction", "2024-02-20T11:00:00.000Z")]
    assert shown(records, "units", "billed_in_advance")[0] == ("1.0", "3.0")
    verification = begun(Verification(meter.partition, [(ORG, SUBSCRIPTION)]))
    verification.feed(told.arrivals())
    assert not any(compared.differences for compared in filter(None, verification.compare()))
    assert not any(verification.compare_published())


def moved_beyond_its_period() -> Story:
    """Return a balance with two events, the first of which is of the next period by now."""
    told = story(recurring=True, late_window_s=3_600)
    told.send("2024-01-31T20:00:00", appended="2024-01-10T10:00:40", v="2")
    told.send("2024-01-10T10:00:30", appended="2024-01-11T10:00:30", v="1")
    elsewhere = {"external_id": "customer", "timezone": "Asia/Tokyo"}
    told.define("2024-01-15", commands.upsert_customer(ORG, elsewhere))
    return told


def test_a_balance_shows_all_once_what_it_billed_is_taken_out() -> None:
    """What came when the period was open no more is in it too, as after any correction."""
    told = moved_beyond_its_period()
    told.send("2024-01-12", appended="2024-02-05", v="7")
    told.append("2024-02-20T10:00:30", cancel("t0"))
    meter = told.meter("2024-02-22")
    bodies = [json.loads(record.value) for record in meter.records]
    records = [body for body in bodies if body["type"].startswith("usage.re")]
    assert shown(records, "units", "billed_in_advance", "revision_reason") == [
        ("1.0", "3.0", None),
        ("8.0", "8.0", "correction"),
    ]
    verification = begun(Verification(meter.partition, [(ORG, SUBSCRIPTION)]))
    verification.feed(told.arrivals())
    assert not any(verification.compare_published())


def test_a_balance_is_left_alone_when_what_it_billed_is_corrected_elsewhere() -> None:
    """The event was moved to the next period before: its cancel is no affair of the first."""
    told = moved_beyond_its_period()
    told.append("2024-02-20T10:00:30", amend(raw("m", "t0", ms("2024-02-10"), v="2"), "c1"))
    told.send("2024-01-12", appended="2024-03-05", v="7")
    told.append("2024-03-20T10:00:30", cancel("t0", "c2"))
    records = [r for r in told.records("2024-03-22") if r["type"].startswith("usage.re")]
    assert shown(records, "units", "billed_in_advance", "closed_at") == [
        ("1.0", "3.0", "2024-01-31T15:00:00.000Z"),
        ("1.0", "1.0", "2024-02-20T11:00:00.000Z"),
        ("3.0", "2.0", "2024-02-29T15:00:00.000Z"),
        ("8.0", "0.0", "2024-03-20T11:00:00.000Z"),
    ]


def test_a_cut_that_is_taken_again_says_nothing_of_what_was_billed_after_it() -> None:
    """As where a torn state is folded anew: records tell of instants beyond its cuts."""
    told = story()
    told.send("2024-01-10T10:00:30", v="1")
    told.send("2024-01-20T10:00:30", appended="2024-02-02T10:00:30", v="2")
    partition = told.meter("2024-02-02T10:01:30").partition
    ((versions, timeline),) = partition.timelines.of((ORG, SUBSCRIPTION))
    period, subscription = timeline.first, versions.at(None)
    assert period is not None
    assert subscription is not None

    def records(cut: str) -> list[bodies.Json]:
        at = AtCut(partition, (ORG, SUBSCRIPTION), subscription, period, None, ms(cut))
        return [json.loads(record.value) for record in PeriodAtCut(at).records() if record]

    assert records("2024-02-02T10:00:00") == []
    billed, _ = records("2024-02-02T11:00:00")
    assert (billed["units"], billed["billed_in_advance"]) == ("3.0", "3.0")


def test_a_chain_is_read_back_from_its_records_without_rounding() -> None:
    told = story()
    told.send("2024-01-10T10:00:30", v="1" + 30 * "0" + ".5")
    told.send("2024-01-11T10:00:30", v="0.25")
    told.append("2024-01-12T10:00:30", cancel("t1", "c1"))
    again, meter = InstantTable(), told.meter("2024-01-13")
    for record in meter.records:
        put_again(again, meter.definitions, record.value)
    kept = meter.partition.instants
    cells = {json.loads(record.value)["cell_id"] for record in meter.records}
    assert {cell: again.chain(cell) for cell in cells} == {cell: kept.chain(cell) for cell in cells}
    events = [event_id(ORG, SUBSCRIPTION, f"t{number}") for number in range(2)]
    assert list(map(again.figures, events)) == list(map(kept.figures, events))


def test_an_event_is_taken_out_of_a_charge_that_history_put_in_force() -> None:
    """The charge came after the period was due: its definitions of then do not know it."""
    told = Story(close_grid_s=60).metric("m", "sum_agg").plan().subscribe()
    told.send("2024-01-10T10:00:30", v="2")
    charges = [bodies.charge("m", pay_in_advance=True)]
    told.define("2024-02-10", commands.update_plan(ORG, "plan", {"charges": charges}))
    (metric,) = told.meter("2024-02-10").definitions.metrics(ORG)
    history = commands.apply_history(ORG, metric_ids=[metric.id], from_ms=0, to_ms=1 << 45)
    told.define("2024-02-11", history)
    told.append("2024-02-12T10:00:30", amend(raw("m", "t0", ms("2024-01-10T10:00:30"), v="5")))
    told.append("2024-02-13T10:00:30", cancel("t0", "c3"))
    came, gone = instants(told, "2024-02-14")
    assert shown([came, gone], "revision", "units") == [(0, "5.0"), (1, "0.0")]
    for same in ("instant_id", "charge", "billable_metric", "period"):
        assert gone[same] == came[same]


def test_each_group_has_a_peak_of_its_own() -> None:
    told = story(charge={"properties": {"pricing_group_keys": ["g"]}})
    sent = [("10", "x"), ("3", "y"), ("-6", "x"), ("2", "y"), ("4", "y")]
    for second, (value, group) in enumerate(sent, 1):
        told.send(f"2024-01-10T10:00:0{second}", v=value, g=group)
    assert shown(instants(told, "2024-01-20"), "units", "peak_units") == [
        ("10.0", "10.0"),
        ("3.0", "3.0"),
        ("0.0", "10.0"),
        ("2.0", "5.0"),
        ("4.0", "9.0"),
    ]


def test_an_event_is_taken_out_under_the_names_that_it_was_billed_by() -> None:
    """Also at a cut that takes another event into the same cell."""
    told = story()
    told.send("2024-01-10T10:00:30", v="10")
    told.define("2024-01-11", commands.update_billable_metric(ORG, "m", {"name": "renamed"}))
    told.send("2024-01-11T10:00:10", v="1")
    told.append("2024-01-11T10:00:20", cancel("t0"))
    found = instants(told, "2024-01-20")
    names = [(record["billable_metric"]["name"], record["revision"]) for record in found]
    assert names == [("m", 0), ("renamed", 0), ("m", 1)]


def test_an_amended_event_moves_between_cells_and_keeps_its_ids() -> None:
    told = story(charge={"properties": {"pricing_group_keys": ["g"]}})
    told.send("2024-01-10T10:00:30", v="10", g="x")
    told.append(
        "2024-01-10T11:00:00", amend(raw("m", "t0", ms("2024-01-10T10:00:30"), v="7", g="y"))
    )
    told.append("2024-01-10T12:00:00", amend(raw("m", "t0", ms("2024-01-10"), v="5", g="x"), "c3"))
    found = instants(told, "2024-01-20")
    assert shown(found, "grouped_by", "type", "revision", "units", "previous_units") == [
        ({"g": "x"}, "usage.instant", 0, "10.0", None),
        ({"g": "x"}, "usage.instant_revised", 1, "0.0", "10.0"),
        ({"g": "y"}, "usage.instant", 0, "7.0", None),
        ({"g": "y"}, "usage.instant_revised", 1, "0.0", "7.0"),
        ({"g": "x"}, "usage.instant_revised", 2, "5.0", "0.0"),
    ]
    assert len({record["instant_id"] for record in found}) == 2
    assert len({record["id"] for record in found}) == 5


def test_a_correction_before_the_first_figure_simply_holds() -> None:
    told = story()
    told.send("2024-01-10T10:00:10", v="10")
    told.append("2024-01-10T10:00:20", amend(raw("m", "t0", ms("2024-01-10T10:00:10"), v="7")))
    told.send("2024-01-10T10:00:30", v="1")
    told.append("2024-01-10T10:00:40", cancel("t2", "c9"))
    assert shown(instants(told, "2024-01-20"), "units", "revision") == [("7.0", 0)]


def test_of_two_corrections_between_two_grid_cuts_the_last_one_holds() -> None:
    told = story(charge={"properties": {"pricing_group_keys": ["g"]}})
    told.send("2024-01-10T10:00:10", v="10", g="x")
    for second, number, group in ((10, "7", "y"), (20, "3", "z")):
        amended = raw("m", "t0", ms("2024-01-10T10:00:10"), v=number, g=group)
        told.append(f"2024-01-10T11:00:{second}", amend(amended, f"c{second}"))
    assert shown(instants(told, "2024-01-20"), "grouped_by", "revision", "units") == [
        ({"g": "x"}, 0, "10.0"),
        ({"g": "x"}, 1, "0.0"),
        ({"g": "z"}, 0, "3.0"),
    ]


def test_what_is_not_known_at_the_cut_bills_nothing_for_ever() -> None:
    told = Story(close_grid_s=60).metric("m", "sum_agg")
    told.send("2024-01-10T10:00:10", v="10")
    told.plan({"pay_in_advance": True}, at="2024-01-10T10:00:30").subscribe(
        at="2024-01-10T10:00:50"
    )
    told.send("2024-01-10T10:00:55", v="2")
    told.send("2024-01-10T10:01:01", v="x")
    told.send("2024-01-10T10:01:02")
    assert shown(instants(told, "2024-01-20"), "units") == [("10.0",), ("2.0",)]
    late = Story(close_grid_s=60).metric("m", "sum_agg")
    late.send("2024-01-10T10:00:10", v="10")
    late.plan({"pay_in_advance": True}, at="2024-01-10T10:00:30").subscribe(
        at="2024-01-10T10:01:01"
    )
    late.send("2024-01-10T10:01:05", v="2")
    assert shown(instants(late, "2024-01-20"), "units") == [("2.0",)]


def test_a_recurring_charge_that_ends_is_not_published_again() -> None:
    told = story(recurring=True)
    told.send("2024-01-11", v="4")
    told.define("2024-01-20", commands.terminate_subscription(ORG, SUBSCRIPTION))
    assert shown(instants(told, "2024-02-10"), "units") == [("4.0",)]
    assert [r for r in told.records("2024-02-10") if r["type"] == "usage.recorded"] == []


def test_current_usage_shows_what_was_billed_in_advance() -> None:
    told = story()
    for day, value in ((10, "10"), (11, "-6"), (12, "10"), (13, "-5")):
        told.send(f"2024-01-{day}T10:00:30", v=value)
    (usage,) = told.usage("2024-01-13T10:00:31")["charges_usage"]
    assert (usage["units"], usage["in_advance_units"]) == ("9.0", "14.0")


def test_usage_of_seats_shows_the_days_that_were_billed() -> None:
    (usage,) = seats().usage("2024-06-20")["charges_usage"]
    assert (usage["units"], usage["in_advance_units"]) == ("5.0", "3.00002")
    (usage,) = seats().usage("2024-07-10")["charges_usage"]
    assert (usage["units"], usage["in_advance_units"]) == ("5.0", "5.0")


def test_an_event_tells_what_it_is_presented_by_and_its_precise_amount() -> None:
    told = story(charge={"properties": {"presentation_group_keys": [{"value": "cloud"}]}})
    sent = raw("m", "t0", ms("2024-01-10"), v="1", cloud="aws")
    told.append("2024-01-10", sent | {"precise_total_amount_cents": "2.50"}).send("2024-01-11", v=1)
    found = shown(instants(told, "2024-01-20"), "presentation_by", "precise_total_amount_cents")
    assert found == [({"cloud": "aws"}, "2.5"), ({"cloud": None}, None)]


def test_an_estimate_is_what_the_event_would_bill() -> None:
    told = story()
    told.send("2024-01-10T10:00:30", v="10").send("2024-01-11T10:00:30", v="-6")
    partition = told.meter("2024-01-11T10:00:31").partition
    at_ms = ms("2024-01-11T10:00:40")
    ((_, event),) = decode_record(msgspec.json.encode(raw("m", "new", at_ms, v="10")))
    assert isinstance(event, Event)
    arrival = Arrival(event, ORG, at_ms, 1, 0, 0)
    (fee,) = drained(estimated(partition, (ORG, SUBSCRIPTION), arrival))
    assert fee.units == 4
    (again,) = drained(estimated(partition, (ORG, SUBSCRIPTION), arrival))
    assert again == fee


def test_an_event_without_the_property_that_counts_has_no_estimate() -> None:
    partition = story().meter("2024-01-11T10:00:31").partition
    at_ms = ms("2024-01-11T10:00:40")
    ((_, event),) = decode_record(msgspec.json.encode(raw("m", "new", at_ms)))
    assert isinstance(event, Event)
    arrival = Arrival(event, ORG, at_ms, 1, 0, 0)
    assert drained(estimated(partition, (ORG, SUBSCRIPTION), arrival)) == []


def test_a_period_that_was_due_by_version_1_is_billed_at_its_end_as_a_whole() -> None:
    """An event of it that comes after the settings say 2 is not billed at once as well."""
    told = Story(close_grid_s=60, fold_version=1).metric("m", "sum_agg")
    told.plan({"pay_in_advance": True}).subscribe().send("2024-01-10", v="2")
    later = SettingsRecord(close_grid_s=60, fold_version=2)
    told.define("2024-02-05", commands.set_settings(later))
    told.send("2024-01-20", appended="2024-02-10T00:00:30", v="3")
    told.send("2024-02-11T00:00:30", v="5")
    found = [json.loads(record.value) for record in told.meter("2024-03-02").records]
    records = [record for record in found if record["type"] != "period.completed"]
    assert shown(records, "type", "schema_version", "units") == [
        ("usage.recorded", 1, "2.0"),
        ("usage.revised", 2, "5.0"),
        ("usage.instant", 2, "5.0"),
        ("usage.recorded", 2, "5.0"),
    ]
    assert shown([records[1], records[3]], "billing", "billed_in_advance") == [
        ("arrears", None),
        ("none", "5.0"),
    ]


def test_an_event_from_before_its_subscription_is_billed_at_the_end_alone() -> None:
    """Nobody could bill it when its grid cut came, and what was not billed then never is."""
    told = Story(close_grid_s=60).metric("m", "sum_agg").plan({"pay_in_advance": True})
    told.subscribe(external_id="other").send("2024-01-10", v="2")
    # Its cut has the grid pass the other event.
    told.append("2024-01-11", raw("m", "other", ms("2024-01-11"), "other", v="1"))
    told.subscribe("2024-01-12").send("2024-01-13", v="3")
    assert shown(instants(told, "2024-01-20"), "units", "closed_at") == [
        ("1.0", "2024-01-11T00:00:00.000Z"),
        ("3.0", "2024-01-13T00:00:00.000Z"),
    ]
    records = [r for r in told.records("2024-02-02") if r["type"] == "usage.recorded"]
    (recorded,) = [r for r in records if r["external_subscription_id"] == SUBSCRIPTION]
    assert (recorded["units"], recorded["billed_in_advance"]) == ("5.0", "3.0")


def test_a_group_beyond_the_limit_is_not_billed_at_once_by_what_is_defined_later() -> None:
    told = Story(close_grid_s=60, max_groups=1).metric("m", "sum_agg")
    told.plan({"pay_in_advance": True, "properties": {"pricing_group_keys": ["g"]}}).subscribe()
    told.send("2024-01-10", v="2", g="x").send("2024-01-11", v="3", g="y")
    every = {"properties": {"amount": "0"}}
    told.define("2024-01-12", commands.update_charge(ORG, "plan", "m", every))
    found = instants(told, "2024-01-20")
    assert shown(found, "event_transaction_id", "units") == [("t0", "2.0")]
    assert told.usage("2024-01-20")["charges_usage"][0]["units"] == "5.0"


def test_an_event_amended_just_before_its_subscription_is_billed_at_once() -> None:
    """Another correction between them takes no grid cut, so the first still waits for its own."""
    told = Story(close_grid_s=60).metric("m", "sum_agg").plan({"pay_in_advance": True})
    told.send("2024-01-10", v="2").send("2024-01-10T00:00:01", v="3")
    for second, number in ((10, 0), (20, 1)):
        amended = raw("m", f"t{number}", ms("2024-01-13"), v="5")
        told.append(f"2024-01-12T00:00:{second}", amend(amended, f"c{number}"))
    told.subscribe("2024-01-12T00:00:30")
    assert shown(instants(told, "2024-01-20"), "event_transaction_id", "units", "closed_at") == [
        ("t0", "5.0", "2024-01-12T00:01:00.000Z"),
        ("t1", "5.0", "2024-01-12T00:01:00.000Z"),
    ]


def test_a_seat_does_not_know_of_an_event_that_came_after_its_own() -> None:
    """Both are decided at one cut; the later one is dated earlier."""
    told = story("unique_count_agg")
    told.send("2024-01-10T10:00:00", appended="2024-01-10T10:00:10", v="ada")
    told.send("2024-01-09T10:00:00", appended="2024-01-10T10:00:20", v="ada")
    found = instants(told, "2024-01-20")
    assert shown(found, "event_transaction_id", "units") == [("t0", "1.0"), ("t1", "1.0")]
