"""Many events of five metrics by foreign producers: usage and records equal a recount."""

from __future__ import annotations

import pytest

from app.main import Worker
from app.settings import Settings
from tests.world.live.api import Api
from tests.world.live.world import SCALE, Traffic, World

EVENTS = 5_000 * SCALE
SUBSCRIPTIONS = 100 * SCALE


@pytest.mark.servers
@pytest.mark.slow
async def test_usage_and_records_equal_a_recount(
    live_settings: Settings, worker: Worker, api: Api
) -> None:
    world = World(live_settings, api, SUBSCRIPTIONS)
    traffic = Traffic(world)
    await world.define_metrics()
    await traffic.send_from_all_sides(EVENTS // 2)
    await world.subscribe()
    await traffic.send_from_all_sides(EVENTS // 2)
    await world.is_counted()
    await world.is_published([0, 1])
    assert worker.engine.forwarder.forwarded > EVENTS // 20

    await world.terminate()
    ledger = await world.is_published([0, 1, 2])
    assert ledger.repeats == 0
