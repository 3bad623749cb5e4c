"""What is published at a cut, and what is not: one table a rule (records-and-cuts §4)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from app.definitions.periods import NEVER_MS
from app.wire.arrivals import Arrival
from tables.closing.close import DueNext, close_subscription, let_go, next_cut, settle
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tables.partition.tables import Carried
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    GRACE_SETTINGS,
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    definitions_of,
    lines,
    plan_body,
    subscription_body,
)
from tests.world.events import arrived, event
from tests.world.partition import Live

Event = tuple[str, int, int, dict[str, Any]]
"""(code, event time, append time, properties), times as ms since START."""


def live_of(
    codes: list[str],
    *events: Event,
    later: list[tuple[int, Command]] | None = None,
    settings: SettingsRecord = SETTINGS,
) -> Live:
    base = [(line.append_time_ms, line.command) for line in definitions_of(codes, settings)]
    live = Live(lines([*base, *((START_MS + at_ms, c) for at_ms, c in later or [])]))
    live.define_all()
    live.deliver(
        [
            arrived(code, i, START_MS + at_ms, START_MS + appended_ms, **properties)
            for i, (code, at_ms, appended_ms, properties) in enumerate(events)
        ]
    )
    return live


def told(live: Live, until_ms: int) -> list[tuple[str, str, int, str, int]]:
    """(period start, code, revision, units, events) of every record of a cell."""
    live.close_until(START_MS + until_ms)
    return [
        (
            body["period"]["from"][:10],
            body["charge"]["code"],
            body["revision"],
            body["units"],
            body["events_count"],
        )
        for body in live.bodies()
        if body["type"] != "period.completed"
    ]


def groups_told(live: Live) -> list[tuple[str, dict[str, str] | None, str]]:
    """(period start, groups, units) of every record of a cell."""
    return [
        (body["period"]["from"][:10], body["grouped_by"], body["units"])
        for body in live.bodies()
        if body["type"] != "period.completed"
    ]


def group_by(live: Live, code: str, keys: list[str], at_ms: int) -> None:
    """Let the plan's only charge have these keys from a time on."""
    (plan,) = live.definitions.plan_versions.values()
    (charge,) = next(plan.all()).charges
    grouped = {
        "id": charge.id,
        "billable_metric_code": code,
        "charge_model": "standard",
        "properties": {"amount": "1", "pricing_group_keys": keys},
    }
    live.append(START_MS + at_ms, commands.update_plan(ORG, "plan", {"charges": [grouped]}))


def completions(live: Live) -> list[tuple[str, int, int]]:
    return [
        (body["period"]["from"][:10], body["revision"], body["records_count"])
        for body in live.bodies()
        if body["type"] == "period.completed"
    ]


def test_an_empty_period_has_its_completion() -> None:
    live = live_of(["sum"])
    assert told(live, WEEK_MS) == []
    assert completions(live) == [("2024-01-01", 0, 0)]


def test_nothing_is_published_before_the_due_time() -> None:
    live = live_of(["sum"], ("sum", 0, 0, {"v": "1"}))
    assert told(live, WEEK_MS - 1) == []
    assert told(live, WEEK_MS) == [("2024-01-01", "sum", 0, "1.0", 1)]


@pytest.mark.parametrize(
    ("appended_ms", "revisions"),
    [
        pytest.param(WEEK_MS, [(0, "2.0")], id="until-the-due-time"),
        pytest.param(WEEK_MS + 1, [(0, "1.0"), (1, "2.0")], id="just-after"),
        pytest.param(WEEK_MS + HOUR_MS, [(0, "1.0"), (1, "2.0")], id="at-the-next-cut"),
    ],
)
def test_append_time_decides_the_cut(appended_ms: int, revisions: list[tuple[int, str]]) -> None:
    live = live_of(["sum"], ("sum", 0, 0, {"v": "1"}), ("sum", 0, appended_ms, {"v": "1"}))
    found = told(live, WEEK_MS + HOUR_MS)
    assert [(revision, units) for _, _, revision, units, _ in found] == revisions


