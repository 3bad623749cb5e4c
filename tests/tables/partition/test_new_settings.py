"""New settings: whom they leave alone."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import msgspec
import pytest

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply
from app.definitions.outcome import Applied, Impact
from app.definitions.periods import NEVER_MS
from tables.closing.close import entering_history
from tables.partition.redirection import refolds_of
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SETTINGS,
    SUBSCRIPTION,
    definitions_of,
    metric_body,
    subscription_body,
)
from tests.world.events import arrived
from tests.world.partition import Live

NAME = (ORG, SUBSCRIPTION)
END_MS = START_MS + WEEK_MS


def settings(**changes: Any) -> Command:
    return commands.set_settings(msgspec.structs.replace(SETTINGS, **changes))


def used(code: str, *appended_ms: int, first: Command | None = None) -> Live:
    """Return a partition with events of the first week that came then."""
    live = Live(definitions_of([code]))
    live.define_all()
    if first is not None:
        live.append(START_MS, first)
    fold(live, code, *appended_ms)
    return live


def fold(live: Live, code: str, *appended_ms: int) -> None:
    for at_ms in appended_ms:
        number = len(live.arrived())
        live.deliver(
            [arrived(code, number, START_MS + number, at_ms, v="1", u=f"u{number}", g="x")]
        )


def tell(live: Live, at_ms: int, command: Command, impact: Impact | None = None) -> None:
    """Apply a definition; nobody looks at whom it concerns."""
    applied = apply(live.definitions, command.encode(), at_ms, live.definitions.offset)
    assert isinstance(applied, Applied)
    told = impact or applied.impact
    assert told is not None
    live.partition.redefinition.tell(told)


def looked(live: Live) -> tuple[set[str], int]:
    """Look at whom definitions concern; return codes to refold, and how often it compiled."""
    routes = live.partition.routes
    with patch.object(routes, "compile", wraps=routes.compile) as compiled:
        keys = refolds_of(live.partition.redefinition.renewing())
    live.refold(keys)
    return {code for _, _, code in keys}, compiled.call_count


@pytest.mark.parametrize("code", ["sum", "balance", "seats", "filtered", "passes"])
@pytest.mark.parametrize("packs", [False, True])
def test_nothing_is_compiled_for_another_grace(code: str, packs: bool) -> None:
    live = used(code, START_MS + 1)
    live.flush()
    if packs:
        live.partition.packing.pack(NAME)
    tell(live, START_MS + DAY_MS, settings(grace_s=90))
    assert looked(live) == (set(), 0)
    fold(live, code, END_MS + 80_000)
    live.close_until(END_MS + DAY_MS)
    (body,) = [one for one in live.bodies() if one["type"] == "usage.recorded"]
    assert (body["events_count"], body["closed_at"]) == (2, "2024-01-08T00:02:00.000Z")


def test_of_a_busy_one_neither_while_its_period_runs() -> None:
    live = used("sum", START_MS + 1)
    tell(live, START_MS + DAY_MS, settings(grace_s=90))
    fold(live, "sum", START_MS + 2 * DAY_MS)
    live.partition.standing.need_not_look_again(NAME)
    assert looked(live) == (set(), 0)


def test_what_came_in_the_grace_that_is_no_more_is_late() -> None:
    live = used("sum", START_MS + 1, first=settings(grace_s=86_400))
    tell(live, END_MS + 60_000, settings(grace_s=0))
    fold(live, "sum", END_MS + 2 * HOUR_MS)
    assert looked(live)[0] == {"sum"}


def test_what_came_in_the_grace_of_the_period_before_is_looked_at() -> None:
    live = used("sum", START_MS + 1, first=settings(grace_s=86_400))
    tell(live, END_MS + 60_000, settings(grace_s=0))
    fold(live, "sum", END_MS + 2 * HOUR_MS)
    new = arrived("sum", 9, END_MS + 1, END_MS + 2 * HOUR_MS, v="1")
    live.deliver([new])
    assert looked(live)[0] == {"sum"}


@pytest.mark.parametrize(
    "change",
    [{"max_groups": 1}, {"daily_records": True}, {"input_limits": 4}, {"input_limits": 5}],
    ids=str,
)
def test_settings_that_change_cells_are_looked_at(change: dict[str, Any]) -> None:
    live = used("sum", START_MS + 1)
    tell(live, START_MS + DAY_MS, settings(grace_s=90, **change))
    assert looked(live)[1] > 0


@pytest.mark.parametrize("code", ["sum", "balance", "seats", "filtered"])
@pytest.mark.parametrize("packs", [False, True])
def test_nothing_is_compiled_where_days_end(code: str, packs: bool) -> None:
    live = used(code, START_MS + HOUR_MS, first=settings(daily_records=True))
    live.close_until(START_MS + DAY_MS)
    live.flush()
    if packs:
        live.partition.packing.pack(NAME)
    tell(live, START_MS + DAY_MS + HOUR_MS, settings())
    assert looked(live) == (set(), 0)
    fold(live, code, START_MS + 2 * DAY_MS)
    live.close_until(END_MS + DAY_MS)
    days = [body for body in live.bodies() if body["type"] == "usage.daily"]
    assert len(days) == 1
    (body,) = [one for one in live.bodies() if one["type"] == "usage.recorded"]
    assert body["events_count"] == 2


@pytest.mark.parametrize(("code", "leaves"), [("sum", True), ("balance", False)])
@pytest.mark.parametrize("packs", [False, True])
def test_events_of_periods_before_days_begin_stay(code: str, leaves: bool, packs: bool) -> None:
    live = used(code, START_MS + HOUR_MS)
    live.close_until(END_MS)
    live.flush()
    if packs:
        live.partition.packing.pack(NAME)
    tell(live, END_MS + DAY_MS, settings(daily_records=True))
    # What recurs is carried into them.
    assert looked(live)[0] == (set() if leaves else {code})


def test_what_is_dated_after_the_last_period_with_days_is_looked_at() -> None:
    live = used("sum", START_MS + HOUR_MS, first=settings(daily_records=True))
    live.deliver([arrived("sum", 7, END_MS + 1, END_MS - HOUR_MS // 3, v="1", g="x")])
    tell(live, END_MS - HOUR_MS // 6, settings())
    assert looked(live)[0] == {"sum"}


def test_nothing_is_refolded_where_only_the_order_of_spans_is_another() -> None:
    """Those that end go before others."""
    live = used("sum", START_MS + HOUR_MS, first=settings(daily_records=True))
    tell(live, START_MS + DAY_MS, settings())
    fold(live, "sum", START_MS + 2 * DAY_MS)
    live.partition.standing.need_not_look_again(NAME)
    refolded, compiled = looked(live)
    assert (refolded, compiled > 0) == (set(), True)


OTHERS = [
    {"max_groups": 2},
    {"close_grid_s": 1800},
    {"input_limits": 1},
    {"input_limits": 2},
    {"input_limits": 3},
    {"implicit_plan": True},
    {"revise_every_s": 7200},
    {"usage_changed": True, "tzdata_version": "2030a"},
]


@pytest.mark.parametrize("change", OTHERS, ids=str)
@pytest.mark.parametrize("packs", [False, True])
def test_nothing_is_compiled_for_settings_that_change_no_cell(
    change: dict[str, Any], packs: bool
) -> None:
    live = used("sum", START_MS + 1)
    live.flush()
    if packs:
        live.partition.packing.pack(NAME)
    tell(live, START_MS + DAY_MS, settings(grace_s=90, **change))
    assert looked(live) == (set(), 0)


@pytest.mark.parametrize("change", [{"close_grid_s": 1800}, {"input_limits": 1}], ids=str)
def test_what_came_after_settings_of_events_is_looked_at(change: dict[str, Any]) -> None:
    live = used("sum", START_MS + 1)
    tell(live, START_MS + DAY_MS, settings(**change))
    fold(live, "sum", START_MS + 2 * DAY_MS)
    live.partition.standing.need_not_look_again(NAME)
    assert looked(live)[1] > 0


@pytest.mark.parametrize("packs", [False, True])
def test_who_has_as_many_groups_as_a_limit_is_looked_at(packs: bool) -> None:
    live = used("sum", START_MS + 1)
    live.deliver([arrived("sum", 7, START_MS + 7, v="1", g="y")])
    live.flush()
    if packs:
        live.partition.packing.pack(NAME)
    tell(live, START_MS + DAY_MS, settings(max_groups=2))
    assert looked(live)[0] == {"sum"}
    if packs:
        live.flush()
        live.partition.packing.pack(NAME)
    tell(live, START_MS + 2 * DAY_MS, settings(max_groups=3))
    assert looked(live)[0] == {"sum"}


def moved(live: Live, **changes: Any) -> bool:
    """Return whether the next cut is asked for after settings."""
    tell(live, START_MS + DAY_MS, settings(**changes))
    steps = list(live.partition.redefinition.renewing())
    return any(renewed is not None and renewed.cut_moved for renewed in steps)


@pytest.mark.parametrize("change", [{"max_groups": 2}, {"late_window_s": 60}], ids=str)
def test_no_cut_is_asked_for_that_settings_leave(change: dict[str, Any]) -> None:
    assert not moved(used("sum", START_MS + 1), **change)


@pytest.mark.parametrize(
    "change",
    [{"grace_s": 60}, {"close_grid_s": 1800}, {"close_elapsed": False}, {"revise_every_s": 7200}],
    ids=str,
)
def test_the_next_cut_is_asked_for_where_settings_move_it(change: dict[str, Any]) -> None:
    assert moved(used("sum", START_MS + 1), **change)


@pytest.mark.parametrize("ends", [True, False])
def test_who_had_days_is_watched_until_they_end(*, ends: bool) -> None:
    live = used("sum", START_MS + 1, first=settings(daily_records=True))
    if ends:
        assert moved(live, daily_records=False)
    with patch.object(live.partition.cuts, "schedule_grid") as scheduled:
        tell(live, START_MS + 2 * DAY_MS, settings(daily_records=not ends, grace_s=60))
        steps = list(live.partition.redefinition.renewing())
    # Nobody is told of twice.
    assert [each.cut_moved for each in steps if each is not None] == [True]
    assert scheduled.call_count == (not ends)


def test_no_plan_is_looked_at_for_days_that_are_over() -> None:
    live = used("balance", START_MS + 1, first=settings(daily_records=True))
    live.append(START_MS + HOUR_MS, settings())
    subscriptions, cuts = live.definitions.subscription_index, live.partition.cuts
    looks = list[int]()
    for done_ms in START_MS, START_MS + DAY_MS:
        live.partition.checkpoint.cut_ms = done_ms
        with patch.object(subscriptions, "plan_ids_of", return_value=()) as plans:
            assert cuts.next_first_day(NAME) == NEVER_MS
        looks.append(plans.call_count)
    assert looks == [1, 0]


def test_the_next_cut_of_what_is_corrected_is_asked_for() -> None:
    live = used("sum", START_MS + 1)
    with patch.object(live.partition.corrections.followed, "has_any", return_value=True):
        assert moved(live, max_groups=2)


def test_days_are_looked_at_for_another_grid() -> None:
    live = used("sum", START_MS + 1, first=settings(daily_records=True))
    tell(live, START_MS + DAY_MS, settings(daily_records=True, close_grid_s=1800))
    assert looked(live)[1] > 0


def test_who_has_no_subscription_is_looked_at_for_the_implicit_plan() -> None:
    live = used("sum", START_MS + 1)
    live.deliver([arrived("sum", 7, START_MS + 7, external_id="unknown", v="1", g="y")])
    tell(live, START_MS + DAY_MS, settings(implicit_plan=True))
    assert looked(live)[0] == {"sum"}


@pytest.mark.parametrize("implicit_plan", [True, False])
def test_who_has_no_subscription_is_told_where_there_ever_was_an_implicit_plan(
    *, implicit_plan: bool
) -> None:
    live, unknown = used("sum", START_MS + 1), "unknown"
    live.append(START_MS + 2, settings(implicit_plan=implicit_plan))
    live.append(START_MS + 3, settings())
    live.deliver([arrived("sum", 7, START_MS + 7, external_id=unknown, v="1", g="y")])
    concerned = set(live.partition.redirection.concerned(Impact(None, of_settings=True)))
    assert concerned == ({NAME, (ORG, unknown)} if implicit_plan else {NAME})


def test_who_had_a_subscription_is_looked_at_for_the_implicit_plan() -> None:
    live = used("sum", START_MS + 1)
    live.append(START_MS + HOUR_MS, commands.terminate_subscription(ORG, SUBSCRIPTION))
    assert looked(live) == (set(), 0)
    tell(live, START_MS + DAY_MS, settings(implicit_plan=True))
    assert looked(live) == (set(), 0)


def rewritten(live: Live, at_ms: int) -> None:
    (metric,) = live.definitions.metrics(ORG)
    record = commands.apply_history(
        ORG, metric_ids=[metric.id], from_ms=START_MS, to_ms=START_MS + WEEK_MS
    )
    live.append(at_ms, record)


def test_history_that_is_in_force_makes_nobody_looked_at() -> None:
    live, at_ms = used("sum", START_MS + 1), END_MS + DAY_MS
    rewritten(live, at_ms)
    live.close_until(at_ms)
    tell(live, at_ms + 1, settings(grace_s=90))
    assert looked(live) == (set(), 0)


@pytest.mark.parametrize("daily_records", [True, False])
def test_who_is_watched_waits_for_the_day_after_history(*, daily_records: bool) -> None:
    first = settings(daily_records=True) if daily_records else None
    live, at_ms = used("sum", START_MS + 1, first=first), END_MS + DAY_MS
    live.close_until(END_MS)
    rewritten(live, at_ms)
    moved = [each.name for each in entering_history(live.partition) if each and each.cut_moved]
    assert moved == ([(ORG, SUBSCRIPTION)] if daily_records else [])


def test_while_history_comes_into_force_all_are_looked_at() -> None:
    live, at_ms = used("sum", START_MS + 1), END_MS + DAY_MS
    live.close_until(END_MS)
    rewritten(live, at_ms)
    entering = entering_history(live.partition)
    next(entering)
    tell(live, at_ms + 1, settings(grace_s=90))
    assert looked(live)[1] > 0


def test_another_definition_of_the_same_look_is_looked_at() -> None:
    live, at_ms = used("sum", START_MS + 1), START_MS + DAY_MS
    tell(live, at_ms, settings(grace_s=90))
    edit = commands.update_charge(ORG, "plan", "sum", {"properties": {"amount": "1"}})
    tell(live, at_ms + 1, edit)
    assert looked(live)[0] == {"sum"}


def test_definitions_that_are_forgotten_one_by_one_are_looked_at() -> None:
    live = used("sum", START_MS + 1)
    tell(live, START_MS + DAY_MS, settings(grace_s=90))
    deleted = commands.delete_billable_metric(ORG, "sum")
    tell(live, START_MS + DAY_MS + 1, deleted, Impact(None))
    assert looked(live)[0] == {"sum"}


def test_settings_of_the_millisecond_of_what_was_looked_at_are_looked_at() -> None:
    """Nobody could tell later under which of them cells stand."""
    live, at_ms = used("sum", START_MS + 1), START_MS + DAY_MS
    tell(
        live,
        at_ms,
        commands.update_billable_metric(ORG, "sum", metric_body("sum", name="n")),
        Impact(ORG, codes=frozenset({"sum"})),
    )
    looked(live)
    tell(live, at_ms, settings(grace_s=90))
    assert looked(live)[1] > 0


def test_settings_of_the_millisecond_of_a_restore_are_looked_at() -> None:
    """Cells may show a definition of then, and look-ups show the settings with it."""
    live, at_ms = used("sum", START_MS + 1), START_MS + DAY_MS
    live.append(at_ms, commands.upsert_customer(ORG, {"external_id": "customer", "name": "n"}))
    live.partition.checkpoint.definitions_ms = at_ms
    live.flush()
    told = settings(grace_s=90, daily_records=True)
    applied = apply(live.definitions, told.encode(), at_ms, live.definitions.offset)
    assert isinstance(applied, Applied)
    assert applied.impact is not None
    untold = (0, at_ms, applied.impact)
    live.partition = live.changelog.restored(live.definitions, [untold])
    assert looked(live)[1] > 0


def test_a_late_event_of_a_recurring_metric_counts_from_the_next_period_on() -> None:
    """It came before the settings, and the revision that shows it comes after them."""
    live = used("balance", START_MS + 1, first=settings(grace_s=0))
    live.close_until(END_MS)
    fold(live, "balance", END_MS + WEEK_MS - HOUR_MS // 2)
    tell(live, END_MS + WEEK_MS, settings(grace_s=1800))
    assert looked(live)[1] > 0


def test_cells_of_final_periods_are_forgotten_by_routes_that_rest() -> None:
    live = used("sum", START_MS + 1, first=settings(late_window_s=DAY_MS // 1000))
    live.close_until(END_MS + 2 * DAY_MS)
    live.partition.checkpoint.cut_ms = END_MS + 2 * DAY_MS
    tell(live, END_MS + 2 * DAY_MS, settings(grace_s=60, late_window_s=DAY_MS // 1000))
    assert looked(live) == (set(), 0)
    assert live.forget(NAME)


@pytest.mark.parametrize(("after_ms", "compiled"), [(1_000, 1), (HOUR_MS, 0)])
def test_who_began_anew_is_left_alone_once_what_was_before_is_fixed(
    after_ms: int, compiled: int
) -> None:
    """What ended is due at the next grid cut; settings before it may have it due later."""
    live, ends_ms = used("count", START_MS + 1), START_MS + DAY_MS + 1
    anew = commands.create_subscription(ORG, subscription_body(subscription_at=None))
    live.append(ends_ms, commands.terminate_subscription(ORG, SUBSCRIPTION))
    live.append(ends_ms + 1, anew)
    at_ms = ends_ms + after_ms
    for number in range(3):
        live.deliver([arrived("count", 10 + number, at_ms, v="1")])
    tell(live, at_ms, settings(grace_s=90))
    assert looked(live) == (set(), compiled)
