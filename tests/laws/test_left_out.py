"""A law of what a refold for definitions leaves out: with all events it comes to the same."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.command import Command
from app.wire.arrivals import Arrival, CorrectionArrival
from tests.laws.test_forgetting import (
    SETTINGS,
    Forgetful,
    Keeping,
    metric_ids_of,
    other_waits,
    rewriting,
)
from tests.laws.test_repairs import Log
from tests.world.clock import DAY_MS, START_MS, WEEK_MS
from tests.world.definitions import (
    ORG,
    SUBSCRIPTION,
    CommandAt,
    definitions_of,
    metric_body,
    plan_body,
    presented_by,
    subscription_body,
)
from tests.world.past import past_usage
from tests.world.profiles import count
from tests.world.verified import differences

CODES = ("count", "sum", "max", "latest", "average", "filtered", "unique", "visitors")
RECURRING = ("balance", "level", "heads")
GROUPINGS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"pricing_group_keys": ["g"]},
    {"pricing_group_keys": ["u"]},
    presented_by("u"),
)
NAME = (ORG, SUBSCRIPTION)
SEEDS = count(32)


class Whole(Forgetful):
    """A refold of it folds all events of a meter key."""

    keeps_forgotten = False


class Changes:
    """Definitions that change what is to come, and sometimes what was."""

    def __init__(self, choose: Random, definitions: list[CommandAt]):
        self._choose = choose
        self._metric_ids = metric_ids_of(definitions)
        plan = next(each.command for each in definitions if each.command.type == "create_plan")
        self._charges = plan.payload["plan"]["charges"]

    def next(self, log: Log) -> list[Command]:
        """Return the next one."""
        choose, code = self._choose, self._choose.choice(log.codes)
        match choose.randrange(12):
            case 0:
                return rewriting(log, self._metric_ids)
            case 1:
                return [other_waits(log, SETTINGS)]
            case 2:
                zone = choose.choice(("UTC", "Asia/Tokyo", "America/New_York"))
                customer: dict[str, Any] = {"external_id": "customer", "timezone": zone}
                return [commands.upsert_customer(ORG, customer)]
            case 3:
                edit = metric_body(code, rounding_function=choose.choice(("round", "ceil")))
                return [commands.update_billable_metric(ORG, code, edit)]
            case 4:
                values = {"g": [choose.choice("xyz")]}
                return [commands.create_charge_filter(ORG, "plan", code, {"values": values})]
            case 5:
                overrides = {"charges": [self._regrouped(each) for each in self._charges[:3]]}
                own = {"plan_overrides": overrides}
                return [commands.update_subscription(ORG, SUBSCRIPTION, own)]
            case 6:
                return [commands.terminate_subscription(ORG, SUBSCRIPTION)]
            case 7:
                plan = choose.choice(("plan", "other"))
                return [commands.create_subscription(ORG, subscription_body(plan_code=plan))]
            case 8:
                (new,) = plan_body([code])["charges"]
                new |= {"code": f"{code}-{choose.randrange(2)}"}
                return [commands.create_charge(ORG, "plan", new)]
            case _:
                body = {"properties": {"amount": "1", **choose.choice(GROUPINGS)}}
                return [commands.update_charge(ORG, "plan", code, body)]

    def _regrouped(self, charge: dict[str, Any]) -> dict[str, Any]:
        properties = {"amount": "1", **self._choose.choice(GROUPINGS)}
        return {"id": charge["new_id"], "properties": properties}


def correction_of(log: Log, events: int) -> CorrectionArrival | None:
    """Draw a correction of one of so many events, sometimes."""
    found = log.next()
    if isinstance(found, Arrival):
        return None
    name = f"t{log.choose.randrange(events)}"
    amended = found.correction.event
    if amended is not None:
        # Dated when it may have been, or long before.
        back_ms = log.choose.choice((0, 0, WEEK_MS, 3 * WEEK_MS))
        at_ms = None if amended.timestamp_ms is None else amended.timestamp_ms - back_ms
        amended = replace(amended, transaction_id=name, timestamp_ms=at_ms)
    correction = replace(found.correction, transaction_id=name, event=amended)
    return found._replace(correction=correction)


def play(
    twins: Iterable[Forgetful], definitions: list[CommandAt], log: Log, *, corrects: bool = False
) -> int:
    """Play a log; return until when cuts were taken."""
    choose = log.choose
    changes = Changes(choose, definitions)
    for number in range(50):
        correction = correction_of(log, number) if corrects and number and number < 30 else None
        each = log.next()
        while not isinstance(each, Arrival):
            each = log.next()
        # Few are told twice.
        name = f"t{number if choose.random() < 0.9 else choose.randrange(12)}"
        event = replace(each.event, transaction_id=name)
        if choose.random() < 0.1:
            at_ms = choose.randrange(START_MS - 2 * WEEK_MS, log.now_ms + 5 * WEEK_MS)
            event = replace(event, timestamp_ms=at_ms)
        each = replace(each, event=event, admitted=choose.random() < 0.3)
        found = changes.next(log) if choose.random() < 0.3 else []
        flushed, restarted = choose.random() < 0.3, choose.random() < 0.05
        for live in twins:
            live.close_until(log.now_ms - 1)
            live.define_until(log.now_ms)
            live.deliver([each])
            live.mend()
            if correction is not None:
                live.correct(correction._replace(append_time_ms=log.now_ms))
            for command in found:
                live.append(log.now_ms, command)
            if flushed:
                live.flush()
            if restarted:
                live.restart()
        if choose.random() < 0.3:
            log.now_ms += choose.choice([DAY_MS, WEEK_MS, 2 * WEEK_MS])
    end_ms = log.now_ms + 6 * WEEK_MS
    for live in twins:
        live.close_until(end_ms)
    return end_ms


@pytest.mark.parametrize("seed", range(SEEDS))
def test_it_is_what_all_events_come_to(seed: int) -> None:
    """Also where some events were corrected, once that is long ago."""
    log = Log(seed, CODES if seed % 4 else (*CODES, *RECURRING))
    definitions = definitions_of(log.codes, SETTINGS)
    other = commands.create_plan(ORG, plan_body(log.codes, code="other", interval="monthly"))
    definitions.append(CommandAt(definitions[-1].append_time_ms, len(definitions), other))
    some, whole, keeping = Forgetful(definitions), Whole(definitions), Keeping(definitions)
    some.refolds_apart = seed % 2 == 1
    at_ms = play((some, whole, keeping), definitions, log, corrects=seed % 3 == 2)
    assert some.values() == whole.values() == keeping.values()
    assert differences(some) == []
    ours, theirs = (past_usage(live.partition, NAME, at_ms) for live in (some, keeping))
    assert [one.rows for one in ours] == [one.rows for one in theirs]
    for live in (some, whole):
        live.forget(NAME)
    # What a refold brought back may stay, as the definitions ask more of it by now.
    assert some.cells().items() <= whole.cells().items()
