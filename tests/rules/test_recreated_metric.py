"""A metric made anew under an old code counts nothing of its predecessor's time."""

from __future__ import annotations

from app.definitions import commands
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, definitions_of, lines, metric_body, plan_body
from tests.world.events import arrived
from tests.world.partition import Live


def test_events_up_to_the_deletion_never_count() -> None:
    """Deleted, made again and charged again within a week; three events around it."""
    deleted_ms = START_MS + 2 * DAY_MS
    base = [(line.append_time_ms, line.command) for line in definitions_of(["count"])]
    plan = {"charges": plan_body(["count"])["charges"]}
    anew = commands.create_billable_metric(ORG, metric_body("count"))
    live = Live(
        lines(
            [
                *base,
                (deleted_ms, commands.delete_billable_metric(ORG, "count")),
                (deleted_ms + HOUR_MS, anew),
                (deleted_ms + HOUR_MS, commands.update_plan(ORG, "plan", plan)),
            ]
        )
    )
    live.define_all()
    times_ms = (deleted_ms - DAY_MS, deleted_ms, deleted_ms + 1)
    live.deliver([arrived("count", i, at_ms) for i, at_ms in enumerate(times_ms)])
    live.close_until(START_MS + WEEK_MS)
    counted = [body["events_count"] for body in live.bodies() if "events_count" in body]
    assert counted == [1]
