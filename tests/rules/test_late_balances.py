"""Late events of recurring metrics: they are never refused, and only open periods show them.

A monthly plan with a subscription from 2024 on; a period is open to late events for 40 days.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from app.definitions import commands
from app.definitions.timeline import Timeline
from tables.cells.late_cut import LateCut
from tests.world.bodies import Json
from tests.world.clock import ms
from tests.world.definitions import ORG
from tests.world.events import cancel
from tests.world.story import Story

JANUARY, FEBRUARY, MARCH, APRIL = (f"2024-0{month}-01" for month in (1, 2, 3, 4))
AT_END = "2024-05-02"


def story(aggregation_type: str = "sum_agg", **settings: Any) -> Story:
    made = Story(close_grid_s=1, **settings).metric("m", aggregation_type, recurring=True)
    return made.metric("calls", "count_agg").plan({}, {"code": "calls"}).subscribe()


def five(**settings: Any) -> Story:
    return story(**settings).send("2024-01-02", v="5")


def shown(told: Story, code: str = "m", at: str = AT_END) -> dict[str, list[str]]:
    """Units of every revision by the first day of its period (UTC), with the time of late ones."""
    found: dict[str, list[str]] = {}
    for record in told.records(at):
        if record["billable_metric"]["code"] == code:
            period = found.setdefault(record["period"]["from"][:10], [])
            cut = f" at {record['closed_at'][5:16]}" if record["revision"] else ""
            period.append(record["units"] + cut)
    return found


def refused(told: Story, at: str = AT_END) -> list[str]:
    return [str(refusal.code) for refusal in told.meter(at).refused]


def test_an_event_later_than_the_window_shows_from_the_first_open_period_on() -> None:
    told = five().send("2024-01-05", appended="2024-04-20T10:15", v="3")
    assert refused(told) == []
    assert shown(told) == {
        JANUARY: ["5.0"],
        FEBRUARY: ["5.0"],
        MARCH: ["5.0", "8.0 at 04-20T11:00"],
        APRIL: ["8.0"],
    }


def test_so_does_one_that_is_dated_before_the_subscription() -> None:
    told = five().send("2023-12-05", appended="2024-04-20T10:15", v="100")
    assert shown(told) == {
        JANUARY: ["5.0"],
        FEBRUARY: ["5.0"],
        MARCH: ["5.0", "105.0 at 04-20T11:00"],
        APRIL: ["105.0"],
    }


def test_a_late_removal_takes_a_seat_of_open_periods_only() -> None:
    told = story("unique_count_agg").send("2024-01-02", v="s1").send("2024-01-03", v="s2")
    told.send("2024-04-10", v="s3")
    told.send("2024-01-06", appended="2024-04-21T00:30", v="s1", operation_type="remove")
    assert shown(told) == {
        JANUARY: ["2.0"],
        FEBRUARY: ["2.0"],
        MARCH: ["2.0", "1.0 at 04-21T01:00"],
        APRIL: ["2.0"],
    }


def test_with_policy_refuse_the_first_period_not_yet_closed_shows_it() -> None:
    told = five(late_policy="refuse").send("2024-01-31", appended="2024-02-02", v="3")
    told.send("2024-01-31", code="calls", appended="2024-02-02")
    assert refused(told) == ["period_closed"]
    assert shown(told) == {
        JANUARY: ["5.0"],
        FEBRUARY: ["8.0"],
        MARCH: ["8.0"],
        APRIL: ["8.0"],
    }


def test_a_correction_shows_everything_in_the_periods_it_concerns() -> None:
    told = five().send("2024-01-05", appended="2024-04-20T10:15", v="3")
    told.append("2024-04-25T09:30", cancel("t0"))
    assert shown(told) == {
        JANUARY: ["5.0", "3.0 at 04-25T10:00"],
        FEBRUARY: ["5.0", "3.0 at 04-25T10:00"],
        MARCH: ["5.0", "8.0 at 04-20T11:00", "3.0 at 04-25T10:00"],
        APRIL: ["3.0"],
    }
    # What came after it is again for open periods only.
    told.send("2024-01-07", appended="2024-04-26T09:30", v="1")
    assert shown(told)[JANUARY] == ["5.0", "3.0 at 04-25T10:00"]
    assert shown(told)[APRIL] == ["4.0"]


def test_a_correction_reveals_nothing_in_periods_before_its_event() -> None:
    told = five().send("2024-03-05", v="10")
    told.send("2024-01-05", appended="2024-04-20T10:15", v="3")
    told.append("2024-04-25T09:30", cancel("t1"))
    assert shown(told) == {
        JANUARY: ["5.0"],
        FEBRUARY: ["5.0"],
        MARCH: ["15.0", "18.0 at 04-20T11:00", "8.0 at 04-25T10:00"],
        APRIL: ["8.0"],
    }


def test_a_correction_of_another_metric_reveals_nothing() -> None:
    told = five().send("2024-01-08", code="calls")
    told.send("2024-01-05", appended="2024-04-20T10:15", v="3")
    told.append("2024-04-25T09:30", cancel("t1"))
    assert shown(told)[JANUARY] == ["5.0"]
    assert shown(told, "calls")[JANUARY] == ["1.0", "0.0 at 04-25T10:00"]


def test_the_last_cut_shows_what_came_while_the_period_was_open() -> None:
    """In Kolkata it closes to late events half an hour before that cut."""
    told = five()
    customer = {"external_id": "customer", "timezone": "Asia/Kolkata"}
    told.define("2024-01-01", commands.upsert_customer(ORG, customer))
    told.send("2024-01-05", appended="2024-03-11T18:20", v="3")
    told.send("2024-01-06", appended="2024-03-11T18:40", v="7")
    assert list(shown(told).values()) == [
        ["5.0", "8.0 at 03-11T19:00"],
        ["5.0", "15.0 at 03-11T19:00"],
        ["15.0"],
        ["15.0"],
    ]


def test_a_history_record_of_the_metric_shows_everything() -> None:
    told = five().send("2024-01-05", appended="2024-04-20T10:15", v="3")
    (metric,) = told.meter("2024-04-21").definitions.metric_history(ORG, "m")
    metric_id = next(metric.all()).id
    history = commands.apply_history(
        ORG, metric_ids=[metric_id], from_ms=ms(JANUARY), to_ms=ms(FEBRUARY)
    )
    told.define("2024-04-25T09:30", history)
    assert shown(told)[JANUARY] == ["5.0", "8.0 at 04-25T10:00"]
    assert shown(told)[FEBRUARY] == ["5.0"]


@pytest.mark.parametrize("policy", ["revise", "refuse"])
def test_an_event_whose_metric_comes_later_waits_for_it(policy: str) -> None:
    told = Story(close_grid_s=1, late_policy=policy).metric("calls", "count_agg")
    told.plan({"code": "calls"}).subscribe()
    told.send("2024-01-05", appended="2024-03-20", v="3")
    assert refused(told) == []
    told.metric("m", "sum_agg", at="2024-03-21", recurring=True)
    charges: list[Json] = [{"billable_metric_code": code} for code in ("calls", "m")]
    for charge in charges:
        charge |= {"charge_model": "standard", "properties": {"amount": "1"}}
    told.define("2024-03-21", commands.update_plan(ORG, "plan", {"charges": charges}))
    assert refused(told) == []
    assert shown(told) == {MARCH: ["3.0"], APRIL: ["3.0"]}


def test_the_metric_that_counts_is_the_one_of_when_the_period_closed_to_late_events() -> None:
    """It was metered then; that a recurring one has its code later changes nothing."""
    told = Story(close_grid_s=1).metric("m", "sum_agg").plan({}).subscribe()
    told.define("2024-03-20", commands.delete_billable_metric(ORG, "m"))
    told.metric("m", "sum_agg", at="2024-03-21", recurring=True)
    told.send("2024-01-05", appended="2024-03-25", v="3")
    assert refused(told) == ["too_late"]


def test_by_the_rules_of_version_1_it_is_too_late() -> None:
    told = five(fold_version=1).send("2024-01-05", appended="2024-04-20T10:15", v="3")
    assert refused(told) == ["too_late"]
    assert shown(told)[MARCH] == ["5.0"]


def test_periods_that_were_due_under_version_1_keep_its_rules() -> None:
    told = five(fold_version=1)
    settings = told.meter("2024-01-01").definitions.settings_at()
    two = msgspec.structs.replace(settings, fold_version=2)
    told.define("2024-02-15", commands.set_settings(two))
    told.send("2024-01-05", appended="2024-04-20T10:15", v="3")
    told.send("2024-02-05", appended="2024-04-21T10:15", v="4")
    assert refused(told) == ["too_late"]
    assert shown(told) == {
        # Due by version 1: it shows what comes later in time, and to periods after it.
        JANUARY: ["5.0"],
        FEBRUARY: ["5.0"],
        MARCH: ["5.0", "9.0 at 04-21T11:00"],
        APRIL: ["9.0"],
    }


def test_an_event_of_a_metric_that_was_gone_changes_nothing() -> None:
    """No metric had its code when January ceased to be open: it is refused by none."""
    told = Story(close_grid_s=1).metric("m", "sum_agg").plan({}).subscribe()
    told.send("2024-01-02", v="5").send("2024-01-05", appended="2024-02-05", v="1")
    told.define("2024-02-10", commands.delete_billable_metric(ORG, "m"))
    told.send("2024-01-05", appended="2024-03-20", v="3")
    assert refused(told) == []
    assert shown(told) == {JANUARY: ["5.0", "6.0 at 02-05T00:00"]}


def test_history_shows_events_that_waited_for_their_metric() -> None:
    told = Story(close_grid_s=1).metric("calls", "count_agg").plan({"code": "calls"}).subscribe()
    told.send("2024-01-05", v="1").send("2024-01-05", appended="2024-03-20", v="3")
    told.metric("m", "sum_agg", at="2024-03-21")
    charge: Json = {"billable_metric_code": "m", "charge_model": "standard"}
    charge["properties"] = {"amount": "1"}
    told.define("2024-03-21", commands.update_plan(ORG, "plan", {"charges": [charge]}))
    (metric,) = told.meter("2024-03-22").definitions.metric_history(ORG, "m")
    history = commands.apply_history(
        ORG, metric_ids=[next(metric.all()).id], from_ms=ms(JANUARY), to_ms=ms(FEBRUARY)
    )
    told.define("2024-03-25T09:30", history)
    assert shown(told)[JANUARY] == ["4.0"]


@pytest.mark.parametrize("events", [1, 20])
def test_events_of_one_period_share_a_cut_until_it_is_taken(
    events: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, of = list[int](), LateCut.of

    def counted(timeline: Timeline, at_ms: int, *args: int) -> LateCut:
        asked.append(at_ms)
        return of(timeline, at_ms, *args)

    monkeypatch.setattr(LateCut, "of", counted)
    told = five()
    for second in range(events):
        told.send("2024-01-05", appended=f"2024-04-20T10:15:{second:02}", v="3")
    told.send("2024-01-05", appended="2024-04-20T11:15", v="3")
    assert refused(told) == []
    assert len(asked) == 2
