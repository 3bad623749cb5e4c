"""What a statement is made of, read from Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import click

from app.cli.brokers import reached, settings_of_the_log
from app.definitions.log import apply
from app.definitions.state import Definitions
from app.kafka.lenient_fetch import limit_after
from app.kafka.log_readers import LogRecord, bounds, scan
from app.kafka.names import TopicPartition
from app.kafka.topics import METER_DEFINITIONS, partition_count
from app.offline.fold import DefinitionLine, EventLine
from app.offline.stated import Wanted
from app.offline.statement import statement
from app.settings import Settings


def made(
    organization_id: str | None, subscription: str, metric: str, period: str, charge: str | None
) -> bytes:
    """Return the file of a figure. Raises NoStatement."""
    settings = settings_of_the_log()
    organization_id = organization_id or settings.default_organization_id
    if organization_id is None:
        raise click.UsageError("There is no default organization: name one by --organization.")
    wanted = Wanted(organization_id, subscription, metric, period, charge)
    with reached(settings), asyncio.Runner() as runner:
        logs = _Logs(settings, runner)
        definitions = [
            DefinitionLine(record.timestamp_ms, record.offset, record.value)
            for _, record in logs.records(settings.topic(METER_DEFINITIONS))
        ]
        # Batches are read as workers read them.
        known = Definitions()
        for line in definitions:
            apply(known, line.value, line.append_time_ms, line.offset)
        limit_after(settings.topic(settings.raw_topic), known.limited_after_ms())
        published = (
            record.value or b""
            for _, record in logs.records(settings.topic(settings.usage_records_topic))
        )
        events = (
            EventLine(record.timestamp_ms, number, record.offset, record.value, record.headers)
            for number, record in logs.records(settings.topic(settings.raw_topic))
        )
        return statement(wanted, definitions, events, published)


class _Logs:
    """Whole topics as they are now; the loop runs while more of one is fetched."""

    def __init__(self, settings: Settings, runner: asyncio.Runner):
        self._settings, self._runner = settings, runner

    def records(self, topic: str) -> Iterator[tuple[int, LogRecord]]:
        """Yield the records of a topic with their partitions, partition by partition."""
        for number in range(self._runner.run(partition_count(self._settings, topic))):
            tp = TopicPartition(topic, number)
            fetched = scan(self._settings, tp, *self._runner.run(bounds(self._settings, tp)))
            while records := self._runner.run(_next(fetched)):
                for record in records:
                    yield number, record


async def _next(fetched: AsyncIterator[list[LogRecord]]) -> list[LogRecord]:
    return await anext(fetched, [])
