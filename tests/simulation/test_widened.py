"""Seeds from a million on: what they have beside, how often, and what is seen of it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

import msgspec
import pytest

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.judging import Judging
from app.definitions.model import SettingsRecord
from app.wire.arrivals import Arrival, arrivals_of
from tests.simulation import play as playing
from tests.simulation.check import Outcome, arrivals_in
from tests.simulation.play import play
from tests.simulation.rules import broken_rules
from tests.simulation.script import WIDENED_FROM, script_of, with_own_ids
from tests.simulation.steps import (
    Ask,
    AtOnce,
    Binary,
    Correction,
    Define,
    Event,
    Number,
    Pass,
    Priced,
    Script,
    Several,
    Step,
)
from tests.simulation.test_simulation import FOUND, base, used
from tests.simulation.widened import GREATEST
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, plan_body, subscription_body


def test_seeds_before_have_the_scripts_they_always_had() -> None:
    """A number drawn more or less, and none of those that found something would find it again."""
    scripts = [script_of(seed) for seed in (*FOUND, 0, WIDENED_FROM - 1)]
    drawn = [
        (script[:2], script[3:], [_drawn(step) for step in script.steps]) for script in scripts
    ]
    assert sha256(repr(drawn).encode()).hexdigest()[:32] == "22bb449efa8caeb175c272241f2a8eb6"


def _drawn(step: Step) -> object:
    # How a command is written in the log may change.
    return step.kind if isinstance(step, Define) else step


SCRIPTS = 200


def test_widened_seeds_often_have_what_they_may_have() -> None:
    scripts = [script_of(WIDENED_FROM + number) for number in range(SCRIPTS)]
    held = Counter(what for script in scripts for what in set(_held(script)))
    few = {what: held[what] for what in _WANTED if not 0.05 < held[what] / SCRIPTS < 0.7}
    assert not few, f"of {SCRIPTS} scripts"
    assert sum(len(set(_held(script))) < 5 for script in scripts) > SCRIPTS / 5
    assert {script.faults for script in scripts} == {20}


_WANTED = (
    *("producer_trust", "producers_may_correct", "producers_may_admit"),
    *("customer made again by upsert", "customer made again by subscription"),
    *("revise_every_s lowered", "revise_every_s raised", "close_grid_s", "grace_s"),
    *("late_policy", "late_window_s", "max_groups", "close_elapsed", "implicit_plan"),
    *("timezone after a plan change", "several commands at once", "at the end of a period"),
    *("spelled numbers", "ties", "groups changed", "asked", "null header", "wished end"),
    *("expression", "priced", "organization", "overrides"),
)


def _held(script: Script) -> Iterator[str]:
    """What of the new there is in a script."""
    for step in script.steps:
        match step:
            case AtOnce(elements, grid_ms):
                texts = {repr(e.properties.get("v")) for e in elements if isinstance(e, Event)}
                if len(texts & {repr(text) for text in GREATEST}) > 1:
                    yield "ties"
                if sum(isinstance(element, Define) for element in elements) > 1:
                    yield "several commands at once"
                if grid_ms > 1:
                    yield "at the end of a period"
            case Ask():
                yield "asked"
            case Priced():
                yield "priced"
            case Binary(_, nulls) if nulls:
                yield "null header"
        events = list(_events(step))
        if any(isinstance(v, Number) for event in events for v in event.properties.values()):
            yield "spelled numbers"
    yield from _defined(_commands(script.steps))


def _events(step: Step) -> Iterable[Event]:
    match step:
        case Event():
            return [step]
        case Binary(event) | Priced(event):
            return [event]
        case Several(elements):
            return elements
        case AtOnce(elements):
            return [element for element in elements if isinstance(element, Event)]
        case Correction() if step.to is not None:
            return [step.to]
    return []


def _commands(steps: Iterable[Step]) -> Iterator[Command]:
    for step in steps:
        for each in step.elements if isinstance(step, AtOnce) else (step,):
            if isinstance(each, Define):
                yield Command.decode(each.value)


def _defined(made: Iterable[Command]) -> Iterator[str]:
    gone: set[str] = set()
    plans: dict[str, str] = {}
    settings: dict[str, Any] = {}
    replaced = False
    for command in made:
        payload = command.payload
        match command.type:
            case "delete_customer":
                gone.add(payload["external_id"])
            case "upsert_customer":
                if payload["customer"]["external_id"] in gone:
                    yield "customer made again by upsert"
                if replaced and "timezone" in payload["customer"]:
                    yield "timezone after a plan change"
            case "create_subscription":
                body = payload["subscription"]
                if body["external_customer_id"] in gone:
                    yield "customer made again by subscription"
                if body.get("ending_at"):
                    yield "wished end"
                known = plans.setdefault(body["external_id"], body["plan_code"])
                replaced |= known == "third" != body["plan_code"]
            case "update_organization":
                yield "organization"
            case "update_subscription" if "plan_overrides" in payload["subscription"]:
                yield "overrides"
            case "settings":
                yield from _settings_changed(settings or payload, payload)
                settings = payload
            case "create_billable_metric" if payload["billable_metric"].get("expression"):
                yield "expression"
            case "update_plan" if any(
                len(charge["properties"].get("pricing_group_keys", ())) > 1
                for charge in payload["plan"]["charges"]
            ):
                yield "groups changed"


def _settings_changed(before: dict[str, Any], after: dict[str, Any]) -> Iterator[str]:
    assert before["default_organization_id"] == after["default_organization_id"]
    for name in before.keys() & after.keys():
        if before[name] != after[name]:
            yield name
            if name == "revise_every_s":
                yield f"{name} {'raised' if after[name] > before[name] else 'lowered'}"


def test_at_once_is_one_millisecond_and_the_one_that_was_asked_for() -> None:
    events = tuple(used(f"t{number}", number) for number in range(3))
    together = AtOnce(events, WEEK_MS, START_MS % WEEK_MS - 1)
    outcome = play(Script(3, 1, [*base(), Pass(DAY_MS), together]))
    assert outcome.check() == []
    times_ms = [entry.timestamp for entry in outcome.raw() if entry.value is not None]
    assert times_ms == [START_MS + WEEK_MS - 1] * 3


def test_a_header_of_null_is_no_header() -> None:
    event = used("t", 0)
    outcome = play(Script(1, 1, [*base(), Binary(event, ("ce_time", "traceparent"))]))
    (entry,) = [entry for entry in outcome.raw() if entry.value is not None]
    assert ("ce_time", None) in entry.headers
    (arrival,) = arrivals_of(entry.value, entry.headers, entry.timestamp, 0, 0, Judging())
    assert isinstance(arrival, Arrival)
    assert arrival.event.transaction_id == event.transaction_id
    assert arrival.event.timestamp_ms is None
    assert outcome.check() == []


def test_a_query_that_breaks_off_is_a_violation(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise KeyError("group")

    monkeypatch.setattr(playing, "usage_at", broken)
    found = play(Script(1, 1, [*base(), Ask()])).check()
    assert "a query broke off: KeyError('group')" in found


def test_answers_that_differ_are_a_violation() -> None:
    outcome = play(Script(1, 1, [*base(), used("t", 0), Pass(WEEK_MS), Ask()]))
    assert outcome.check() == []
    assert outcome.answers is not None
    asked, answer = next(iter(outcome.answers.items()))
    outcome.answers[asked] = msgspec.structs.replace(answer, end_ms=answer.end_ms + 1)
    (told,) = outcome.check()
    assert told.startswith(f"asked for {asked}: live ")


def revised() -> Outcome:
    """A period with a revision, and one after it."""
    late = Event("average", "late", WEEK_MS, properties={"v": "2"})
    thursday = Pass(1, WEEK_MS)
    steps: list[Step] = [*base(), Pass(DAY_MS), used("t", 0), thursday, Pass(DAY_MS), thursday]
    return play(Script(1, 1, [*steps, late, Pass(WEEK_MS)]))


def broken(outcome: Outcome, records: Iterable[dict[str, Any]]) -> list[str]:
    arrivals = arrivals_in(outcome.broker, outcome.partitions)
    return list(broken_rules(list(records), outcome.offline(), arrivals))


def test_a_revision_at_another_time_is_a_violation() -> None:
    outcome = revised()
    records = [msgspec.json.decode(value) for value in outcome.records]
    assert broken(outcome, records) == []
    (one,) = [r for r in records if r["type"] == "usage.revised"]
    one["closed_at"] = one["closed_at"].replace(":00:00.", ":30:00.")
    (told,) = broken(outcome, records)
    assert told.endswith("every [3600] s only")


def test_periods_that_overlap_are_a_violation() -> None:
    outcome = revised()
    records = [msgspec.json.decode(value) for value in outcome.records]
    for record in records:
        if record["period"]["from"] == "2024-01-08T00:00:00Z":
            record["period"]["from"] = "2024-01-07T23:00:00Z"
    assert any(" does not follow " in told for told in broken(outcome, records))


@pytest.mark.parametrize("codes", [["seats"], ["average"]], ids=["both-plans", "the-old-plan"])
def test_a_metric_that_nobody_carries_on_is_a_violation(codes: list[str]) -> None:
    """seats is recurring."""
    joined = Event("seats", "t", properties={"u": "a"})
    outcome = _upgraded(codes, Pass(DAY_MS), joined, Pass(DAY_MS))
    assert outcome.check() == []
    records = [msgspec.json.decode(value) for value in outcome.records]
    shown = [record["plan_code"] for record in records if record["type"] == "usage.recorded"]
    assert shown == ["dearer" if codes == ["seats"] else "plan"]
    left = [record for record in records if record["type"] == "period.completed"]
    (told,) = broken(outcome, left)
    assert told.startswith("metric ")


@pytest.mark.parametrize(("codes", "missed"), [(["seats"], True), (["average"], False)])
def test_a_balance_that_came_too_late_for_the_old_plan_is_of_the_new_one(
    codes: list[str], missed: bool
) -> None:
    """The period that the upgrade ended is open no more; the next one is."""
    late = Event("seats", "t", lag_ms=11 * DAY_MS, properties={"u": "a"})
    outcome = _upgraded(codes, Pass(DAY_MS), then=(Pass(10 * DAY_MS + HOUR_MS), late))
    assert outcome.check() == []
    records = [msgspec.json.decode(value) for value in outcome.records]
    left = [record for record in records if record["type"] == "period.completed"]
    assert bool(broken(outcome, left)) is missed


def _upgraded(codes: list[str], *before: Step, then: Iterable[Step] = (Pass(WEEK_MS),)) -> Outcome:
    """From a plan that has `seats` to one that has these, and nothing is prorated."""
    dearer = plan_body(codes, name="dearer", code="dearer", amount_cents=100)
    settings = SettingsRecord(grace_s=0, default_organization_id=ORG, late_window_s=10 * 86_400)
    made = (
        commands.set_settings(settings),
        commands.create_plan(ORG, dearer),
        commands.create_subscription(ORG, subscription_body(plan_code="dearer")),
    )
    upgrade = [Define(command.type, command.encode()) for command in made]
    steps: list[Step] = [*_without_proration([*base(), upgrade[0]])]
    steps += [*before, *_without_proration(upgrade[1:]), *then]
    return play(with_own_ids(Script(1, 1, steps), random.Random(3)))


def _without_proration(steps: Iterable[Define]) -> list[Define]:
    return [
        step._replace(value=step.value.replace(b'"prorated":true', b'"prorated":false'))
        for step in steps
    ]


def test_a_downgrade_that_is_moved_by_a_week_is_a_violation() -> None:
    outcome = revised()
    offline = outcome.offline()
    (versions, *_) = offline.definitions.subscription_versions.values()
    newest = versions.at()
    assert newest is not None
    for number, weeks in enumerate((1, 1, 2)):
        end_ms = START_MS + weeks * WEEK_MS + number
        planned = msgspec.structs.replace(newest, replaced_by="next", terminated_at_ms=end_ms)
        versions.push(outcome.end_ms, 100 + number, planned)
    (told,) = broken_rules([], offline, [])
    assert told.startswith("the downgrade of sub")
