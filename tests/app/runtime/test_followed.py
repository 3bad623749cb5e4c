"""What is remembered of definitions that may change usage."""

from __future__ import annotations

import pytest

from app.bounds.turns import drained
from app.clock import SystemClock
from app.definitions import commands
from app.definitions.outcome import Impact
from app.kafka.log_readers import LogRecord
from app.runtime import followed
from app.runtime.engine import Engine
from app.settings import Settings
from tests.world.definitions_log import ORG, metric_body


async def test_whoever_comes_back_after_too_many_looks_at_everything(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(followed, "_REMEMBERED_IMPACTS", 2)
    settings = Settings(
        profile="test",
        kafka_bootstrap_servers=("localhost:9",),
        redis_url="redis://localhost:9",
    )
    engine = Engine(settings, SystemClock(), url="")
    for offset in range(4):
        value = commands.create_billable_metric(ORG, metric_body(f"m{offset}")).encode()
        drained(engine.followed.define(LogRecord(None, value, (), 100 + offset, offset)))

    def since(offset: int) -> list[tuple[int, int, bool]]:
        found = engine.followed.impacts_since(offset)
        return [(at, time_ms, impact == Impact(None)) for at, time_ms, impact in found]

    assert since(3) == [(3, 103, False)]
    assert since(2) == [(2, 102, False), (3, 103, False)]
    assert since(1) == [(1, 101, True), (2, 102, False), (3, 103, False)]
    assert since(0)[0] == (0, 100, True)
    await engine.stop()
