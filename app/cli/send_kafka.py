"""Events appended to the raw topic itself, as a producer on Kafka does."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from app.cli.brokers import reached, settings_of_the_log
from app.cli.event_rows import Row
from app.kafka.appender import Appender
from app.kafka.topics import partition_count
from app.settings import Settings
from app.wire.keys import home_partition, message_key


class Direct:
    """The raw topic, for the events of one organization."""

    def __init__(self, runner: asyncio.Runner, settings: Settings, organization_id: str):
        self._runner, self._settings = runner, settings
        self._organization_id = organization_id
        self._topic = settings.topic(settings.raw_topic)
        self._partitions = runner.run(partition_count(settings, self._topic))
        self._appender = Appender(settings)

    def append(self, events: Sequence[Row]) -> None:
        """Append events, each to the partition of its subscription; return once all are there."""
        self._runner.run(self._append(events))

    async def _append(self, events: Sequence[Row]) -> None:
        await asyncio.gather(*map(self._append_one, events))

    async def _append_one(self, event: Row) -> None:
        value = {"organization_id": self._organization_id, **event}
        key = message_key(value["organization_id"], str(event["external_subscription_id"]))
        number = home_partition(key, self._partitions, self._settings.home_partitioner)
        await self._appender.append(self._topic, key, msgspec.json.encode(value), number)

    def stop(self) -> None:
        """Close the connection."""
        self._runner.run(self._appender.stop())


@contextmanager
def direct(organization_id: str) -> Iterator[Direct]:
    """Open the raw topic for the length of a block."""
    settings = settings_of_the_log()
    with reached(settings), asyncio.Runner() as runner:
        made = Direct(runner, settings, organization_id)
        try:
            yield made
        finally:
            made.stop()
