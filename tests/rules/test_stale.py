"""Usage between a definition and the swap of its refold: as it was, in the groups it was in."""

from __future__ import annotations

from typing import Any

import pytest

from app.api.usage.usage_json import current_usage_json
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.outcome import Applied
from app.meter.usage import PeriodUsage, Regrouping
from app.wire.arrivals import Arrival
from tables.partition.redirection import refolds_of
from tables.reading.tracing import TracedArrival
from tables.reading.usage import current_usage
from tests.world.clock import DAY_MS, START_MS
from tests.world.definitions import ORG, SUBSCRIPTION, CommandAt, definitions_of, metric_body
from tests.world.events import event
from tests.world.partition import Live
from tests.world.regrouped import answered, merged

NAME = (ORG, SUBSCRIPTION)
AT_MS = START_MS + DAY_MS
WANTED = (
    Regrouping(),
    Regrouping(skip_grouping=True),
    Regrouping({"g": frozenset({"x"})}),
    Regrouping({"h": frozenset({"p"})}),
    Regrouping({"operation_type": frozenset({"add"})}),
    Regrouping(full=True),
)


def shown(live: Live, asked: PeriodUsage | None = None) -> list[dict[str, Any]]:
    """Current usage, plain and regrouped in several ways; `asked`: as somebody knows it."""
    answers = []
    for wanted in WANTED:
        usage = asked or current_usage(live.partition, NAME, AT_MS)
        assert usage is not None
        if wanted.asks():
            taken = [TracedArrival("taken", counted=arrival) for arrival in live.arrived()]
            usage = answered(merged(live.partition, usage, wanted, AT_MS), taken)
        answers.append(current_usage_json(usage))
    return answers


def used(code: str, definitions: list[CommandAt]) -> Live:
    live = Live(definitions)
    live.define_all()
    for offset, group in enumerate("xyz"):
        at_ms = START_MS + offset
        sent = event(code, f"t{offset}", at_ms, v="1", g=group, h="p", u="a", operation_type="add")
        live.deliver([Arrival(sent, ORG, at_ms, 0, offset, 0)])
    return live


def apply_without_refold(live: Live, command: Command) -> None:
    definitions, partition = live.definitions, live.partition
    applied = apply(definitions, command.encode(), AT_MS, definitions.offset)
    assert isinstance(applied, Applied)
    assert applied.impact is not None
    partition.redefinition.tell(applied.impact)
    meter_keys = refolds_of(partition.redefinition.renewing())
    assert meter_keys
    partition.stale.queue(meter_keys)


CHANGES = pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("sum", {"properties": {"amount": "1", "pricing_group_keys": ["g", "h"]}}),
        ("sum", {"properties": {"amount": "1", "pricing_group_keys": ["h"]}}),
        ("sum", {"properties": {"amount": "1"}}),
        ("filtered", {"filters": []}),
        ("filtered", {"filters": [{"values": {"g": ["y"]}, "properties": {"amount": "1"}}]}),
    ],
    ids=["one more key", "another key", "no key", "no filter", "another filter"],
)


def changing(definitions: list[CommandAt], changes: dict[str, Any]) -> Command:
    (plan,) = [line.command for line in definitions if line.command.type == "create_plan"]
    (made,) = plan.payload["plan"]["charges"]
    charge = {key: value for key, value in made.items() if key != "new_id"}
    changed = {**charge, "id": made["new_id"], **changes}
    return commands.update_plan(ORG, "plan", {"charges": [changed]})


@CHANGES
def test_what_is_swapped_before_somebody_goes_on_is_shown(
    code: str, changes: dict[str, Any]
) -> None:
    """Usage is asked for and then regrouped; a refold may end in between."""
    definitions = definitions_of([code])
    live = used(code, definitions)
    asked = current_usage(live.partition, NAME, AT_MS)
    live.append(AT_MS - 1, changing(definitions, changes))
    live.define_all()
    live.refold_all()
    now = shown(live)
    assert shown(live, asked)[1:] == now[1:] != []


@CHANGES
def test_of_a_charge(code: str, changes: dict[str, Any]) -> None:
    definitions = definitions_of([code])
    live = used(code, definitions)
    before = shown(live)
    apply_without_refold(live, changing(definitions, changes))
    stale = shown(live)
    assert [answer.pop("stale") for answer in stale] == [True for _ in WANTED]
    assert stale == [{k: v for k, v in answer.items() if k != "stale"} for answer in before]


def test_of_the_implicit_plan() -> None:
    settings = SettingsRecord(close_grid_s=60, revise_every_s=3600, implicit_plan=True)
    live = used("filtered", definitions_of(["filtered"], settings)[:2])
    before = shown(live)
    fewer = metric_body("filtered", filters=[{"key": "u", "values": ["a"]}])
    apply_without_refold(live, commands.update_billable_metric(ORG, "filtered", fewer))
    stale = shown(live)
    assert [answer.pop("stale") for answer in stale] == [True for _ in WANTED]
    assert stale == [{k: v for k, v in answer.items() if k != "stale"} for answer in before]
