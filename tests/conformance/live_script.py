"""What happens in a vector and when: the definitions, each event, each reading, the end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from app.definitions.periods import Period
from app.wire.timestamps import parse_timestamp
from tests.conformance.aggregation import check_choices, seen_at
from tests.conformance.files import Json, Vector
from tests.conformance.live_figures import RECORD_NAMES
from tests.conformance.live_plans import LivePlan, plan_of, readings_of
from tests.conformance.scenario import CannotRun, arrivals, external_id, measured, period_of

_PARTS = ("groups", "filters")
_QUIET_MS = 60_000
"""How long after its last period a subscription is ended, so that no more of them close."""


class Reading(NamedTuple):
    """Figures that are looked at, and what they have to be."""

    place: str
    external_id: str
    expect: Json
    at_ms: int
    period: Period
    events: int
    """How many events are in by then."""
    in_usage: bool
    """Whether current usage shows them."""
    in_records: bool
    """Whether the newest records of the period show them."""


class Step(NamedTuple):
    """One thing that happens at a moment of the log's time."""

    at_ms: int
    what: Literal["define", "event", "read", "terminate", "look back"]
    number: int = 0
    """Of the event, or of the reading."""


class Script(NamedTuple):
    """A vector as it runs, its steps in order of time."""

    vector: Vector
    plan: LivePlan
    readings: tuple[Reading, ...]
    steps: tuple[Step, ...]


def script_of(vector: Vector) -> Script:
    """The script of a vector. Raises `CannotRun`: only offline, and why."""
    check_choices(vector.json)
    plan = plan_of(vector)
    for described in readings_of(vector.json):
        if not _names(described["expect"]) & {*RECORD_NAMES}:
            raise CannotRun("neither usage nor records show anything that it expects")
    readings = tuple(_readings(vector, plan))
    return Script(vector, plan, readings, tuple(_steps(vector, plan, readings)))


def _names(expect: Json) -> set[str]:
    """What numbers are expected, of the whole or of a part."""
    names = set(expect.keys())
    for part in (part for key in _PARTS for part in expect.get(key) or ()):
        names |= _names(part)
    return names


def _readings(vector: Vector, plan: LivePlan) -> Iterator[Reading]:
    events = arrivals(vector)
    # Until it is terminated, a subscription is used as if its period went on.
    early = plan.terminated_at_ms is not None and (
        vector.json["metric"]["aggregation_type"] == "weighted_sum_agg"
        or any(event.timestamp_ms >= plan.terminated_at_ms for event in events)
    )
    before = (plan.subscription_at_ms, 0)
    for number, described in enumerate(readings_of(vector.json)):
        whole = described is vector.json
        shown = described.get("period", vector.json.get("period"))
        period = measured(period_of(shown, vector.json["subscription"]))
        at_ms = period.end_ms - 1 if whole else parse_timestamp(described["at"])
        seen = events if whole else seen_at(described, events)
        if seen != events[: len(seen)]:
            raise CannotRun("a checkpoint leaves out events that came before others it has")
        if (at_ms, len(seen)) < before or len(seen) < before[1]:
            raise CannotRun("its checkpoints are not in the order of time")
        before = (at_ms, len(seen))
        yield Reading(
            place="" if whole else f"checkpoints[{number}].",
            external_id=external_id({**vector.json, **described}),
            expect=described["expect"],
            at_ms=at_ms,
            period=period,
            events=len(seen),
            in_usage=period.start_ms <= at_ms < period.end_ms and not early,
            in_records=len(seen) == len(events) or _rest_is_later(vector, len(seen), period),
        )


def _rest_is_later(vector: Vector, seen: int, period: Period) -> bool:
    """Whether no event after the first `seen` can count in the period."""
    rest = arrivals(vector)[seen:]
    return all(event.timestamp_ms >= period.end_ms for event in rest)


def _steps(vector: Vector, plan: LivePlan, readings: tuple[Reading, ...]) -> Iterator[Step]:
    yield Step(plan.subscription_at_ms, "define")
    events = arrivals(vector)
    now_ms, sent = plan.subscription_at_ms, 0
    for number, reading in enumerate(readings):
        for event in events[sent : reading.events]:
            now_ms = max(now_ms, min(event.timestamp_ms, reading.at_ms))
            yield Step(now_ms, "event", sent)
            sent += 1
        now_ms = max(now_ms, reading.at_ms)
        yield Step(now_ms, "read", number)
    # Cut 0 of the last period is over by then, unless it is this that ends it.
    quiet_ms = max(now_ms, *(reading.period.end_ms for reading in readings)) + _QUIET_MS
    yield Step(plan.terminated_at_ms or quiet_ms, "terminate")