def test_a_late_event_without_effect_on_the_units_is_seen() -> None:
    live = live_of(["sum"], ("sum", 0, 0, {"v": "1"}), ("sum", 0, WEEK_MS + 1, {"v": "0"}))
    assert told(live, 2 * WEEK_MS)[-1] == ("2024-01-01", "sum", 1, "1.0", 2)
    assert live.bodies()[2]["delta_units"] == "0.0"


def test_a_cut_that_changes_nothing_publishes_nothing() -> None:
    live = live_of(["sum"], ("sum", 0, 0, {"v": "1"}), ("sum", 0, WEEK_MS + 1, {"v": "no"}))
    told(live, 2 * WEEK_MS - 1)
    assert completions(live) == [("2024-01-01", 0, 1)]


def test_a_cut_taken_again_publishes_nothing() -> None:
    live = live_of(["sum"], ("sum", 0, 0, {"v": "1"}))
    told(live, WEEK_MS)
    count = len(live.records)
    live.partition.checkpoint.cut_ms = -1
    told(live, WEEK_MS)
    assert len(live.records) == count


@pytest.mark.parametrize("closes", [False, True])
def test_a_cut_taken_again_knows_nothing_of_what_the_week_before_shows_since(
    *, closes: bool
) -> None:
    """As where a torn state is folded anew; a zero that was told then is not told otherwise."""
    settings = replace(SETTINGS, late_window_s=86_400)
    events: list[Event] = [("balance", 0, 2 * WEEK_MS + 2 * DAY_MS, {"v": "3"})]
    shown = [("2024-01-01", 0, "3.0", 1)]
    if closes:
        # The second comes when the first week is open no more.
        came = [(0, "3"), (WEEK_MS + 2 * DAY_MS, "-3")]
        events = [("balance", 0, at_ms, {"v": v}) for at_ms, v in came]
        shown = [*shown, ("2024-01-08", 0, "0.0", 2), ("2024-01-01", 1, "0.0", 2)]
    live = live_of(["balance", "sum"], *events, settings=settings)
    balance, other = sorted(live.definitions.metrics(ORG), key=lambda metric: metric.code)
    # The first has a cut look at the second week once more, the second revises the first week.
    for metric, week, days in ((other, 1, 0), (balance, 0, 3)):
        at_ms, from_ms = START_MS + 2 * WEEK_MS + days * DAY_MS, START_MS + week * WEEK_MS
        live.close_until(at_ms)
        to_ms = from_ms + WEEK_MS
        again = commands.apply_history(ORG, metric_ids=[metric.id], from_ms=from_ms, to_ms=to_ms)
        live.append(at_ms + 1, again)
    assert [(start, *rest) for start, _, *rest in told(live, 3 * WEEK_MS - 1)] == shown
    count, carried = len(live.records), Carried(published=live.partition.published)
    live.partition = Partition(0, live.definitions, EventIndex(), carried=carried)
    live.deliver(live.arrived())
    live.close_until(START_MS + 3 * WEEK_MS - 1)
    assert live.records[count:] == []


def test_a_recurring_balance_goes_on_and_closes_with_one_zero() -> None:
    week = 7 * DAY_MS
    live = live_of(
        ["balance"],
        ("balance", 0, 0, {"v": "2"}),
        ("balance", 2 * week, 2 * week, {"v": "-2"}),
    )
    starts = [(start, units) for start, _, _, units, _ in told(live, 5 * WEEK_MS)]
    assert starts == [("2024-01-01", "2.0"), ("2024-01-08", "2.0"), ("2024-01-15", "0.0")]


