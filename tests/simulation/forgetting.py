"""Periods that become final soon, and what reaches them afterwards: their cells are forgotten."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import msgspec

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import SettingsRecord
from tests.simulation.steps import Correction, Define, Event, Pass, Script, Several, Step
from tests.world.clock import DAY_MS, HOUR_MS, WEEK_MS
from tests.world.definitions import ORG

REGROUPING_FROM = 6_010_000
"""Seeds before it have the scripts they always had."""

LISTING_FROM = 8_500_000
"""Seeds from here on have more charges without rows whose records list single events."""

_ROWS = "presentation_group_keys"
_LISTING = (
    "per_transaction_min_amount",
    "free_units_per_events",
    "free_units_per_total_aggregation",
)


def with_forgetting(script: Script, seed: int) -> Script:
    """The same with short late windows, long pauses, and more that is about old events."""
    choose = random.Random(f"forgetting {seed}")
    listed = 0.5 if seed >= LISTING_FROM else 0.0
    steps = [_plainer(step, choose, listed) for step in script.steps]
    begin = next((at for at, step in enumerate(steps) if isinstance(step, Event)), len(steps))
    for _ in range(choose.randint(4, 9)):
        pause = Pass(choose.choice((DAY_MS, WEEK_MS, 2 * WEEK_MS)), choose.choice((1, HOUR_MS)))
        steps.insert(choose.randint(begin, len(steps)), pause)
    for number in range(choose.randint(3, 10)):
        at = choose.randint((begin + len(steps)) // 2, len(steps))
        known = list(_events(steps[:at]))
        if known:
            steps.insert(at, _old(choose, choose.choice(known), number))
    for _ in range(choose.randint(2, 8) if seed >= REGROUPING_FROM else 0):
        at = choose.randint((begin + len(steps)) // 2, len(steps))
        steps.insert(at, _regrouped(choose, steps[:at]))
    return script._replace(steps=steps)


def _regrouped(choose: random.Random, steps: Iterable[Step]) -> Step:
    """A charge of a plan that folds otherwise from here on: what is final stays as it is."""
    defined = [step for step in steps if isinstance(step, Define) and step.kind == "create_plan"]
    plan = Command.decode(choose.choice(defined).value).payload["plan"]
    codes = [charge["code"] for charge in plan.get("charges") or ()] or ["none"]
    properties: dict[str, Any] = {"amount": "1"}
    if choose.random() < 0.7:
        properties["pricing_group_keys"] = [choose.choice("gu")]
    body = {"properties": properties}
    made = commands.update_charge(ORG, plan["code"], choose.choice(codes), body)
    return Define(made.type, made.encode())


def _old(choose: random.Random, known: Event, number: int) -> Step:
    """Something about an event of long ago, or another one beside it."""
    place = choose.choice((None, known.place))
    match choose.randrange(5):
        case 0:
            return Correction(known.transaction_id, f"f{number}", known.external_id, None, place)
        case 1 | 2:
            to = known._replace(
                lag_ms=choose.randint(0, 60 * DAY_MS),
                properties={**known.properties, "v": str(choose.randint(1, 9))},
            )
            return Correction(known.transaction_id, f"f{number}", known.external_id, to, place)
        case 3:
            return known._replace(place=place)
        case _:
            return known._replace(
                transaction_id=f"f{number}",
                lag_ms=choose.randint(0, 60 * DAY_MS),
                admitted=choose.random() < 0.8,
            )


def _events(steps: Iterable[Step]) -> Iterable[Event]:
    for step in steps:
        match step:
            case Event():
                yield step
            case Several(elements):
                yield from elements


def _plainer(step: Step, choose: random.Random, listed: float) -> Step:
    """Settings with a short late window; charges mostly with nothing beside their figures.

    `listed`: how many of those list their single events yet.
    """
    if not isinstance(step, Define):
        return step
    command = Command.decode(step.value)
    if step.kind == "settings":
        record = msgspec.convert(command.payload, SettingsRecord)
        late_window_s = choose.choice((0, 3_600, 86_400, 3 * 86_400))
        made = commands.set_settings(msgspec.structs.replace(record, late_window_s=late_window_s))
        return Define(made.type, made.encode())
    if step.kind not in ("create_plan", "update_plan"):
        return step
    for charge in command.payload["plan"].get("charges") or ():
        if choose.random() < 0.85:
            _make_plain(charge, lists=listed > 0 and choose.random() < listed)
    return Define(step.kind, command.encode())


def _make_plain(charge: dict[str, Any], *, lists: bool) -> None:
    properties = charge.get("properties", {})
    properties.pop(_ROWS, None)
    if lists:
        return
    if charge.get("charge_model") == "percentage":
        charge["charge_model"] = "standard"
    for name in _LISTING:
        properties.pop(name, None)
