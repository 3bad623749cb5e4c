"""The first touch of a pair: how much of it is done for each, at any age."""

from __future__ import annotations

import pytest

from app.definitions import commands
from app.wire.arrivals import runs_of
from tests.world.calls import calls_of
from tests.world.clock import DAY_MS, HOUR_MS, START_MS, WEEK_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of, lines, subscription_body
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


MOST_CALLS_ANEW = 48
"""For each time that a subscription at rest began anew; it was 115."""


def test_a_touch_takes_few_calls_for_each_time_that_it_began_anew() -> None:
    few, many = (_calls_of_one_at_rest(times) for times in (10, 60))
    assert (many - few) / 50 < MOST_CALLS_ANEW


def _calls_of_one_at_rest(times: int) -> int:
    made = [one.command for one in definitions_of(["count"])]
    told = [(START_MS - HOUR_MS, command) for command in made]
    at_ms = START_MS
    for _ in range(times):
        at_ms += DAY_MS
        told.append((at_ms, commands.terminate_subscription(ORG, SUBSCRIPTION)))
        body = subscription_body(subscription_at=None)
        told.append((at_ms + 1, commands.create_subscription(ORG, body)))
    live = Live(lines(told))
    live.define_all()
    runs, later = (runs_of([arrived("count", n, at_ms + HOUR_MS + n)]) for n in range(2))
    live.partition.fold_closely(runs)
    live.partition.take_changes()
    live.partition.packing.pack((ORG, SUBSCRIPTION))
    assert live.partition.packing.is_packed((ORG, SUBSCRIPTION))
    calls = calls_of(lambda: live.partition.fold_closely(later))
    ((_, route),) = live.partition.routes.by_key.items()
    assert len(route.spans) == len(route.timelines) == times + 1
    return calls.total()
