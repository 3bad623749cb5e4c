"""An external id with many subscriptions is decided about as one of which each is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.instants import iso_milliseconds
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.indexes import subscriptions as subscriptions_module
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.periods import NEVER_MS, Period
from app.definitions.terms import subscription_timeline
from app.definitions.timeline import Timeline
from tables.partition import timelines as timelines_module
from tables.partition.at_hand import AtHand
from tables.partition.timelines import TimelineTable
from tests.world.clock import DAY_MS, HOUR_MS
from tests.world.definitions_log import ORG, Log, plan_body, subscription_body
from tests.world.profiles import examples

PLANS = {"cheap": ("yearly", 1_000), "plan_code": ("monthly", 100), "dear": ("weekly", 100)}
Told = Callable[[int], Command]
"""Makes a command at a time in ms."""


def date(days: int | None) -> Callable[[int], str | None]:
    """Return how a date so many days from now is spelled."""
    return lambda now_ms: None if days is None else iso_milliseconds(now_ms + days * DAY_MS)


@st.composite
def create(draw: st.DrawFn) -> Told:
    """Draw a creation, which may be a change of plan."""
    plan, customer = draw(st.sampled_from(sorted(PLANS))), draw(st.sampled_from("ccccccccd"))
    began = date(draw(st.sampled_from((None, None, -40, -3, 0, 2))))
    ends = date(draw(st.sampled_from((*(None,) * 6, 3, 12))))
    body = {"plan_code": plan, "external_customer_id": customer}
    return lambda now_ms: commands.create_subscription(
        ORG, subscription_body(**body, subscription_at=began(now_ms), ending_at=ends(now_ms))
    )


@st.composite
def terminate(draw: st.DrawFn) -> Told:
    """Draw an end, of one that is active or of one that waits."""
    status = draw(st.sampled_from((None, None, "active", "pending")))
    invoice = draw(st.sampled_from((None, "skip", "skip", "generate")))
    return lambda now_ms: commands.terminate_subscription(ORG, "sub_1", status, invoice)


@st.composite
def update(draw: st.DrawFn) -> Told:
    """Draw another name, start or end, of one of any status."""
    status = draw(st.sampled_from((None, "active", "pending", "terminated", "canceled")))
    name, began = draw(st.text("ab", max_size=2)), date(draw(st.sampled_from((-9, -1, 1, 5))))
    ends = date(draw(st.sampled_from((None, 2, 30))))
    has_end, has_start = draw(st.booleans()), draw(st.booleans())

    def told(now_ms: int) -> Command:
        body: dict[str, Any] = {"name": name}
        body |= {"ending_at": ends(now_ms)} if has_end else {}
        body |= {"subscription_at": began(now_ms)} if has_start else {}
        return commands.update_subscription(ORG, "sub_1", body, status)

    return told


def others() -> st.SearchStrategy[Told]:
    """Draw what concerns the subscriptions otherwise."""
    zones = st.sampled_from(("UTC", "Asia/Kathmandu", "America/St_Johns"))
    moved = zones.map(
        lambda zone: commands.upsert_customer(ORG, {"external_id": "c", "timezone": zone})
    )
    deleted = st.sampled_from("cd").map(lambda name: commands.delete_customer(ORG, name))
    graces = st.sampled_from((0, 2 * HOUR_MS // 1000, 5 * DAY_MS // 1000))
    settings = graces.map(lambda grace_s: commands.set_settings(SettingsRecord(grace_s=grace_s)))
    waits = st.sampled_from((None, 0, 9))
    waited = waits.map(lambda days: commands.upsert_customer(ORG, {"external_id": "c"} | own(days)))
    shared = waits.map(lambda days: commands.update_organization(ORG, own(days)))
    told = st.one_of(moved, deleted, settings, waited, shared)
    return told.map(lambda command: lambda now_ms: command)


def own(days: int | None) -> dict[str, Any]:
    """Return a grace in days as bodies of customers and organizations have it."""
    return {"billing_configuration": {"invoice_grace_period": days}}


def _less_often() -> st.SearchStrategy[Told]:
    return st.one_of(update(), others())


STEPS = st.tuples(
    st.sampled_from((1, HOUR_MS, DAY_MS, 3 * DAY_MS, 40 * DAY_MS)),
    st.integers(0, 9).flatmap(
        lambda number: create() if number < 4 else terminate() if number < 7 else _less_often()
    ),
)


def played(steps: list[tuple[int, Command]]) -> tuple[Log, list[object]]:
    """Play a log; return it, and what it answered and told after each command."""
    log, told = Log(), list[object]()
    for later_ms, command in steps:
        log.now_ms += later_ms
        branch = log.definitions.copy()
        foreseen = apply(branch, command.encode(), log.now_ms, branch.offset)
        told.append(log.append(command))
        assert told[-1] == foreseen
        index, in_branch = log.definitions.subscription_index, branch.subscription_index
        assert index.over_ms.get((ORG, "sub_1")) == in_branch.over_ms.get((ORG, "sub_1"))
        definitions, name = log.definitions, (ORG, "sub_1")
        told.append(definitions.current_subscription(*name, log.now_ms))
        told.append(definitions.named_since_ms(*name))
        told.append(set(definitions.subscription_index.plan_ids_of(name)))
    told += [list(each.entries()) for each in log.definitions.subscriptions(ORG, "sub_1")]
    return log, told


def stand_in_order(log: Log, name: tuple[str, str]) -> None:
    """Have those of an external id end and begin in order, and be over as each of them says."""
    index = log.definitions.subscription_index
    every = log.definitions.subscriptions(*name)
    bounds, over_ms, latest_ms = list[tuple[int, int]](), list[int](), -1
    for versions in every:
        one = versions.at()
        assert one is not None
        end_ms = one.usage_end_ms if one.canceled_at_ms is None else one.canceled_at_ms
        over_ms.append(NEVER_MS if end_ms is None else max(end_ms, versions.changes[-1]))
        if one.canceled_at_ms is None:
            bounds.append((one.started_at_ms, NEVER_MS if end_ms is None else end_ms))
    starts_ms, ends_ms = zip(*bounds, strict=True) if bounds else ((), ())
    assert [*starts_ms] == sorted(starts_ms)
    assert [*ends_ms] == sorted(ends_ms)
    for count, at_ms in enumerate(over_ms):
        latest_ms = max(latest_ms, at_ms)
        assert index.over_by(name, latest_ms - 1) <= count < index.over_by(name, latest_ms)
        assert list(index.later_of(name, count)) == list(every)[count:]
    customers = {one.external_customer_id for each in every for one in each.all()}
    assert index.customers_of[name] == customers


@examples(400)
@given(st.lists(STEPS, min_size=12, max_size=24))
def test_who_ended_before_the_last_decides_nothing(drawn: list[tuple[int, Told]]) -> None:
    steps, now_ms = list[tuple[int, Command]](), Log().now_ms
    for code, (interval, amount_cents) in PLANS.items():
        body = plan_body(code, interval=interval, amount_cents=amount_cents)
        steps.append((0, commands.create_plan(ORG, body)))
    for later_ms, told in drawn:
        now_ms += later_ms
        steps.append((later_ms, told(now_ms)))
    logs = list[Log]()
    answers = list[list[object]]()
    for few in (1 << 30, 1):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subscriptions_module, "_FEW", few)
            log, told_then = played(steps)
        logs.append(log)
        answers.append(told_then)
    assert answers[0] == answers[1]
    log = logs[1]
    for name, kept in log.definitions.subscription_index.lasting.items():
        assert len(kept) <= 4, name
        stand_in_order(log, name)


def _published(periods: Iterable[Period]) -> list[Period]:
    return [period for period in periods if period.due_at_ms < NEVER_MS]


class _All(NamedTuple):
    """All timelines of an external id, each asked."""

    made: list[Timeline]

    def next_due(self, done_ms: int) -> int:
        return min((each.next_due(done_ms).at_ms for each in self.made), default=NEVER_MS)

    def open(self, cut_ms: int) -> list[Period]:
        return _published(period for each in self.made for period in each.open_at(cut_ms))

    def within(self, from_ms: int, until_ms: int) -> list[Period]:
        return [p for each in self.made for p in each.until(until_ms) if p.end_ms > from_ms]

    def holding(self, at_ms: int) -> Period | None:
        every = (period for each in self.made for period in each.until(at_ms))
        return next((period for period in every if period.end_ms > at_ms), None)


@examples(200)
@given(
    st.lists(STEPS, min_size=6, max_size=20),
    st.lists(st.integers(-2, 60 * 24), min_size=1, max_size=4),
    st.sampled_from((0, 5 * 24)),
    st.booleans(),
)
def test_who_ended_long_before_is_asked_no_more(
    drawn: list[tuple[int, Told]], hours: list[int], grace_hours: int, at_hand: bool
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subscriptions_module, "_FEW", 1)
        patch.setattr(timelines_module, "FEW", 1)
        log, name = Log(), (ORG, "sub_1")
        log.append(commands.set_settings(SettingsRecord(grace_s=grace_hours * 3600)))
        for code, (interval, _) in PLANS.items():
            log.append(commands.create_plan(ORG, plan_body(code, interval=interval)))
        began_ms = log.now_ms
        for later_ms, told in drawn:
            log.now_ms += later_ms
            log.append(told(log.now_ms))
        table = TimelineTable(log.definitions, AtHand())
        every = [
            subscription_timeline(log.definitions, versions)
            for versions in log.definitions.subscriptions(*name)
            if (one := versions.at()) is not None and one.canceled_at_ms is None
        ]
        asked = _All(every)
        for hour in hours:
            if at_hand:
                assert [line.terms for _, line in table.of(name)] == [line.terms for line in every]
            at_ms = began_ms + hour * HOUR_MS
            assert table.next_due(name, at_ms) == asked.next_due(at_ms)
            opened = (each for _, line in table.open(name, at_ms) for each in line.open_at(at_ms))
            assert _published(opened) == asked.open(at_ms)
            assert table.period_at(name, at_ms) == asked.holding(at_ms)
            until_ms = at_ms + 9 * DAY_MS
            assert [*table.within(name, at_ms, until_ms, None)] == asked.within(at_ms, until_ms)
            late = any(each.due_at_ms < until_ms for each in asked.within(at_ms, until_ms))
            assert table.is_late(name, at_ms, until_ms, recurs=True) == late
            if not at_hand:
                table.forget(name)


GRACES = {
    "of the settings": commands.set_settings(SettingsRecord(grace_s=9 * 86_400)),
    "of the customer": commands.upsert_customer(ORG, {"external_id": "c"} | own(9)),
    "of the organization": commands.update_organization(ORG, own(9)),
}


@pytest.mark.parametrize("grace", GRACES.values(), ids=GRACES)
def test_whoever_has_the_longest_grace_is_waited_for(
    grace: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscriptions_module, "_FEW", 1)
    monkeypatch.setattr(timelines_module, "FEW", 1)
    log, name = Log(), (ORG, "sub_1")
    body = subscription_body(external_customer_id="c")
    for command in (grace, commands.create_plan(ORG, plan_body())):
        log.append(command)
    for _ in range(3):
        log.now_ms += DAY_MS
        log.append(commands.create_subscription(ORG, body))
        log.now_ms += HOUR_MS
        log.append(commands.terminate_subscription(ORG, "sub_1"))
    ended_ms, table = log.now_ms, TimelineTable(log.definitions, AtHand())
    log.now_ms += DAY_MS
    log.append(commands.create_subscription(ORG, body))
    dues_ms = [ended_ms + wait * DAY_MS for wait in (8, 9)]
    assert dues_ms[0] < table.next_due(name, dues_ms[0]) - HOUR_MS < dues_ms[1]
