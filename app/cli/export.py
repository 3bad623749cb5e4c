"""`meter export`: the logs as files, for `meter fold` and for whoever keeps copies."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import IO, Any, Final

import click
import msgspec

from app.cli.brokers import reached, settings_of_the_log
from app.cli.ending import named_in_failures
from app.cli.event_lines import InvalidEventsFile
from app.cli.fold import TimeOption
from app.cli.output import lines_to
from app.cli.rows import Form, Output, Rows, output_of
from app.cli.words import TEXT, PlaceType
from app.definitions.files import InvalidDefinitionsFile, read_definitions
from app.definitions.periods import NEVER_MS
from app.kafka.reading import driven
from app.offline.export import ExportPart, NoSuchPlace, What, export
from app.offline.redaction import CannotRedact
from app.wire.record_rows import COLUMNS, INSTANTS, row_of

_FORMS: Final[Sequence[Form]] = ("tsv", "csv", "parquet")


class _Destination(click.File):
    """A file for lines, or a form of rows, which go to standard output."""

    name = "file or form"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return an open file, or how to print rows."""
        return output_of(value) if value in _FORMS else super().convert(value, param, ctx)


@click.command("export")
@click.argument("what", type=click.Choice(["definitions", "events", "records"]))
@click.option(
    "--output",
    "-o",
    type=_Destination("wb"),
    default="-",
    help="File for the lines; default: stdout. Or a form for RECORDS as rows on stdout: tsv, csv, "
    "parquet.",
)
@click.option(
    "--after",
    type=click.File("rb"),
    multiple=True,
    help="An earlier export: only what has come since. May be given for each of several.",
)
@click.option(
    "--since-offset",
    type=PlaceType(":"),
    multiple=True,
    help="Begin a partition at this offset, where the earlier export is not at hand. May be given "
    "for each.",
)
@click.option(
    "--subscription", type=TEXT, help="Only what has an event of this external_id; arrays whole."
)
@click.option("--from", "from_ms", type=TimeOption(), help="Only what was appended from here on.")
@click.option("--to", "to_ms", type=TimeOption(), help="Only what was appended before.")
@click.option(
    "--redact",
    is_flag=True,
    help="Events without properties that no metric reads, and without refused ones.",
)
def export_command(
    what: What,
    output: IO[bytes] | Output,
    after: Sequence[IO[bytes]],
    since_offset: Sequence[tuple[int, int]],
    subscription: str | None,
    from_ms: int | None,
    to_ms: int | None,
    *,
    redact: bool,
) -> None:
    """Write a log as JSON lines: all that is committed now.

    DEFINITIONS and EVENTS are what `meter fold` takes; RECORDS are the usage records as published.

    An export --after others begins each partition with the last record that these have, by which
    `meter import --go-on` sees that none between is missing. So does one --since-offset of that
    record.
    """
    increments = bool(after or since_offset)
    if after and what == "records":
        raise click.UsageError("--after is for definitions and events: `meter import` takes them.")
    if redact and (increments or what != "events"):
        raise click.UsageError("--redact is for all events, from the first one on.")
    if what == "definitions" and (subscription or from_ms is not None or to_ms is not None):
        raise click.UsageError("Definitions are exported whole: a fold takes all of them.")
    if isinstance(output, Output) and what != "records":
        raise click.UsageError("Rows are of records: events and definitions are lines.")
    settings = settings_of_the_log()
    since = {**_last_offsets(what, after), **dict(since_offset)}
    part = ExportPart(since, from_ms, NEVER_MS if to_ms is None else to_ms, subscription)
    try:
        exported = export(settings, what, part, redact=redact)
        with reached(settings), asyncio.Runner() as runner, driven(runner, exported) as batches:
            _write(output, chain.from_iterable(batches))
    except NoSuchPlace as error:
        raise click.UsageError(f"{error} Is the earlier export of another log?") from error
    except CannotRedact as error:
        raise click.ClickException(f"{error}. Export it without --redact.") from error


def _write(output: IO[bytes] | Output, lines: Iterator[bytes]) -> None:
    if isinstance(output, Output):
        rows = (row_of(msgspec.json.decode(line)) for line in lines)
        output.print_rows(Rows(COLUMNS, rows, INSTANTS))
        return
    write = lines_to(output)
    with named_in_failures(output):
        for line in lines:
            write(line + b"\n")


class _Event(msgspec.Struct):
    """What each line of exported events says, and no definition does."""

    partition: int = msgspec.field(name="_partition")
    offset: int = msgspec.field(name="_offset")


def _last_offsets(what: What, files: Sequence[IO[bytes]]) -> dict[int, int]:
    """Return the greatest offset that earlier exports have, by partition.

    Raises:
        BadParameter: a file is none of them. What comes after its last line is not what it lacks.
    """
    last: dict[int, int] = {}
    for file in files:
        try:
            for partition, offset in _places(what, file):
                last[partition] = max(offset, last.get(partition, 0))
        except (InvalidDefinitionsFile, InvalidEventsFile) as error:
            told = f"{file.name} is no export of {what}: {error}"
            raise click.BadParameter(told, param_hint="--after") from error
    return last


def _places(what: What, file: IO[bytes]) -> Iterator[tuple[int, int]]:
    """Yield partition and offset of each line."""
    if what == "definitions":
        for record in read_definitions(file):
            yield 0, record.offset
        return
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            event = msgspec.json.decode(line, type=_Event)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise InvalidEventsFile(f"line {number}: {error}") from error
        yield event.partition, event.offset
