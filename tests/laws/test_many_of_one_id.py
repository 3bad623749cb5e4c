"""An external id with many subscriptions is decided about as one of which each is looked at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.instants import iso_milliseconds
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.indexes import subscriptions as subscriptions_module
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
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
    return st.one_of(moved, deleted, settings).map(lambda command: lambda now_ms: command)


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
        branch = log.definitions.branch()
        foreseen = apply(branch, command.encode(), log.now_ms, branch.offset)
        told.append(log.append(command))
        assert told[-1] == foreseen
        definitions, name = log.definitions, (ORG, "sub_1")
        told.append(definitions.current_subscription(*name, log.now_ms))
        told.append(definitions.named_since_ms(*name))
        told.append(set(definitions.subscription_index.plan_ids_of(name)))
    told += [list(each.entries()) for each in log.definitions.subscriptions(ORG, "sub_1")]
    return log, told


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
