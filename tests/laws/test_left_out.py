"""A law of what a refold for definitions leaves out: with all events it comes to the same."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

import pytest
from msgspec.structs import replace

from app.definitions import commands
from app.definitions.command import Command
from app.wire.arrivals import Arrival
from tables.closing.close import next_cut
from tests.laws.test_forgetting import SETTINGS, metric_ids_of, other_waits, rewriting
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
from tests.world.partition import Live
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


class Forgetful(Live):
    """A partition that forgets after each cut."""

    forgets = True

    def __init__(self, definitions: list[CommandAt]):
        super().__init__(definitions)
        self.define_all()

    def close_until(self, at_ms: int) -> None:
        """Publish every cut up to a time, and forget what is final by then."""
        while (cut_ms := next_cut(self.partition, NAME)) <= at_ms:
            super().close_until(cut_ms)
            if self.forgets:
                self.forget(NAME)
        super().close_until(at_ms)


class Whole(Forgetful):
    """A refold of it folds all events of a meter key."""

    keeps_forgotten = False


class Keeping(Forgetful):
    """It forgets nothing."""

    forgets = False


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
                return [other_waits(log)]
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


def play(twins: Iterable[Forgetful], definitions: list[CommandAt], log: Log) -> int:
    """Play a log; return until when cuts were taken."""
    choose = log.choose
    changes = Changes(choose, definitions)
    for number in range(50):
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
    log = Log(seed, CODES if seed % 4 else (*CODES, *RECURRING))
    definitions = definitions_of(log.codes, SETTINGS)
    other = commands.create_plan(ORG, plan_body(log.codes, code="other", interval="monthly"))
    definitions.append(CommandAt(definitions[-1].append_time_ms, len(definitions), other))
    some, whole, keeping = Forgetful(definitions), Whole(definitions), Keeping(definitions)
    some.refolds_apart = seed % 2 == 1
    at_ms = play((some, whole, keeping), definitions, log)
    assert some.values() == whole.values() == keeping.values()
    assert differences(some) == []
    ours, theirs = (past_usage(live.partition, NAME, at_ms) for live in (some, keeping))
    assert [one.rows for one in ours] == [one.rows for one in theirs]
    for live in (some, whole):
        live.forget(NAME)
    # What a refold brought back may stay, as the definitions ask more of it by now.
    assert some.cells().items() <= whole.cells().items()
