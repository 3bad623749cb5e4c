"""The first touch of a pair: how much of it is done for each, at any age."""

from __future__ import annotations

import pytest

from app.definitions import commands
from app.wire.arrivals import runs_of
from tests.world.calls import calls_of
from tests.world.clock import HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, definitions_of, lines, subscription_body
from tests.world.events import arrived
from tests.world.partition import Live

PAIRS = 200
MOST_CALLS = 87
"""For one pair, of a subscription of its own; it was 91."""


@pytest.mark.parametrize("weeks", [1, 260])
def test_a_first_touch_takes_few_calls_at_any_age(weeks: int) -> None:
    made = [one.command for one in definitions_of(["count"])]
    names = [f"s{number}" for number in range(PAIRS)]
    bodies = [subscription_body(external_id=name) for name in names]
    made += [commands.create_subscription(ORG, body) for body in bodies]
    live = Live(lines((START_MS - HOUR_MS, command) for command in made))
    live.define_all()
    at_ms = START_MS + weeks * WEEK_MS
    events = [arrived("count", n, at_ms, external_id=name) for n, name in enumerate(names)]
    runs = runs_of(events)

    def touch() -> None:
        weight_of = live.partition.packing.weight_of
        assert [weight_of(key) for key, _ in runs] == [1] * PAIRS
        assert live.fold_first(runs) == []
        live.partition.take_changes()

    calls = calls_of(touch)
    assert live.first == PAIRS
    assert calls.total() / PAIRS < MOST_CALLS, calls.most_common(60)
