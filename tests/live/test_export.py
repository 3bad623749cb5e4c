"""`meter export` of logs that are empty in places."""

from __future__ import annotations

import pytest

from app.main import Worker
from app.offline.export import What, export
from app.settings import Settings
from tests.world.live.committed import all_of

LEAST: dict[What, int] = {"definitions": 1, "events": 0, "records": 0}
"""Lines that a log has before anything is sent."""


@pytest.mark.servers
async def test_an_empty_partition_has_no_lines(live_settings: Settings, worker: Worker) -> None:
    for what, least in LEAST.items():
        assert sum(map(len, await all_of(export(live_settings, what)))) >= least
    assert await worker.gateway.repairs.replay(None, live_settings.raw_partitions, 0, None) is None
