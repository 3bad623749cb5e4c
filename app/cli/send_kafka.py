"""Events appended to the raw topic itself, as a producer on Kafka does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import msgspec

from app.cli.brokers import reached, settings_of_the_log
from app.cli.event_rows import Row
from app.kafka.appender import Appender
from app.kafka.topics import partition_count
from app.wire.keys import home_partition, message_key


@contextmanager
def direct(organization_id: str) -> Iterator[Callable[[Sequence[Row]], None]]:
    """Open the raw topic for the length of a block; give what appends events of an organization.

    Each goes to the partition of its subscription. It returns once all are there.
    """
    settings = settings_of_the_log()
    topic = settings.topic(settings.raw_topic)
    with reached(settings), asyncio.Runner() as runner:
        partitions = runner.run(partition_count(settings, topic))
        appender = Appender(settings)

        async def append_one(event: Row) -> None:
            value = {"organization_id": organization_id, **event}
            key = message_key(value["organization_id"], str(event["external_subscription_id"]))
            number = home_partition(key, partitions, settings.home_partitioner)
            await appender.append(topic, key, msgspec.json.encode(value), number)

        async def append(events: Sequence[Row]) -> None:
            await asyncio.gather(*map(append_one, events))

        try:
            yield lambda events: runner.run(append(events))
        finally:
            runner.run(appender.stop())
