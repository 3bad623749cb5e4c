"""`meter export`: the logs as files, for `meter fold` and for whoever keeps copies."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import IO

import click

from app.cli.brokers import reached, settings_of_the_log
from app.cli.event_lines import EventsFile, InvalidEventsFile
from app.cli.output import lines_to
from app.definitions.files import InvalidDefinitionsFile, read_definitions
from app.offline.export import What, export
from app.offline.redaction import CannotRedact
from app.settings import Settings


@click.command("export")
@click.argument("what", type=click.Choice(["definitions", "events", "records"]))
@click.option("--output", "-o", type=click.File("wb"), default="-", help="File; default: stdout.")
@click.option(
    "--after",
    type=click.File("rb"),
    multiple=True,
    help="An earlier export: only what has come since. May be given for each of several.",
)
@click.option(
    "--redact",
    is_flag=True,
    help="Events without properties that no metric reads, and without refused ones.",
)
def export_command(
    what: What, output: IO[bytes], after: Sequence[IO[bytes]], *, redact: bool
) -> None:
    """Write a log as JSON lines: all that is committed now.

    DEFINITIONS and EVENTS are what `meter fold` takes; RECORDS are the usage records as published.

    An export --after others begins each partition with the last record that these have, by which
    `meter import --go-on` sees that none between is missing.
    """
    if after and what == "records":
        raise click.UsageError("--after is for definitions and events: `meter import` takes them.")
    if redact and (after or what != "events"):
        raise click.UsageError("--redact is for all events, from the first one on.")
    settings = settings_of_the_log()
    try:
        since = _last_offsets(what, after)
    except (InvalidDefinitionsFile, InvalidEventsFile) as error:
        raise click.ClickException(str(error)) from error
    try:
        with reached(settings):
            asyncio.run(_export(settings, what, output, since, redact=redact))
    except CannotRedact as error:
        raise click.ClickException(f"{error}. Export it without --redact.") from error


def _last_offsets(what: What, files: Sequence[IO[bytes]]) -> dict[int, int]:
    """Return the greatest offset that earlier exports have, by partition."""
    last: dict[int, int] = {}
    for file in files:
        if what == "definitions":
            offsets = [record.offset for record in read_definitions(file)]
            last[0] = max((*offsets, last.get(0, 0)))
            continue
        with EventsFile(file) as arrived:
            for partition, lines in arrived.partitions(as_written=True):
                for line in lines:
                    last[partition] = max(line.offset, last.get(partition, 0))
    return last


async def _export(
    settings: Settings, what: What, output: IO[bytes], since: Mapping[int, int], *, redact: bool
) -> None:
    write = lines_to(output)
    async for line in export(settings, what, since, redact=redact):
        write(line + b"\n")
