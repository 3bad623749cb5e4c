"""A torn changelog of daily records: whom it has looked at, and what is read from the topic."""

from __future__ import annotations

import orjson
import pytest

from app.bounds.turns import STEP_ITEMS
from app.definitions import commands
from app.runtime.topics.daily_topic import Daily, put_again
from app.wire.arrivals import SubscriptionKey
from bench.growth.world import World, name_of
from tables.changelogged.daily import DailyTable
from tests.world.clock import DAY_MS, ms
from tests.world.definitions import ORG
from tests.world.story import Story


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


def test_a_record_is_read_again_of_a_period_that_a_later_timezone_begins_elsewhere() -> None:
    """The period before is not due yet, so nothing holds where it ends."""
    story = Story(
        close_grid_s=60, grace_s=2 * DAY_MS // 1000, daily_records=True, since="2023-12-01"
    )
    story.metric("m", "sum_agg").plan({"billable_metric_code": "m"}).subscribe()
    story.send("2024-03-01T10:00:00Z", v=2)
    (record,) = story.messages("2024-03-02T01:00", "usage-daily")
    moved = {"external_id": "customer", "timezone": "Africa/Johannesburg"}
    story.define("2024-03-02T02:00", commands.upsert_customer(ORG, moved))
    definitions, table = story.meter("2024-03-02T03:00").partition.definitions, DailyTable()
    put_again(table, definitions, orjson.dumps(record))
    cells = table.cells((record["lago_subscription_id"], ms("2024-03-01")))
    assert [(cell.day, cell.units) for cell in cells.values()] == [("2024-03-01", "2.0")]
