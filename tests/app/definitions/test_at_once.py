"""A record that changes very much is applied by small steps, and seen as a whole or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.bounds.quotas import Quotas
from app.bounds.turns import STEP_ITEMS, Steps, T, drained
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.decision import Decision
from app.definitions.indexes.coded import PlanIndex, PromisedPlans
from app.definitions.indexes.packed import PackedVersions
from app.definitions.log import apply, applying, commit, decide, deciding
from app.definitions.model import HistoryRecord, Plan
from app.definitions.outcome import Applied, Rejected
from app.definitions.quotas import elapsed_charges, over_quota
from app.definitions.state import Definitions
from app.definitions.versions import Coming, Versions
from bench.growth.spent import steps_of
from tests.world import bodies
from tests.world.clock import ms
from tests.world.definitions_log import ORG, Log

MANY = 300
CHANGED = "2024-01-31T12:00:00Z"

COMMANDS: dict[str, Callable[[], Command]] = {
    "plan": lambda: commands.delete_plan(ORG, "dear"),
    "customer": lambda: commands.delete_customer(ORG, "cust_1"),
    "timezone": lambda: commands.upsert_customer(
        ORG, {"external_id": "cust_1", "timezone": "Asia/Tokyo"}
    ),
}


MORE = {
    "billable_metric_code": "other",
    "code": "more",
    "charge_model": "standard",
    "pay_in_advance": True,
    "properties": {"amount": "1"},
    "cascade_updates": True,
}
OF_FAMILY: dict[str, Callable[[], Command]] = {
    "added": lambda: commands.create_charge(ORG, "dear", MORE),
    "removed": lambda: commands.delete_charge(ORG, "dear", "storage", {"cascade_updates": True}),
    "metric": lambda: commands.delete_billable_metric(ORG, "storage"),
    "family": lambda: commands.delete_plan(ORG, "dear"),
}
"""What changes all child plans of a plan."""
OF_PLANS: dict[str, Callable[[], Command]] = {
    "filters": lambda: commands.update_billable_metric(
        ORG, "storage", {"filters": [{"key": "zone", "values": ["b"]}]}
    ),
    "charges": lambda: commands.delete_billable_metric(ORG, "storage"),
}
"""What changes all plans that use a metric."""
OF_ALERTS: dict[str, Callable[[], Command]] = {"alerts": lambda: commands.delete_alerts(ORG, "sub")}
COMMANDS |= OF_FAMILY | OF_PLANS | OF_ALERTS


def log_for(kind: str, count: int = MANY) -> Log:
    if kind in OF_ALERTS:
        return alerts_log(count)
    if kind in OF_PLANS:
        return plans_log(count)
    return family_log(count) if kind in OF_FAMILY else full_log(count)


def plans_log(count: int) -> Log:
    """Plans, none of which is a child, with a charge on one metric each."""
    log = Log()
    log.metric(filters=[{"key": "zone", "values": ["a", "b"]}])
    filters = [{"values": {"zone": ["a"]}, "properties": {"amount": "1"}}]
    charge = bodies.charge(billable_metric_code="storage", filters=filters)
    for code in ("dear", "cheap", *map(str, range(count))):
        log.plan(code, charges=[charge])
    return log.at(CHANGED)


def alerts_log(count: int) -> Log:
    """Alerts of one subscription, each on a metric of its own."""
    log = Log()
    for code in ("dear", "cheap"):
        log.plan(code, charges=[])
    log.subscribe(external_id="sub", plan_code="dear")
    alerts = []
    for number in range(count):
        log.metric(f"m{number}")
        body = {"alert_type": "billable_metric_current_usage_units", "code": f"a{number}"}
        body["billable_metric_code"] = f"m{number}"
        alerts.append({**body, "thresholds": [{"value": "1"}]})
    log.accept(commands.create_alerts(ORG, "sub", alerts))
    return log.at(CHANGED)


def family_log(count: int) -> Log:
    """Subscriptions that have a child plan each."""
    log = Log()
    log.metric()
    log.metric("other")
    log.plan("dear", charges=[bodies.charge(billable_metric_code="storage")])
    log.plan("cheap")
    for number in range(count):
        overrides = {"amount_cents": number}
        log.subscribe(external_id=f"sub_{number}", plan_code="dear", plan_overrides=overrides)
    return log.at(CHANGED)


def full_log(count: int = MANY) -> Log:
    """Subscriptions of one customer: active ones, pending ones, and downgrades to come."""
    log = Log()
    log.metric()
    log.plan("dear", amount_cents=200, charges=[])
    log.plan("cheap")
    for number in range(count):
        external_id = f"sub_{number}"
        at = "2024-06-01" if number % 5 == 4 else "2024-01-01"
        log.subscribe(external_id=external_id, plan_code="dear", subscription_at=at)
        if number % 5 == 0:
            log.subscribe(external_id=external_id, plan_code="cheap")
    return log.at(CHANGED)


def ending(log: Log, definitions: Definitions, command: Command) -> Steps[Any]:
    return applying(definitions, command.encode(), log.now_ms, definitions.offset)


def replayed(log: Log) -> Definitions:
    definitions = Definitions()
    for record in log.records:
        apply(definitions, *record)
    return definitions


def counted(steps: Steps[T]) -> tuple[int, T]:
    """How many steps there were, and what they came to."""
    count = 1
    while True:
        try:
            next(steps)
        except StopIteration as end:
            outcome: T = end.value
            return count, outcome
        count += 1


def seen(definitions: Definitions) -> Any:
    """Everything that is there, but for what is being decided."""
    return {name: each for name, each in vars(definitions).items() if name != "decided_offset"}


@pytest.mark.parametrize("kind", COMMANDS)
def test_what_ends_many_is_applied_in_many_steps(kind: str) -> None:
    log = log_for(kind)
    steps, outcome = counted(ending(log, log.definitions, COMMANDS[kind]()))
    assert isinstance(outcome, Applied)
    # They are looked at and decided, and what changes is promised.
    assert steps > MANY // STEP_ITEMS


# Each plan is taken from those that use a deleted metric in the last step.
@pytest.mark.parametrize("kind", [kind for kind in COMMANDS if kind != "charges"])
def test_its_last_step_is_no_longer_for_more_of_them(kind: str) -> None:
    """That one brings all of it into force, and holds up everybody for as long."""

    def last_step(count: int) -> int:
        log = log_for(kind, count)
        number, _ = counted(ending(log, replayed(log), COMMANDS[kind]()))
        steps = ending(log, log.definitions, COMMANDS[kind]())
        for _ in range(number - 1):
            next(steps)
        return steps_of(lambda: next(steps, None))

    # Of what is decided by steps the last may take more or fewer.
    assert last_step(4 * MANY) < 2 * last_step(MANY)


@pytest.mark.parametrize("kind", COMMANDS)
def test_trying_it_takes_many_steps_too(kind: str) -> None:
    log = log_for(kind)
    steps, decision = counted(deciding(log.definitions, COMMANDS[kind](), log.now_ms))
    assert steps > MANY // STEP_ITEMS
    assert isinstance(decision, Decision)
    changes = len(decision.changes)
    assert counted(elapsed_charges(log.definitions, decision, log.now_ms))[0] > changes // 65
    assert counted(over_quota(log.definitions, decision, 0, Quotas()))[0] > changes // 65


@pytest.mark.parametrize("kind", COMMANDS)
def test_nothing_of_it_is_seen_before_its_last_step(kind: str) -> None:
    log, command = log_for(kind), COMMANDS[kind]()
    before, after = replayed(log), replayed(log)
    drained(ending(log, after, command))
    assert seen(after) != seen(before)
    steps = ending(log, log.definitions, command)
    for _ in steps:
        assert seen(log.definitions) == seen(before)
    assert seen(log.definitions) == seen(after)


@pytest.mark.parametrize("kind", COMMANDS)
def test_many_at_once_come_to_what_each_alone_does(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, command = log_for(kind), COMMANDS[kind]()
    one_by_one = replayed(log)
    drained(ending(log, log.definitions, command))
    monkeypatch.setattr("app.definitions.log.STEP_ITEMS", 1_000_000)
    drained(ending(log, one_by_one, command))
    assert seen(log.definitions) == seen(one_by_one)
    at_ms = ms(CHANGED)
    for plan in ("dear", "cheap"):
        found = next(p for p in log.definitions.plan_versions.values() if _code(p) == plan)
        plan_id = next(found.all()).id
        count = log.definitions.active_subscriptions_count
        assert count(plan_id, at_ms) == one_by_one.active_subscriptions_count(plan_id, at_ms)
    assert log.definitions.active_count(ORG, at_ms) == one_by_one.active_count(ORG, at_ms)


def test_a_step_takes_as_many_charges_as_it_would_plans() -> None:
    log = Log()
    codes = [f"m{number}" for number in range(40)]
    for code in codes:
        log.metric(code)
    charges = [bodies.charge(billable_metric_code=code) for code in codes]
    log.plan("dear", charges=charges)
    for number in range(STEP_ITEMS // 2):
        overrides = {"amount_cents": number}
        log.subscribe(external_id=f"sub_{number}", plan_code="dear", plan_overrides=overrides)
    body = {"properties": {"amount": "2"}, "cascade_updates": True}
    command = commands.update_charge(ORG, "dear", "m0", body)
    steps, decision = counted(deciding(log.at(CHANGED).definitions, command, log.now_ms))
    assert isinstance(decision, Decision)
    assert len(decision.changes) == STEP_ITEMS // 2 + 1
    assert steps > STEP_ITEMS // 2


def test_the_plans_of_a_metric_are_promised_too(monkeypatch: pytest.MonkeyPatch) -> None:
    log, committed = plans_log(MANY), list[object]()

    def noted(definitions: Definitions, change: Any, *at: int) -> None:
        committed.append(change)
        commit(definitions, change, *at)

    monkeypatch.setattr("app.definitions.log.commit", noted)
    drained(ending(log, log.definitions, COMMANDS["charges"]()))
    assert len(committed) == 1


def test_plans_of_many_charges_are_promised_few_at_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    log, promise, charges = Log(), PlanIndex.promise, [0]
    for number in range(20):
        log.metric(f"m{number}")
    body = bodies.charge(billable_metric_code="m0")
    each = [{**body, "billable_metric_code": f"m{n}", "code": f"m{n}"} for n in range(20)]
    log.plan("dear", charges=each)
    for number in range(STEP_ITEMS):
        overrides = {"amount_cents": number}
        log.subscribe(external_id=f"sub_{number}", plan_code="dear", plan_overrides=overrides)

    def noted(self: PlanIndex, new: Plan, promised: PromisedPlans) -> bool:
        charges[-1] += len(new.charges)
        return promise(self, new, promised)

    monkeypatch.setattr(PlanIndex, "promise", noted)
    log.at(CHANGED)
    command = commands.delete_charge(ORG, "dear", "m3", {"cascade_updates": True})
    steps = ending(log, log.definitions, command)
    while next(steps, steps) is None:
        charges.append(0)
    assert sum(charges) == 19 * (STEP_ITEMS + 1)
    assert max(charges) <= STEP_ITEMS + 19


def test_a_step_takes_few_plans_of_many_filters() -> None:
    log, values, plans = Log(), [f"v{number}" for number in range(40)], 20
    log.metric(filters=[{"key": "zone", "values": values}])
    filters = [{"values": {"zone": [value]}, "properties": {"amount": "1"}} for value in values]
    for number in range(plans):
        charge = bodies.charge(billable_metric_code="storage", filters=filters)
        log.plan(f"p{number}", charges=[charge])
    fewer = {"filters": [{"key": "zone", "values": values[1:]}]}
    command = commands.update_billable_metric(ORG, "storage", fewer)
    log.at(CHANGED)
    trimming, decision = counted(deciding(log.definitions, command, log.now_ms))
    assert isinstance(decision, Decision)
    assert len(decision.changes) == plans + 1 < STEP_ITEMS
    assert trimming > plans // 2
    steps, outcome = counted(ending(log, log.definitions, command))
    assert isinstance(outcome, Applied)
    assert steps > trimming + plans // 2
    for number in range(plans):
        plan = log.definitions.plan(ORG, f"p{number}")
        assert plan is not None
        assert [each.values["zone"] for each in plan.charges[0].filters] == [
            (value,) for value in values[1:]
        ]


def test_of_plans_of_many_charges_a_step_looks_at_few() -> None:
    log, plans = Log(), 10
    codes = [f"m{number}" for number in range(40)]
    ids = [log.metric(code).id for code in codes]
    charges = [{"billable_metric_id": each, "charge_model": "standard"} for each in ids]
    made = [log.plan(code=f"p{number}", charges=charges) for number in range(plans)]
    wanted = made[-1].charges[7].id
    record = HistoryRecord(
        organization_id=ORG, charge_ids=(wanted,), from_ms=0, to_ms=1, append_time_ms=1, offset=9
    )
    steps = log.definitions.codes_named(record)
    assert [next(steps) for _ in range(plans // 2)] == [None] * (plans // 2)
    assert drained(steps) == {"m7"}


@pytest.mark.parametrize("kind", ["created", "changed", "deleted"])
def test_the_other_alerts_of_a_name_are_not_looked_at(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = alerts_log(MANY)
    log.metric("more")
    body = {"alert_type": "billable_metric_current_usage_units", "code": "a7"}
    more = {**body, "billable_metric_code": "more", "thresholds": [{"value": "1"}]}
    command = {
        "created": commands.create_alert(ORG, "sub", more),
        "changed": commands.update_alert(ORG, "sub", "a0", {"code": "a7"}),
        "deleted": commands.delete_alert(ORG, "sub", f"a{MANY - 1}"),
    }[kind]
    looked, numbered = list[int](), PackedVersions.numbered

    def looking(packed: PackedVersions[Any, Any], number: int) -> Versions[Any]:
        looked.append(number)
        return numbered(packed, number)

    monkeypatch.setattr(PackedVersions, "numbered", looking)
    decision = decide(log.definitions, command, log.now_ms)
    assert len(looked) < 16
    taken = Rejected(422, "validation_errors", {"code": ["value_already_exist"]})
    assert isinstance(decision, Decision) if kind == "deleted" else decision == taken


def _code(versions: Versions[Any]) -> str:
    return str(next(versions.all()).code)


def test_what_is_left_half_way_never_was() -> None:
    log, command = full_log(), commands.delete_plan(ORG, "dear")
    before = replayed(log)
    steps = ending(log, log.definitions, command)
    for _ in range(2 * MANY // STEP_ITEMS + 1):
        next(steps)
    versions = next(iter(log.definitions.subscription_versions.values()))
    assert versions._promised is not None
    steps.close()
    assert seen(log.definitions) == seen(before)
    drained(ending(log, log.definitions, command))
    drained(ending(log, before, command))
    assert seen(log.definitions) == seen(before)


@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.sampled_from(["push", "promise", "come", "read"])),
        max_size=20,
    )
)
def test_promised_versions_are_as_pushed_ones(told: list[tuple[int, str]]) -> None:
    """Pushed when they come, whoever reads them in between."""
    promised: Versions[str] = Versions()
    pushed: Versions[str] = Versions()
    at_ms, coming = 0, None
    for number, (wait_ms, what) in enumerate(told):
        at_ms += wait_ms
        match what:
            case "push":
                # One record is applied at a time.
                coming = None
                promised.push(at_ms, number, str(number))
                pushed.push(at_ms, number, str(number))
            case "promise":
                coming = Coming(at_ms, number), str(number)
                promised.promise(*coming)
            case "come" if coming is not None:
                coming[0].is_here = True
                pushed.push(coming[0].append_time_ms, coming[0].offset, coming[1])
                coming = None
            case _:
                assert promised.at() == pushed.at()
                assert promised.last_before_deletion() == pushed.last_before_deletion()
                assert list(promised.offsets) == list(pushed.offsets)
    assert promised == pushed
    assert len(promised) == len(pushed)
