"""Whom a torn changelog of daily records has looked at: all who are at home, some at a step."""

from __future__ import annotations

import pytest

from app.bounds.turns import STEP_ITEMS
from app.runtime.topics.daily_topic import Daily
from app.wire.arrivals import SubscriptionKey
from bench.growth.world import World, name_of
from tables.changelogged.daily import DailyTable


@pytest.mark.parametrize("whole", [True, False])
def test_all_are_looked_at_by_steps_unless_it_is_known_who_must_be(
    monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    world, scheduled = World(3 * STEP_ITEMS), list[SubscriptionKey]()

    def noted(name: SubscriptionKey, append_time_ms: int) -> bool:
        scheduled.append(name)
        return True

    monkeypatch.setattr(world.state.cuts, "schedule_grid", noted)
    daily, before = Daily(DailyTable(), whole=whole), 0
    for _ in daily.looking_at_all(world.state, world.owned.shared):
        assert len(scheduled) <= before + STEP_ITEMS
        before = len(scheduled)
    wanted = [] if whole else [name_of(number) for number in range(3 * STEP_ITEMS)]
    assert sorted(scheduled) == sorted(wanted)
