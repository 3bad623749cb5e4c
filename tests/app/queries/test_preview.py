"""Whose events a preview folds."""

from __future__ import annotations

import asyncio
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.bounds.turns import STEP_ITEMS, Steps, Turns, drained
from app.definitions import commands
from app.definitions.outcome import Rejected
from app.definitions.what_if import Branch, branch_with
from app.queries.evidence import Evidence
from app.queries.preview import concerned
from app.runtime.scanning.scans import Scans
from bench.growth.world import DAY_MS, NOW_MS, ORG, World, name_of
from bench.world import plan_of, subscription_of
from tests.world import bodies
from tests.world.definitions_log import ORG as OF_LOG
from tests.world.definitions_log import Log


def test_who_never_had_the_plan_that_is_changed_is_not_looked_at() -> None:
    world, now_ms = World(2), NOW_MS + DAY_MS
    world.apply(commands.create_plan(ORG, {**plan_of(world.charges[:4]), "code": "other"}))
    world.apply(commands.create_subscription(ORG, {**subscription_of(2), "plan_code": "other"}))
    world.definitions.append_time_ms = now_ms
    world.fold(map(world.event, range(4)))
    metric = commands.update_billable_metric(ORG, "calls", {"field_name": "n"})
    found = []
    for change in (commands.update_plan(ORG, "other", {"charges": []}), metric):
        branch = drained(branch_with(world.definitions, ORG, [change], 0, now_ms, now_ms))
        assert not isinstance(branch, Rejected)
        found.append([name for name, _ in drained(concerned(world.owned, ORG, branch))])
    assert found == [[name_of(2)], [name_of(number) for number in range(4)]]


async def test_what_is_defined_while_a_preview_branches_is_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log, branches, ticks = Log(), list[Branch | Rejected](), count()
    log.metric()
    log.plan("dear", charges=[bodies.charge("storage")])
    for number in range(2 * STEP_ITEMS):
        own = {"amount_cents": number}
        log.subscribe(external_id=f"sub_{number}", plan_code="dear", plan_overrides=own)

    def noted(*given: Any) -> Steps[Branch | Rejected]:
        branch = yield from branch_with(*given)
        branches.append(branch)
        return branch

    monkeypatch.setattr("app.queries.evidence.branch_with", noted)
    # By this clock each step takes a whole turn.
    turns = Turns(lambda: float(next(ticks)))
    engine = SimpleNamespace(
        definitions=log.definitions,
        clock=SimpleNamespace(now_ms=lambda: log.now_ms),
        shared=SimpleNamespace(turns=turns),
        scans=Scans(turns),
    )
    evidence = Evidence(*cast(Any, (engine, None, None, None)))
    body = {"properties": {"amount": "2"}, "cascade_updates": True}
    command = commands.update_charge(OF_LOG, "dear", "storage", body)
    asked = asyncio.ensure_future(evidence.preview(OF_LOG, [command], 0, log.now_ms + 1))
    for _ in range(3):
        await asyncio.sleep(0)
    assert not asked.done()
    log.metric("calls")
    reports = await asked
    assert not isinstance(reports, Rejected)
    await reports.aclose()
    (branch,) = branches
    assert isinstance(branch, Branch)
    assert branch.definitions.metric(OF_LOG, "calls") is not None
    assert branch.records_applied == log.definitions.records_applied
