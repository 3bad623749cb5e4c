"""Rewritten: whom a history record leaves alone."""

from __future__ import annotations

from itertools import islice
from unittest.mock import patch

import pytest

from app.definitions import commands
from app.definitions.periods import NEVER_MS
from tables.closing.close import entering_history
from tables.partition.redirection import refolds_of
from tables.partition.rewritten import MOST_CHANGES
from tests.tables.partition.test_new_settings import END_MS, NAME, used
from tests.world.clock import DAY_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, metric_body, plan_body, subscription_body
from tests.world.events import arrived
from tests.world.partition import Live

UNGROUPED = commands.update_charge(ORG, "plan", "sum", {"properties": {"amount": "1"}})


def entered(
    live: Live, from_ms: int = START_MS, at_ms: int = END_MS + DAY_MS
) -> tuple[set[str], int]:
    """Put a history record in force; return codes to refold, and how often it compiled."""
    append_record(live, from_ms, at_ms)
    routes = live.partition.routes
    with patch.object(routes, "compile", wraps=routes.compile) as compiled:
        keys = refolds_of(entering_history(live.partition))
    live.refold(keys)
    return {code for _, _, code in keys}, compiled.call_count


def append_record(live: Live, from_ms: int = START_MS, at_ms: int = END_MS + DAY_MS) -> None:
    metric = live.definitions.metrics(ORG)[-1]
    record = commands.apply_history(
        ORG, metric_ids=[metric.id], from_ms=from_ms, to_ms=from_ms + WEEK_MS
    )
    live.close_until(at_ms - 1)
    live.append(at_ms, record)
    live.define_until(at_ms)


@pytest.mark.parametrize("packs", [False, True])
@pytest.mark.parametrize("code", ["sum", "balance"])
def test_nothing_is_compiled_for_charges_that_never_changed(code: str, packs: bool) -> None:
    live = used(code, START_MS + 1)
    live.append(START_MS + DAY_MS, commands.create_plan(ORG, plan_body([code], code="other")))
    live.flush()
    if packs:
        live.partition.packing.pack(NAME)
    assert entered(live) == (set(), 0)


@pytest.mark.parametrize("packs", [False, True])
def test_who_has_other_charges_is_looked_at(packs: bool) -> None:
    live = used("sum", START_MS + 1)
    live.close_until(END_MS)
    live.append(END_MS + 1, UNGROUPED)
    live.flush()
    if packs:
        live.partition.packing.pack(NAME)
    assert entered(live)[0] == {"sum"}


def test_who_rests_waits_for_the_cut_that_shows_the_record_of_its_own_periods() -> None:
    """The month of the one runs on, the week of the others is over."""
    live = used("sum", START_MS + 1)
    live.append(START_MS + 2, commands.create_plan(ORG, plan_body(["sum"], code="other")))
    names = [NAME]
    live.append(START_MS + 3, commands.update_plan(ORG, "other", {"interval": "monthly"}))
    for number, plan_code in enumerate(("other", "plan")):
        body = subscription_body(external_id=f"more{number}", plan_code=plan_code)
        live.append(START_MS + 4, commands.create_subscription(ORG, body))
        names.append((ORG, f"more{number}"))
    at_ms = START_MS + WEEK_MS + DAY_MS
    sent = [
        arrived("sum", 9 + n, at_ms, at_ms, external_id=external_id, v="1", g="x")
        for n, (_, external_id) in enumerate(names)
    ]
    live.deliver(sent)
    live.close_until(at_ms + WEEK_MS)
    live.flush()
    for name in names:
        live.partition.packing.pack(name)
    assert not any(map(live.partition.timelines.has, names))
    entered(live, START_MS + WEEK_MS, at_ms + WEEK_MS + 2)
    waits = [bool(live.partition.cuts.late.of(name)) for name in names]
    assert waits == [True, False, True]


def test_once_a_record_is_in_force_its_cut_is_waited_for_however_early_it_ended() -> None:
    """A rebalance may end it after any step; the partition may come back as it was."""
    live = used("sum", START_MS + 1)
    append_record(live)
    in_force = list[bool]()
    for steps in range(1, 100):
        entering = entering_history(live.partition)
        whole = len(list(islice(entering, steps))) < steps
        entering.close()
        in_force.append(live.partition.standing.next_history_ms() == NEVER_MS)
        assert not in_force[-1] or live.partition.cuts.late.of(NAME)
        if whole:
            break
    assert not in_force[0]
    assert in_force[-1]


def test_charges_that_were_others_for_a_while_are_looked_at() -> None:
    live = used("sum", START_MS + 1, first=UNGROUPED)
    live.close_until(END_MS)
    grouped = {"properties": {"amount": "1", "pricing_group_keys": ["g"]}}
    live.append(END_MS + 1, commands.update_charge(ORG, "plan", "sum", grouped))
    assert entered(live)[0] == {"sum"}


def test_who_got_charges_of_their_own_is_looked_at() -> None:
    live = used("sum", START_MS + 1)
    named = commands.SubscriptionCharge(ORG, SUBSCRIPTION, "sum")
    own = commands.update_subscription_charge(named, {"properties": {"amount": "1"}})
    live.append(START_MS + 2, own)
    assert entered(live)[1] > 0


def test_a_plan_that_changed_often_is_looked_at() -> None:
    live = used("sum", START_MS + 1)
    live.append(START_MS + 1, commands.create_billable_metric(ORG, metric_body("count")))
    (charge,) = plan_body(["count"])["charges"]
    live.append(START_MS + 2, commands.create_charge(ORG, "plan", charge))
    for number in range(MOST_CHANGES):
        body = {"properties": {"amount": str(number)}}
        live.append(START_MS + 3 + number, commands.update_charge(ORG, "plan", "count", body))
    assert entered(live)[1] > 0


@pytest.mark.parametrize("packs", [False, True])
def test_a_late_event_has_the_charges_of_the_record(packs: bool) -> None:
    """All events before it lie before the range of the record."""
    live = used("sum", START_MS + 1)
    live.close_until(END_MS + WEEK_MS)
    live.append(END_MS + WEEK_MS + 1, UNGROUPED)
    live.flush()
    if packs:
        live.partition.packing.pack(NAME)
    assert entered(live, END_MS, END_MS + WEEK_MS + DAY_MS) == (set(), 0)
    at_ms = END_MS + WEEK_MS + 2 * DAY_MS
    live.deliver([arrived("sum", 8 + n, END_MS + 1, at_ms, v="1", g="yz"[n]) for n in (0, 1)])
    live.close_until(at_ms + DAY_MS)
    told = [body for body in live.bodies() if body["type"] == "usage.recorded"]
    assert [(body["grouped_by"], body["events_count"]) for body in told] == [
        ({"g": "x"}, 1),
        (None, 2),
    ]


def test_of_what_recurs_all_are_looked_at() -> None:
    live = used("balance", START_MS + 1)
    live.close_until(END_MS + WEEK_MS)
    edit = commands.update_charge(
        ORG, "plan", "balance", {"properties": {"amount": "1", "pricing_group_keys": ["g"]}}
    )
    live.append(END_MS + WEEK_MS + 1, edit)
    assert entered(live, END_MS, END_MS + WEEK_MS + DAY_MS)[0] == {"balance"}
