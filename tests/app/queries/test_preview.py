"""Whose events a preview folds."""

from __future__ import annotations

from app.bounds.turns import drained
from app.definitions import commands
from app.definitions.outcome import Rejected
from app.definitions.what_if import branch_with
from app.queries.preview import concerned
from bench.growth.world import DAY_MS, NOW_MS, ORG, World, name_of
from bench.world import plan_of, subscription_of


def test_who_never_had_the_plan_that_is_changed_is_not_looked_at() -> None:
    world, now_ms = World(2), NOW_MS + DAY_MS
    world.apply(commands.create_plan(ORG, {**plan_of(world.charges[:4]), "code": "other"}))
    world.apply(commands.create_subscription(ORG, {**subscription_of(2), "plan_code": "other"}))
    world.definitions.append_time_ms = now_ms
    world.fold(map(world.event, range(4)))
    metric = commands.update_billable_metric(ORG, "calls", {"field_name": "n"})
    found = []
    for change in (commands.update_plan(ORG, "other", {"charges": []}), metric):
        branch = branch_with(world.definitions, ORG, [change], 0, now_ms, now_ms)
        assert not isinstance(branch, Rejected)
        found.append([name for name, _ in drained(concerned(world.owned, ORG, branch))])
    assert found == [[name_of(2)], [name_of(number) for number in range(4)]]
