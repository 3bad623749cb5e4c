"""`meter import`: both logs as they were, from an export, into topics that are empty."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import IO

import click

from app.cli.brokers import reached, require_profile, settings_of_the_log
from app.cli.event_lines import EventsFile, InvalidEventsFile
from app.cli.output import echo
from app.cli.progress import progress
from app.definitions.files import InvalidDefinitionsFile, read_definitions
from app.kafka.rewriting import Logs, Written, require_empty, rewrite
from app.kafka.topics import METER_DEFINITIONS, USAGE_ALERTS
from app.offline.export import own_key
from app.offline.fold import EventLine
from app.settings import Settings


@click.command("import")
@click.argument("definitions", type=click.File("rb"))
@click.argument("events", type=click.File("rb"))
@click.option(
    "--into-empty",
    is_flag=True,
    help="Say that no worker runs, and that state and logs of these topics are gone.",
)
@click.option(
    "--go-on",
    is_flag=True,
    help="After an import, write what `meter export --after` has added. No worker has run since.",
)
def import_logs(definitions: IO[bytes], events: IO[bytes], into_empty: bool, go_on: bool) -> None:
    """Write DEFINITIONS and EVENTS, made by `meter export`, into Kafka as they were.

    Each record comes to its partition and offset with its append time: a worker that starts then
    publishes the same bytes under the same ids. It refuses to start before all is there. Published
    records that are still there are kept; what is missing of them is published again.
    """
    if into_empty == go_on:
        raise click.UsageError(
            "One of --into-empty and --go-on is needed: no worker may run meanwhile."
        )
    require_profile()
    settings = settings_of_the_log()
    try:
        with EventsFile(events) as arrived, reached(settings):
            defined = [
                Written(record.offset, record.append_time_ms, None, record.value)
                for record in read_definitions(definitions)
            ]
            with progress(len(defined) + arrived.count, "Writing") as advance:
                logs = {
                    number: _told(map(_written, log), advance)
                    for number, log in arrived.as_written()
                }
                written = asyncio.run(_import(settings, _told(defined, advance), logs, go_on))
    except InvalidDefinitionsFile as error:
        raise click.ClickException(f"{definitions.name}: {error}") from error
    except InvalidEventsFile as error:
        raise click.ClickException(f"{events.name}: {error}") from error
    told = ", ".join(f"{count:,} records of {name}" for name, count in written.items())
    further = "Import what was exported after it with --go-on, or start the workers"
    echo(f"{told} are written. {further}, then run `meter verify`.")


async def _import(
    settings: Settings, defined: Iterable[Written], logs: Logs, go_on: bool
) -> dict[str, int]:
    kept = (settings.usage_records_topic, settings.dead_letter_topic, USAGE_ALERTS)
    written = (settings.raw_topic, METER_DEFINITIONS) if go_on else ()
    await require_empty(settings, (*kept, *written))
    # Events first: a worker that starts too early finds no definitions, and does not begin.
    raw = await rewrite(settings, settings.raw_topic, logs, goes_on=go_on)
    return {
        settings.topic(settings.raw_topic): raw,
        settings.topic(METER_DEFINITIONS): await rewrite(
            settings, METER_DEFINITIONS, {0: defined}, goes_on=go_on
        ),
    }


def _told(records: Iterable[Written], advance: Callable[[int], None]) -> Iterator[Written]:
    for record in records:
        advance(1)
        yield record


def _written(line: EventLine) -> Written:
    key = own_key(line.value) if line.key is None else line.key
    return Written(line.offset, line.append_time_ms, key, line.value, line.headers)
