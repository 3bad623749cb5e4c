"""Edges of cuts: the instant at which a period is due, and the zero that closes a level."""

from __future__ import annotations

import msgspec
import pytest

from tests.world.clock import DAY_MS, START_MS, WEEK_MS
from tests.world.definitions import SETTINGS, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live

LONG_GRACE = msgspec.structs.replace(SETTINGS, grace_s=91 * 60)
DUE_MS = START_MS + WEEK_MS + 91 * 60_000
"""No multiple of the revision interval."""


def told(code: str, *events: tuple[int, int, str]) -> list[tuple[str, str, int, str]]:
    """(period start, cut, revision, units) for events as (event time, append time, value)."""
    live = Live(definitions_of([code], LONG_GRACE))
    live.define_all()
    live.deliver(
        [
            arrived(code, i, at_ms, appended_ms, v=value)
            for i, (at_ms, appended_ms, value) in enumerate(events)
        ]
    )
    live.close_until(START_MS + 4 * WEEK_MS)
    return [
        (body["period"]["from"][:10], body["closed_at"][:16], body["revision"], body["units"])
        for body in live.bodies()
        if body["type"] != "period.completed"
    ]


def test_what_is_appended_when_due_counts_at_that_cut() -> None:
    assert told("sum", (START_MS, DUE_MS, "3")) == [("2024-01-01", "2024-01-08T01:31", 0, "3.0")]


@pytest.mark.parametrize("code", ["sum", "balance"])
def test_what_is_appended_a_millisecond_later_counts_at_the_next_revision(code: str) -> None:
    first, *_ = told(code, (START_MS, DUE_MS + 1, "3"))
    assert first == ("2024-01-01", "2024-01-08T02:00", 0, "3.0")


def test_a_level_that_has_ended_is_closed_by_one_zero() -> None:
    ended_ms = START_MS + 3 * DAY_MS
    assert told("level", (START_MS, START_MS, "7"), (ended_ms, ended_ms, "-7")) == [
        ("2024-01-01", "2024-01-08T01:31", 0, "3.0"),
        ("2024-01-08", "2024-01-15T01:31", 0, "0.0"),
    ]
