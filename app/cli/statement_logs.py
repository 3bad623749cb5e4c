"""What a statement is made of, read from Kafka."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import click

from app.cli.brokers import reached, settings_of_the_log
from app.definitions.log import apply_settings
from app.definitions.state import Definitions
from app.kafka.lenient_fetch import limit_after
from app.kafka.log_readers import LogRecord, whole
from app.kafka.reading import driven
from app.kafka.topics import METER_DEFINITIONS
from app.offline.fold import DefinitionLine, EventLine
from app.offline.stated import Wanted
from app.offline.statement import statement


def made(
    organization_id: str | None, subscription: str, metric: str, period: str, charge: str | None
) -> bytes:
    """Return the file of a figure. Raises NoStatement."""
    settings = settings_of_the_log()
    organization_id = organization_id or settings.default_organization_id
    if organization_id is None:
        raise click.UsageError("There is no default organization: name one by --organization.")
    wanted = Wanted(organization_id, subscription, metric, period, charge)
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
        published = whole(settings, settings.topic(settings.usage_records_topic))
        with driven(runner, published) as told, driven(runner, whole(settings, raw)) as arrived:
            values = (record.value or b"" for _, records in told for record in records)
            return statement(wanted, definitions, _events(arrived), values)


def _events(batches: Iterator[tuple[int, list[LogRecord]]]) -> Iterator[EventLine]:
    for number, records in batches:
        for record in records:
            yield EventLine(
                record.timestamp_ms, number, record.offset, record.value, record.headers
            )
