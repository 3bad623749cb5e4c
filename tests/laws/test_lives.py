"""Whatever happens to a subscription, wherever it lives: its periods and what counts in them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.billing_periods.instants import iso_milliseconds, iso_seconds
from tests.laws.lives import Expected, Life
from tests.world.profiles import examples


@examples(150)
@given(st.integers(0, 2**32))
def test_a_life(seed: int) -> None:
    life = Life(Random(seed))
    born_ms = life.now_ms
    life.begin()
    for _ in range(life.random.randint(0, 5)):
        life.go_on()
    life.end()
    periods = life.periods
    sent_ms = [
        at_ms
        for period in periods[:12]
        for at_ms in (period.start_ms - 1, period.start_ms, period.end_ms - 1, period.end_ms)
        if life.random.random() < 1 / 2
    ]
    for at_ms in sent_ms:
        at, appended = iso_milliseconds(at_ms), iso_milliseconds(born_ms)
        life.story.send(at, code="m", appended=appended)
        life.story.send(at, code="balance", appended=appended, v=1)
    records = [
        json.loads(record.value)
        for record in life.story.meter(iso_milliseconds(life.now_ms)).records
    ]
    done = [record for record in records if record["type"] == "period.completed"]
    assert sorted(map(printed, done)) == sorted(worded(period, life.timezone) for period in periods)
    assert shown(records, "m") == used(
        (period, sum(period.start_ms <= at_ms < period.end_ms for at_ms in sent_ms))
        for period in periods
    )
    assert shown(records, "balance") == used(
        (period, sum(at_ms < period.end_ms for at_ms in sent_ms))
        for period in periods
        if not period.carried_on
    )


def printed(record: dict[str, Any]) -> tuple[object, ...]:
    """A completion as it is compared."""
    period = record["period"]
    return (
        *period.values(),
        record["closing_reason"],
        record["closed_at"],
        record["plan_code"],
        record["revision"],
    )


def worded(period: Expected, timezone: str) -> tuple[object, ...]:
    return (
        iso_seconds(period.start_ms),
        iso_seconds(period.to_ms),
        timezone,
        period.duration_days,
        period.reason,
        iso_milliseconds(period.closed_at_ms),
        period.plan_code,
        0,
    )


def shown(records: list[dict[str, Any]], code: str) -> list[tuple[str, str, str]]:
    """Units of a metric by period."""
    return sorted(
        (record["period"]["from"], record["closed_at"], record["units"])
        for record in records
        if record["type"] != "period.completed" and record["billable_metric"]["code"] == code
    )


def used(counted: Iterable[tuple[Expected, int]]) -> list[tuple[str, str, str]]:
    return sorted(
        (iso_seconds(period.start_ms), iso_milliseconds(period.closed_at_ms), f"{number}.0")
        for period, number in counted
        if number
    )
