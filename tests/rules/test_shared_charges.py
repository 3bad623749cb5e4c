"""Charges that are put together once for all who have a plan: under the definitions of now."""

from __future__ import annotations

from unittest.mock import patch

import pytest

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.versions import Versions
from app.wire.arrivals import Arrival
from tables.routing import plan
from tables.routing.period_charges import charges_in_force
from tables.routing.plan import CodeCharges
from tests.world.clock import DAY_MS, START_MS
from tests.world.definitions import (
    ORG,
    SUBSCRIPTION,
    definitions_of,
    metric_body,
    plan_body,
    subscription_body,
)
from tests.world.events import arrived, event
from tests.world.partition import Live

NOW_MS = START_MS + DAY_MS


def defined() -> Live:
    live = Live(definitions_of(["sum"]))
    live.define_all()
    return live


def subscribe(live: Live, name: str) -> None:
    live.append(NOW_MS, commands.create_subscription(ORG, subscription_body(external_id=name)))


def send(live: Live, name: str) -> None:
    number = len(live.arrived())
    live.deliver([arrived("sum", number, NOW_MS, NOW_MS + number, external_id=name, v="1", g="x")])


@pytest.mark.parametrize(
    "command",
    [
        commands.update_billable_metric(
            ORG, "sum", metric_body("sum", filters=[{"key": "g", "values": ["x"]}])
        ),
        commands.update_plan(ORG, "plan", plan_body(["sum"], presents=True)),
    ],
    ids=["metric", "plan"],
)
def test_who_begins_after_a_change_has_it(command: Command) -> None:
    live = defined()
    for name in ("early", "late"):
        subscribe(live, name)
    send(live, "early")
    live.append(NOW_MS + DAY_MS, command)
    send(live, "late")
    assert live.definitions.records.times_ms[-1] == NOW_MS + DAY_MS, "the change is taken"
    (changed,) = live.definitions.plans(ORG)
    wanted = live.definitions.metric(ORG, "sum"), changed.charges[0]
    for name in ("late", "early"):
        spans = live.partition.packing.route_of((ORG, name, "sum")).spans
        assert wanted in [(span.fold.metric, span.fold.charge) for span in spans]


@pytest.mark.parametrize("history", [False, True])
def test_they_are_put_together_once_however_many_subscriptions_are_created(history: bool) -> None:
    for count in (10, 100):
        live = defined()
        if history:
            (metric,) = live.definitions.metrics(ORG)
            record = commands.apply_history(
                ORG, metric_ids=[metric.id], from_ms=START_MS, to_ms=NOW_MS
            )
            live.append(NOW_MS, record)
        with patch.object(CodeCharges, "__init__", autospec=True, side_effect=_made) as making:
            for number in range(count):
                subscribe(live, f"sub{number}")
                send(live, f"sub{number}")
        assert making.call_count == 1


_made = CodeCharges.__init__


def test_all_codes_of_a_plan_look_at_its_charges_once() -> None:
    """Each looked at all: a first subscriber took a tenth of a second for 500 metrics."""
    codes = ("sum", "count", "max", "unique")
    live = Live(definitions_of(codes))
    live.define_all()
    with (
        patch.object(plan, "changes_ms", wraps=plan.changes_ms) as changes,
        patch.object(plan, "charges_in_force", wraps=charges_in_force) as in_force,
    ):
        routes = [live.partition.packing.route_of((ORG, SUBSCRIPTION, code)) for code in codes]
    charged = [{span.fold.metric.code for span in route.spans} for route in routes]
    assert charged == [{code} for code in codes]
    assert (changes.call_count, in_force.call_count) == (1, 1)


def test_members_are_asked_for_as_soon_as_a_metric_has_any() -> None:
    live = defined()
    for code in ("unique", "seats"):
        sent = event(code, "t", NOW_MS, u="a", g="x")
        arrived = [((ORG, SUBSCRIPTION, code), [Arrival(sent, ORG, NOW_MS, 0, 0, 0)])]
        with patch("tables.partition.partition.members_wanted", return_value=[]) as asked:
            live.partition.missing_members(arrived)
            assert asked.call_count == 0
            live.append(NOW_MS, commands.create_billable_metric(ORG, metric_body(code)))
            live.partition.missing_members(arrived)
            assert asked.call_count == 1


def test_which_codes_have_members_is_not_looked_for_among_all_metrics() -> None:
    live = defined()
    for number in range(10):
        body = {**metric_body("unique"), "code": f"unique{number}"}
        live.append(NOW_MS, commands.create_billable_metric(ORG, body))
    with patch.object(Versions, "all", autospec=True, side_effect=_all) as walking:
        live.partition.missing_members([((ORG, "nobody", "sum"), [])])
    assert walking.call_count == 0


_all = Versions.all