def test_a_late_event_of_a_recurring_metric_is_in_the_first_cut_of_a_later_period() -> None:
    """It revises its own period at the next hour, but the later one is due two minutes after it."""
    live = live_of(
        ["level"],
        ("level", 0, 0, {"v": "2"}),
        ("level", HOUR_MS, 2 * WEEK_MS + 60_000, {"v": "5"}),
        settings=GRACE_SETTINGS,
    )
    told(live, 2 * WEEK_MS + HOUR_MS)
    shown = [
        (body["closed_at"][8:16], body["period"]["from"][:10], body["total_aggregated_units"])
        for body in live.bodies()
        if body["type"] != "period.completed"
    ]
    assert shown == [
        ("08T00:02", "2024-01-01", "2.0"),
        ("15T00:02", "2024-01-08", "7.0"),
        ("15T01:00", "2024-01-01", "7.0"),
    ]


def test_a_route_read_before_its_first_event_follows_later_definitions() -> None:
    """Closing looks at every charge: one ungrouped since then must not be taken for grouped."""
    live = live_of(["sum", "count"], ("count", 0, 0, {}))
    live.close_until(START_MS + WEEK_MS)
    (plan,) = live.definitions.plan_versions.values()
    charge = next(charge for charge in next(plan.all()).charges if charge.code == "sum")
    ungrouped = {
        "id": charge.id,
        "billable_metric_code": "sum",
        "charge_model": "standard",
        "properties": {"amount": "1"},
    }
    update = commands.update_plan(ORG, "plan", {"charges": [ungrouped]})
    live.append(START_MS + WEEK_MS + DAY_MS, update)
    at_ms = START_MS + WEEK_MS + 2 * DAY_MS
    live.deliver([arrived("sum", 9, at_ms, transaction_id="s", v="1", g="x")])
    live.close_until(START_MS + 2 * WEEK_MS)
    groups = [b["grouped_by"] for b in live.bodies() if b.get("units") == "1.0"]
    assert groups == [None, None]


def test_the_closing_zero_comes_without_an_event_too() -> None:
    """The level falls to nothing in a rounded way: the period before showed some."""
    live = live_of(
        ["balance"],
        ("balance", 0, 0, {"v": "2"}),
        ("balance", WEEK_MS, WEEK_MS, {"v": "-2"}),
        ("balance", 0, 2 * WEEK_MS + 1, {"v": "1"}),
    )
    found = told(live, 3 * WEEK_MS)
    assert [(start, revision, units) for start, _, revision, units, _ in found] == [
        ("2024-01-01", 0, "2.0"),
        ("2024-01-08", 0, "0.0"),
        ("2024-01-01", 1, "3.0"),
        ("2024-01-08", 1, "1.0"),
        ("2024-01-15", 0, "1.0"),
    ]


def test_a_cell_that_no_longer_qualifies_is_revised_to_nothing() -> None:
    """A late removal takes away the only active property."""
    live = live_of(
        ["unique"],
        ("unique", HOUR_MS, HOUR_MS, {"u": "a"}),
        ("unique", 2 * HOUR_MS, WEEK_MS + 1, {"u": "a", "operation_type": "remove"}),
    )
    assert told(live, WEEK_MS + HOUR_MS)[-1] == ("2024-01-01", "unique", 1, "0.0", 0)
    (revised,) = [body for body in live.bodies() if body["type"] == "usage.revised"]
    assert revised["digest"] == "0" * 32


def test_new_groups_hold_from_the_open_period_on() -> None:
    """The period that was due keeps the definitions it was due under."""
    live = live_of(
        ["sum"],
        ("sum", 0, 0, {"v": "1", "g": "x"}),
        ("sum", WEEK_MS, WEEK_MS, {"v": "1", "g": "x"}),
        ("sum", 0, WEEK_MS + 2 * DAY_MS, {"v": "1", "g": "x"}),
    )
    group_by(live, "sum", [], WEEK_MS + DAY_MS)
    live.close_until(START_MS + 2 * WEEK_MS)
    assert groups_told(live) == [
        ("2024-01-01", {"g": "x"}, "1.0"),
        ("2024-01-01", {"g": "x"}, "2.0"),
        ("2024-01-08", None, "1.0"),
    ]


