"""Reasons begin and end once each, and each is told once."""

from __future__ import annotations

import logging

import pytest

from app.runtime.health import Health


def test_a_reason_holds_from_when_it_began_and_is_told_twice(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_ms = [1_000]
    health = Health(lambda: now_ms[0])
    with caplog.at_level(logging.INFO, "app.runtime.health"):
        health.note("redis_unreachable", "Redis does not answer")
        now_ms[0] = 3_000
        health.note("redis_unreachable", "Redis does not answer, partitions 1 wait")
        health.note("disk_low", "little", since_ms=500)
        assert [(r.code, r.since_ms) for r in health.reasons()] == [
            ("disk_low", 500),
            ("redis_unreachable", 1_000),
        ]
        assert health.reasons()[1].message.endswith("partitions 1 wait")
        now_ms[0] = 62_000
        health.note("redis_unreachable", None)
        health.note("redis_unreachable", None)
    assert not health.holds("redis_unreachable")
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "redis_unreachable: Redis does not answer",
        "disk_low: little",
        "redis_unreachable: over after 61 s",
    ]
