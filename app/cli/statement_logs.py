"""What a statement is made of, read from Kafka.

It needs all definitions, for any may set an event aside; of the records those of the home
partition; and of the events all until the newest cut, in whichever partition they came in.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import click

from app.cli.brokers import reached, settings_of_the_log
from app.definitions.files import DefinitionLine
from app.definitions.log import apply_settings
from app.definitions.state import Definitions
from app.kafka.lenient_fetch import limit_after
from app.kafka.log_readers import bounds, scan, whole
from app.kafka.names import TopicPartition
from app.kafka.reading import driven
from app.kafka.topics import METER_DEFINITIONS, partition_count
from app.offline.fold import EventLine
from app.offline.stated import StatedFigure
from app.offline.statement import statement
from app.wire.keys import home_partition, message_key


def made(
    organization_id: str | None, subscription: str, metric: str, period: str, charge: str | None
) -> bytes:
    """Return the file of a figure. Raises NoStatement."""
    settings = settings_of_the_log()
    organization_id = organization_id or settings.default_organization_id
    if organization_id is None:
        raise click.UsageError("There is no default organization: name one by --organization.")
    wanted = StatedFigure(organization_id, subscription, metric, period, charge)
    raw = settings.topic(settings.raw_topic)
    with reached(settings), asyncio.Runner() as runner:
        with driven(runner, whole(settings, settings.topic(METER_DEFINITIONS))) as batches:
            definitions = [
                DefinitionLine(record.timestamp_ms, record.offset, record.value)
                for _, records in batches
                for record in records
            ]
        # Batches are read as workers read them.
        known = Definitions()
        for line in definitions:
            apply_settings(known, line.value, line.append_time_ms, line.offset)
        limit_after(raw, known.limited_after_ms())

        def events_until(cut_ms: int) -> Iterator[EventLine]:
            with driven(runner, whole(settings, raw, cut_ms + 1)) as batches:
                for number, records in batches:
                    for record in records:
                        line = record.timestamp_ms, number, record.offset
                        yield EventLine(*line, record.value, record.headers)

        partitions = runner.run(partition_count(settings, raw))
        partitioner = known.settings_at().home_partitioner
        number = home_partition(message_key(*wanted.name), partitions, partitioner)
        home = TopicPartition(settings.topic(settings.usage_records_topic), number)
        published = scan(settings, home, *runner.run(bounds(settings, home)))
        with driven(runner, published) as told:
            values = (record.value or b"" for records in told for record in records)
            return statement(wanted, definitions, events_until, values)
