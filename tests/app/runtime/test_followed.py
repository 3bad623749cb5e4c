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
from tests.world import bodies
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


class Part:
    """Notes what it is told to look at, and up to where it has heard of the log."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.definitions_seen = 0
        self.told: list[str | None] = []

    def define(self, impact: Impact | None, offset: int, append_time_ms: int) -> None:
        assert append_time_ms == 100 + offset
        self.definitions_seen = offset + 1
        if impact is not None:
            self.told.append(impact.external_subscription_id)


async def test_only_its_home_looks_at_a_subscription() -> None:
    settings = Settings(
        profile="test",
        kafka_bootstrap_servers=("localhost:9",),
        redis_url="redis://localhost:9",
        raw_partitions=4,
    )
    engine = Engine(settings, SystemClock(), url="")
    parts = [Part(number) for number in range(4)]
    engine.followed._owned = lambda: parts  # type: ignore[assignment, return-value]
    names = [f"sub_{number}" for number in range(8)]
    values = [
        commands.create_plan(ORG, bodies.plan("plan", [])),
        *(
            commands.create_subscription(
                ORG, {"external_customer_id": "c", "plan_code": "plan", "external_id": name}
            )
            for name in names
        ),
        commands.create_billable_metric(ORG, metric_body("m")),
    ]
    for offset, value in enumerate(values):
        drained(engine.followed.define(LogRecord(None, value.encode(), (), 100 + offset, offset)))
    late = [Part(number) for number in range(4)]
    for part in late:
        engine.followed.tell_missed(part)  # type: ignore[arg-type]
    for part in (*parts, *late):
        mine = [name for name in names if engine.homes.of(ORG, name) == part.number]
        assert [name for name in part.told if name is not None] == mine
        # Of what concerns all of them each is told.
        assert None in part.told
    assert all(part.definitions_seen == len(values) for part in parts)
    assert sum(len(part.told) - part.told.count(None) for part in parts) == len(names)
    await engine.stop()
