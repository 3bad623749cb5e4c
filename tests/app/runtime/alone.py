"""A worker context without servers: for partitions that nobody delivers to, flushes or asks."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, cast

from app.bounds.work_done import Operation
from app.clock import Clock
from app.definitions.outcome import Impact
from app.definitions.state import Definitions
from app.kafka.brokers import Brokers
from app.kafka.transactions import Conclude, Record
from app.redis.members import MemberStore
from app.runtime.apart import first_failure_here
from app.runtime.context import Numbered, WorkerContext
from app.runtime.delivery import Delivery
from app.runtime.homes import HomePartitions
from app.runtime.progress import Progress
from app.runtime.raw_lookup import RawPlace
from app.runtime.status import Tally
from app.settings import Settings
from app.wire.arrivals import Arrived
from tables.changelogged.presence import LogsKept
from tests.world.clock import ManualClock


class Alone:
    """Stands in for the engine and the logs: nothing is in them, and nobody listens."""

    def __init__(self) -> None:
        self.failed: list[BaseException] = []

    def fail(self, owned: Numbered, error: BaseException) -> None:
        self.failed.append(error)

    def tell(self, progress: Progress) -> None:
        pass

    async def find_many(
        self, places: Iterable[RawPlace], operation: Operation = "query"
    ) -> dict[RawPlace, Arrived]:
        return {}

    async def log_starts(self, number: int) -> tuple[int, int]:
        return 0, 0

    async def rekeyed_end(self, number: int) -> int:
        return 0

    async def kept(self, number: int) -> LogsKept:
        return LogsKept()

    async def logs_since(self, number: int, at_ms: int) -> tuple[int, int]:
        return 0, 0


class Followed:
    """A definitions log that only the test moves on."""

    def __init__(self) -> None:
        self.last = (0, -1)
        self.wanted_ms = -1
        self.changed = asyncio.Condition()

    def want(self, past_ms: int) -> None:
        self.wanted_ms = max(self.wanted_ms, past_ms)

    async def caught_up(self) -> int:
        return self.last[0]

    def impacts_since(self, offset: int) -> list[tuple[int, int, Impact]]:
        return []


class NoProducer:
    """Commits nothing."""

    async def commit(self, records: Iterable[Record], conclude: Conclude | None = None) -> None:
        raise AssertionError("there are no brokers")

    async def replace(self) -> None:
        pass

    async def newest(self, topic: str, key: bytes) -> bytes | None:
        return None

    async def stop(self) -> None:
        pass


def settings_of(**given: object) -> Settings:
    """Settings of a worker whose Redis nobody reaches."""
    named = {"profile": "test", "raw_partitions": 1, "redis_url": "redis://127.0.0.1:1", **given}
    return Settings.model_validate(named)


def context_of(
    definitions: Definitions, clock: Clock | None = None, **settings: object
) -> WorkerContext:
    """A context of these definitions; the manual clock stands at 0."""
    alone, given = cast(Any, Alone()), settings_of(**settings)
    tally = Tally()
    return WorkerContext(
        settings=given,
        clock=clock or ManualClock(),
        definitions=definitions,
        homes=HomePartitions(definitions, given.raw_partitions),
        members=MemberStore(given),
        url="",
        owner=alone,
        reports=alone,
        delivery=Delivery(),
        brokers=Brokers(given, tally.kafka_seconds),
        raw_lookup=alone,
        offsets=alone,
        followed=cast(Any, Followed()),
        first_failure=first_failure_here,
        tally=tally,
    )
