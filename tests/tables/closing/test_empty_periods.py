"""A period without events closes: how much is done for it, and that it tells the same."""

from __future__ import annotations

import pytest

from app.definitions import commands
from tables.closing.close import close_subscription, let_go, next_cut
from tests.world.calls import calls_of
from tests.world.clock import HOUR_MS, START_MS
from tests.world.definitions import ORG, SUBSCRIPTION, definitions_of, lines, subscription_body
from tests.world.events import arrived
from tests.world.partition import Live

PERIODS = 100
MOST_CALLS = 100
"""For one period; it was 104 to 110."""


@pytest.mark.parametrize("others", [False, True], ids=["alone", "beside others with events"])
def test_an_empty_period_closes_with_few_calls(others: bool) -> None:
    made = [one.command for one in definitions_of(["count"])]
    names = [(ORG, f"s{number}") for number in range(PERIODS)]
    bodies = [subscription_body(external_id=external_id) for _, external_id in names]
    made += [commands.create_subscription(ORG, body) for body in bodies]
    live = Live(lines((START_MS - HOUR_MS, command) for command in made))
    live.define_all()
    partition = live.partition
    if others:
        live.deliver([arrived("count", 0, START_MS)])
        live.flush()
        partition.packing.pack((ORG, SUBSCRIPTION))
    (cut_ms,) = {next_cut(partition, name) for name in names}
    told: list[str] = []

    def close() -> None:
        for name in names:
            told.extend(record.told.type for record in close_subscription(partition, name, cut_ms))
            let_go(partition, name, cut_ms, was_at_hand=False)

    calls = calls_of(close)
    assert told == ["period.completed"] * PERIODS
    assert calls.total() / PERIODS < MOST_CALLS, calls.most_common(60)
