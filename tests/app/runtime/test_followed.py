"""What is remembered of definitions that may change usage."""

from __future__ import annotations

import pytest

from app.bounds.turns import drained
from app.clock import SystemClock
from app.definitions import commands
from app.definitions.command import Command
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
        drained(engine.followed.defining([LogRecord(None, value, (), 100 + offset, offset)]))

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
        self.seen = 0
        self.told: list[str | None] = []
        self.calls = 0
        self.looks = 0

    @property
    def renewal(self) -> Part:
        return self

    def define(self, impact: Impact, offset: int, append_time_ms: int) -> None:
        assert append_time_ms == 100 + offset
        self.pass_over(offset + 1, append_time_ms)
        self.told.append(impact.external_subscription_id)

    def pass_over(self, next_offset: int, append_time_ms: int) -> None:
        assert append_time_ms == 99 + next_offset
        self.seen = next_offset
        self.calls += 1

    def look_again(self) -> None:
        self.looks += 1


def with_parts(count: int) -> tuple[Engine, list[Part]]:
    settings = Settings(
        profile="test",
        kafka_bootstrap_servers=("localhost:9",),
        redis_url="redis://localhost:9",
        raw_partitions=count,
    )
    engine = Engine(settings, SystemClock(), url="")
    parts = [Part(number) for number in range(count)]
    engine.followed._owned = lambda: dict(enumerate(parts))
    return engine, parts


async def test_only_its_home_looks_at_a_subscription() -> None:
    engine, parts = with_parts(4)
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
    drained(engine.followed.defining(records_of(values)))
    late = [Part(number) for number in range(4)]
    for part in late:
        engine.followed.tell_missed(part)
    for part in (*parts, *late):
        mine = [name for name in names if engine.homes.of(ORG, name) == part.number]
        assert [name for name in part.told if name is not None] == mine
        # Of what concerns all of them each is told.
        assert None in part.told
    assert all(part.seen == len(values) for part in (*parts, *late))
    assert sum(len(part.told) - part.told.count(None) for part in parts) == len(names)
    await engine.stop()


def records_of(values: list[Command]) -> list[LogRecord]:
    return [
        LogRecord(None, value.encode(), (), 100 + offset, offset)
        for offset, value in enumerate(values)
    ]


async def test_whom_definitions_do_not_concern_hears_once_of_all_that_came_together() -> None:
    """A worker has very many partitions, and each of most definitions concerns one at most."""
    engine, parts = with_parts(8)
    customers = [commands.upsert_customer(ORG, {"external_id": f"c_{n}"}) for n in range(200)]
    drained(engine.followed.defining(records_of(customers)))
    assert [(part.seen, part.calls, part.looks) for part in parts] == [(200, 1, 1)] * 8
    # A tick says nothing, but a cut may wait for the time that it brings.
    drained(engine.followed.defining([LogRecord(None, None, (), 300, 200)]))
    assert [(part.seen, part.looks) for part in parts] == [(200, 2)] * 8
    await engine.stop()