@pytest.mark.parametrize(
    ("before", "after"), [(["g"], ["h"]), ([], ["g"]), (["g"], []), (["g"], ["g", "h"])]
)
def test_the_values_of_former_group_keys_name_no_cell_of_the_new_ones(
    before: list[str], after: list[str]
) -> None:
    live = live_of(["balance"])
    sent_with = {"g": "x", "h": "y"}

    def grouped_by(keys: list[str]) -> dict[str, str] | None:
        return {key: sent_with[key] for key in keys} or None

    group_by(live, "balance", before, 0)
    sent = event("balance", "t", START_MS, v="2", **sent_with)
    live.deliver([Arrival(sent, ORG, START_MS, 0, 0, 0)])
    live.close_until(START_MS + WEEK_MS)
    group_by(live, "balance", after, WEEK_MS + DAY_MS)
    live.close_until(START_MS + 2 * WEEK_MS)
    assert groups_told(live) == [
        ("2024-01-01", grouped_by(before), "2.0"),
        ("2024-01-08", grouped_by(after), "2.0"),
    ]


@pytest.mark.parametrize("upgraded_ms", [3 * DAY_MS, WEEK_MS], ids=["within", "at-the-end"])
def test_an_upgrade_leaves_recurring_cells_to_the_next_period(upgraded_ms: int) -> None:
    """Unless they are prorated, for then each plan has its days."""
    dearer = plan_body(["level", "balance", "sum"], code="dearer", amount_cents=1000)
    upgrade = subscription_body(plan_code="dearer")
    live = live_of(
        ["level", "balance", "sum"],
        *((code, 0, 0, {"v": "2"}) for code in ("level", "balance", "sum")),
        later=[
            (0, commands.create_plan(ORG, dearer)),
            (upgraded_ms, commands.create_subscription(ORG, upgrade)),
        ],
    )
    told(live, upgraded_ms)
    reasons = {
        body["charge"]["code"]: body["closing_reason"]
        for body in live.bodies()
        if body["type"] == "usage.recorded"
    }
    assert reasons == {"balance": "plan_change", "sum": "plan_change"}
    later = {
        code: units
        for start, code, _, units, _ in told(live, max(2 * upgraded_ms, WEEK_MS))
        if start > "2024-01-03"
    }
    level = "1.14285714285714285715" if upgraded_ms < WEEK_MS else "2.0"
    assert later == {"balance": "2.0", "level": level}


def plan_with(codes: list[str], code: str, amount_cents: int) -> Command:
    return commands.create_plan(ORG, plan_body(codes, code=code, amount_cents=amount_cents))


def upgraded_to(code: str) -> Command:
    return commands.create_subscription(ORG, subscription_body(plan_code=code))


@pytest.mark.parametrize(
    ("then", "reasons"),
    [
        (commands.terminate_subscription(ORG, SUBSCRIPTION), ["plan_change"]),
        (upgraded_to("without"), ["plan_change"]),
        (upgraded_to("with"), ["period_end"]),
    ],
    ids=["terminated", "upgraded-without-the-metric", "upgraded-with-it"],
)
def test_a_plan_of_no_time_carries_no_balance(then: Command, reasons: list[str]) -> None:
    """Upgraded, and in the same millisecond terminated or upgraded again."""
    live = live_of(
        ["sum", "level"],
        ("level", 0, 0, {"v": "2"}),
        later=[
            (0, plan_with(["level"], "dearer", 1)),
            (0, plan_with(["sum"], "without", 2)),
            (0, plan_with(["level"], "with", 2)),
            (3 * DAY_MS, upgraded_to("dearer")),
            (3 * DAY_MS, then),
        ],
    )
    live.close_until(START_MS + WEEK_MS)
    recorded = [body for body in live.bodies() if body["type"] == "usage.recorded"]
    assert [body["closing_reason"] for body in recorded] == reasons
    assert [body["total_aggregated_units"] for body in recorded] == ["2.0"]


