"""`meter export`: the logs as files, for `meter fold` and for whoever keeps copies."""

from __future__ import annotations

import asyncio
from typing import IO

import click

from app.cli.brokers import reached, settings_of_the_log
from app.cli.output import lines_to
from app.offline.export import What, export
from app.settings import Settings


@click.command("export")
@click.argument("what", type=click.Choice(["definitions", "events", "records"]))
@click.option("--output", "-o", type=click.File("wb"), default="-", help="File; default: stdout.")
def export_command(what: What, output: IO[bytes]) -> None:
    """Write a log as JSON lines: all that is committed now.

    DEFINITIONS and EVENTS are what `meter fold` takes; RECORDS are the usage records as published.
    """
    settings = settings_of_the_log()
    with reached(settings):
        asyncio.run(_export(settings, what, output))


async def _export(settings: Settings, what: What, output: IO[bytes]) -> None:
    write = lines_to(output)
    async for line in export(settings, what):
        write(line + b"\n")
