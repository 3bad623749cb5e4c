"""Events go straight though a definition has left earlier periods of their charge as they were."""

from __future__ import annotations

import pytest

from app.definitions import commands
from tests.laws.test_straight import Close
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of, lines
from tests.world.events import arrived
from tests.world.partition import Live

EDITED_MS = START_MS + WEEK_MS + DAY_MS


PLAIN = {"properties": {"amount": "1"}}
GROUPED = {"properties": {"amount": "1", "pricing_group_keys": ["g"]}}


@pytest.mark.parametrize(
    ("code", "edits"),
    [
        ("max", (PLAIN, GROUPED)),
        ("max", (GROUPED, PLAIN)),
        ("heads", (PLAIN, GROUPED)),
        ("level", (PLAIN, GROUPED)),
    ],
)
def test_events_of_the_period_that_runs_go_straight(
    code: str, edits: tuple[dict[str, object], dict[str, object]]
) -> None:
    """The charge has groups, or none, from then on: what is published keeps its own span."""
    made = [(line.append_time_ms, line.command) for line in definitions_of([code])]
    for at_ms, edit in zip((START_MS, EDITED_MS), edits, strict=True):
        made.append((at_ms, commands.update_charge(ORG, "plan", code, edit)))
    definitions = lines(made)
    lives = Live(definitions), Close(definitions)
    straight = []
    for live in lives:
        live.define_until(START_MS)
        times_ms = [START_MS + HOUR_MS, *(EDITED_MS + n * HOUR_MS for n in range(1, 5))]
        for n, at_ms in enumerate(times_ms):
            live.close_until(at_ms - 1)
            live.define_until(at_ms)
            before = live.straight
            live.deliver(
                [arrived(code, n, at_ms, at_ms, transaction_id=f"t{n}", u="u", v="1.5", g="x")]
            )
            straight.append(live.straight - before)
    route = lives[0].partition.packing.route_of((ORG, SUBSCRIPTION, code))
    assert len(route.spans) == 2
    assert straight == [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    # Late by days: of the span of before.
    for live in lives:
        live.deliver([arrived(code, 9, START_MS, EDITED_MS + 5 * HOUR_MS, u="u", v="7", g="x")])
        live.close_until(START_MS + 3 * WEEK_MS)
    assert lives[0].cells() == lives[1].cells()
    assert lives[0].values() == lives[1].values()