def test_records_of_a_cut_come_by_period_and_cell_with_the_completion_last() -> None:
    live = live_of(
        ["count", "sum", "max"],
        *((code, 0, 0, {"v": "1"}) for code in ("count", "sum", "max")),
    )
    told(live, WEEK_MS)
    bodies = live.bodies()
    ids = [body["cell_id"] for body in bodies[:-1]]
    assert ids == sorted(ids)
    assert len(ids) == 3
    assert bodies[-1]["type"] == "period.completed"
    total = sum(int(body["digest"], 16) for body in bodies[:-1]) % (1 << 128)
    assert bodies[-1]["digest"] == f"{total:032x}"


def test_an_event_at_the_end_of_a_terminated_subscription_does_not_count() -> None:
    live = live_of(
        ["sum"],
        ("sum", DAY_MS - 1, DAY_MS, {"v": "1"}),
        ("sum", DAY_MS, DAY_MS, {"v": "1"}),
        later=[(DAY_MS, commands.terminate_subscription(ORG, SUBSCRIPTION))],
    )
    assert told(live, 2 * WEEK_MS) == [("2024-01-01", "sum", 0, "1.0", 1)]


def test_by_version_1_a_terminated_period_closes_before_one_that_is_in_grace() -> None:
    """What comes for the earlier one in its grace revises the later one, which is published."""
    settings = SettingsRecord(close_grid_s=60, revise_every_s=3600, fold_version=1)
    billing = {"invoice_grace_period": 9}
    customer = {"external_id": "customer", "billing_configuration": billing}
    live = live_of(
        ["level"],
        ("level", 0, 0, {"v": "2"}),
        ("level", HOUR_MS, WEEK_MS + 3 * DAY_MS, {"v": "5"}),
        later=[
            (0, commands.upsert_customer(ORG, customer)),
            (WEEK_MS + DAY_MS, commands.terminate_subscription(ORG, SUBSCRIPTION)),
        ],
        settings=settings,
    )
    told(live, 3 * WEEK_MS)
    shown = [
        (body["closed_at"][8:16], body["period"]["from"][:10], body["total_aggregated_units"])
        for body in live.bodies()
        if body["type"] != "period.completed"
    ]
    assert shown == [
        ("09T00:00", "2024-01-08", "2.0"),
        ("11T00:00", "2024-01-08", "7.0"),
        ("17T00:00", "2024-01-01", "7.0"),
    ]


def test_an_event_of_a_period_that_is_never_published_is_billed_at_once() -> None:
    """A subscription that began before it was made, under settings that pass over what is over."""
    settings = replace(SETTINGS, close_elapsed=False)
    *found, subscribing = definitions_of(["prepaid"], settings)
    found.append(subscribing._replace(append_time_ms=START_MS + WEEK_MS + 1))
    live = Live(found)
    live.close_until(START_MS + WEEK_MS + HOUR_MS)
    live.deliver([arrived("prepaid", 0, START_MS, START_MS + WEEK_MS + HOUR_MS + 1, v="2")])
    live.close_until(START_MS + WEEK_MS + 2 * HOUR_MS)
    (billed,) = live.instants()
    assert (billed["type"], billed["units"]) == ("usage.instant", "2.0")
    assert billed["period"]["from"] == "2024-01-01T00:00:00Z"


def test_what_was_due_next_at_a_cut_spares_timelines_unless_it_is_of_another_moment() -> None:
    state, name = live_of(["count"], ("count", 0, 1, {})).partition, (ORG, SUBSCRIPTION)
    cut_ms = next_cut(state, name)
    list(close_subscription(state, name, cut_ms))
    known = let_go(state, name, cut_ms, was_at_hand=False)
    assert known is not None
    state.timelines.forget(name)
    # The cut is not settled yet, so that it comes again.
    assert next_cut(state, name, known) == cut_ms
    settle(state, cut_ms)
    state.timelines.forget(name)
    following_ms = next_cut(state, name, known)
    assert not state.timelines.has(name)
    assert following_ms == next_cut(state, name)
    assert cut_ms < following_ms < NEVER_MS
    for other in (DueNext(cut_ms - 1, known[1], cut_ms), DueNext(cut_ms, known[1] - 1, cut_ms)):
        assert next_cut(state, name, other) == following_ms
