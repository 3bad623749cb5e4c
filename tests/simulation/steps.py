"""What is played, step by step: events, definitions, pauses and faults, as values.

The same notation serves for writing a script by hand:
`[event, event, CRASH, event, REBALANCE, event]`. Times are relative to the broker's clock when a
step is played.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from app.billing_periods.instants import iso_milliseconds
from app.failpoints import Name
from tests.world.clock import DAY_MS, HOUR_MS
from tests.world.definitions import ORG, SUBSCRIPTION


class Fault(Enum):
    """What goes wrong. Whom it hits is drawn when it is played."""

    CRASH = "a worker is killed; what it has not flushed is lost"
    CRASH_AFTER_FETCH = "killed after a fetch"
    CRASH_AFTER_FOLD = "killed after a fold"
    CRASH_BEFORE_COMMIT = "killed with a flush taken and nothing committed"
    CRASH_AFTER_COMMIT = "killed between the commit and the write to Redis"
    CRASH_MID_CLOSE = "killed between two subscriptions of a cut"
    CRASH_MID_DEAD_LETTERS = "killed between two dead letters"
    COMMIT_LOST = "a commit fails, nothing is written"
    COMMIT_UNKNOWN = "a commit fails for the producer, but everything is written"
    REBALANCE = "partitions move"
    ZOMBIE = "a worker stands still, others take its partitions, it goes on writing later"
    RESTART = "a worker is ended and started again"
    REDIS_LOSS = "Redis restarts empty"
    REDIS_SAVE = "Redis writes a snapshot"
    REDIS_ROLLBACK = "Redis restarts from its last snapshot"
    REDIS_EVICTION = "Redis drops a set of members"
    REDIS_ALTERED = "Redis has a member with another bit"
    REPLAY = "old raw records are appended again, some on another partition"
    REDELIVERY = "everything is delivered again"
    CLOCK_JUMP = "the clock of a worker or of the broker jumps"
    SLOW = "nothing of one partition is delivered for a while"
    TORN = "changelog records are missing when a partition is restored"
    INDEX_LOST = "local disk is lost"


CRASH, REBALANCE, TORN = Fault.CRASH, Fault.REBALANCE, Fault.TORN


class Number(NamedTuple):
    """A property that is a JSON number, with its digits as they are sent."""

    literal: str


class Event(NamedTuple):
    """An event to be appended, `lag_ms` after it happened; None: without a timestamp."""

    code: str
    transaction_id: str
    lag_ms: int | None = 0
    external_id: str = SUBSCRIPTION
    properties: Mapping[str, Any] = MappingProxyType({})
    place: int | None = None
    """The raw partition; None: the home."""
    admitted: bool = False


class Correction(NamedTuple):
    """Cancels an event, or amends it to `to`."""

    transaction_id: str
    correction_id: str
    external_id: str = SUBSCRIPTION
    to: Event | None = None
    place: int | None = None


class Several(NamedTuple):
    """One raw record that holds an array."""

    elements: tuple[Event, ...]


class Poison(NamedTuple):
    """Bytes that are no event."""

    value: bytes
    place: int = 0


class Define(NamedTuple):
    """A record of the definitions log."""

    kind: str
    value: bytes


class Pass(NamedTuple):
    """Time passes; with `grid_ms` up to the next multiple of it."""

    by_ms: int
    grid_ms: int = 1


def pause(choose: random.Random, longest: Pass) -> Pass:
    """For hours or days, or just past one of their ends."""
    return choose.choice(
        (
            Pass(choose.randint(0, 2 * HOUR_MS)),
            Pass(choose.randint(0, 3 * DAY_MS)),
            Pass(1, HOUR_MS),
            Pass(1, DAY_MS),
            longest,
        )
    )


class AtOnce(NamedTuple):
    """Appended in one millisecond; with `grid_ms` at the next one so long past a multiple of it."""

    elements: tuple[Event | Define | Correction, ...]
    grid_ms: int = 1
    past_ms: int = 0


class Dies(NamedTuple):
    """A worker dies when it comes to a failpoint that no `Fault` is about."""

    at: Name


class Binary(NamedTuple):
    """An event as a CloudEvent in binary mode. Headers of `nulls` are there and have no value."""

    event: Event
    nulls: tuple[str, ...] = ()


class Priced(NamedTuple):
    """An event that says what it costs."""

    event: Event
    cents: str


class OfOther(NamedTuple):
    """An event or a correction of another organization, under names that the first has as well."""

    sent: Event | Correction
    organization_id: str


class Ask(NamedTuple):
    """Every worker is asked for the usage of all its subscriptions, in several groupings."""


class Aside(NamedTuple):
    """An operator sets the newest raw records of a partition aside, if they are not folded yet."""

    place: int
    newest: int = 1


class Retain(NamedTuple):
    """Retention takes what is folded of a raw partition, and of what was forwarded to it.

    The newest few stay.
    """

    place: int
    left: int


# A new kind of step is a new class: a field more in one of these, and every seed plays out
# otherwise, since what a step draws when it is played comes from how it is printed.
Appended = Event | Correction | Several | Poison | Define | Binary | Priced | OfOther
Step = Appended | AtOnce | Pass | Ask | Aside | Retain | Dies | Fault


class Script(NamedTuple):
    """Everything that is played."""

    partitions: int
    workers: int
    steps: list[Step]
    rest_ms: int = HOUR_MS
    """Time that passes at the end."""
    known_at_once: bool = False
    """Every definition is applied everywhere before the next step."""

    @property
    def faults(self) -> int:
        """How many faults there are."""
        return sum(isinstance(step, Fault) for step in self.steps)


def properties_of(event: Event) -> dict[str, Any]:
    """The properties as they are encoded."""
    return {
        name: msgspec.Raw(value.literal.encode()) if isinstance(value, Number) else value
        for name, value in event.properties.items()
    }


def event_json(event: Event, now_ms: int, **more: str) -> bytes:
    """The event as a product sends it."""
    body: dict[str, Any] = {
        "organization_id": ORG,
        "external_subscription_id": event.external_id,
        "transaction_id": event.transaction_id,
        "code": event.code,
        "properties": properties_of(event),
        **more,
    }
    if event.lag_ms is not None:
        timestamp_ms = now_ms - event.lag_ms
        body["timestamp"] = f"{timestamp_ms // 1000}.{timestamp_ms % 1000:03d}"
    return msgspec.json.encode(body)


def binary_event(step: Binary, now_ms: int) -> tuple[bytes, list[tuple[str, bytes | None]]]:
    """Value and headers of a record."""
    event = step.event
    attributes: dict[str, str | None] = {
        "ce_specversion": "1.0",
        "ce_source": "/simulation",
        "ce_organizationid": ORG,
        "ce_id": event.transaction_id,
        "ce_type": event.code,
        "ce_subject": event.external_id,
    }
    if event.lag_ms is not None:
        attributes["ce_time"] = iso_milliseconds(now_ms - event.lag_ms)
    attributes |= dict.fromkeys(step.nulls)
    headers = [(name, None if text is None else text.encode()) for name, text in attributes.items()]
    return msgspec.json.encode(properties_of(event)), headers


def correction_json(correction: Correction, now_ms: int, organization_id: str = ORG) -> bytes:
    """The correction as a product sends it."""
    body: dict[str, Any] = {
        "organization_id": organization_id,
        "external_subscription_id": correction.external_id,
        "transaction_id": correction.transaction_id,
        "operation": "cancel",
        "correction_id": correction.correction_id,
    }
    if correction.to is not None:
        body["operation"] = "amend"
        to = event_json(correction.to, now_ms, organization_id=organization_id)
        body["event"] = msgspec.Raw(to)
    return msgspec.json.encode(body)
