"""`meter statement`: a published figure with its proof in a file, and the check of such a file."""

from __future__ import annotations

import io
import sys
import zipfile
from collections import Counter
from hashlib import sha256
from itertools import chain
from typing import IO, Any, Final

import click
import msgspec

from app.billing_periods.instants import parse_iso8601_ms
from app.billing_periods.timezones import tzdata_version
from app.cli.ending import named_in_failures
from app.cli.event_lines import EventsFile, InvalidEventsFile
from app.cli.exits import DIFFERS, NotThere, NoVerdict, not_installed
from app.cli.output import echo
from app.cli.words import TEXT
from app.definitions.files import InvalidDefinitionsFile, read_definitions
from app.offline.fold import OfflineMeter
from app.offline.stated import (
    FORMAT,
    NAMES,
    SUMS,
    NoStatement,
    StatedFigure,
    StatementVerdict,
    compared,
)
from app.offline.stated_events import events_csv


class _Statement(click.Group):
    """A group of which `make` is meant where no command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the command before its words."""
        named = {*self.commands, *self.get_help_option_names(ctx)}
        return super().parse_args(ctx, args if not args or args[0] in named else ["make", *args])


@click.group(cls=_Statement)
def statement() -> None:
    """Write a statement of a published figure that anybody can check, or check one.

    meter statement SUBSCRIPTION METRIC --period 2026-10 -o FILE.zip
    """


@statement.command()
@click.argument("subscription", type=TEXT)
@click.argument("metric", type=TEXT)
@click.option(
    "--period", type=TEXT, required=True, help="Month or day on which it begins, as 2026-10."
)
@click.option("--charge", type=TEXT, help="Only the charge of this code.")
@click.option("--organization", type=TEXT, help="Default: the default organization.")
@click.option("-o", "--output", required=True, type=click.File("wb", lazy=True), help="FILE.zip.")
def make(
    subscription: str,
    metric: str,
    period: str,
    charge: str | None,
    organization: str | None,
    output: IO[bytes],
) -> None:
    """Write what is published of METRIC (a code) of SUBSCRIPTION, with all that it follows from.

    Records, events and definitions are read from Kafka: METER_KAFKA_BOOTSTRAP_SERVERS, or else the
    one that `meter up` runs. The same figure gives the same bytes. Exit status: 4 when nothing of
    that name is published.
    """
    try:
        from app.cli.statement_logs import made
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"`meter statement` reads Kafka with {not_installed(str(error.name), 'worker')}"
        ) from error
    try:
        content = made(organization, subscription, metric, period, charge)
    except NoStatement as error:
        raise NotThere(str(error)) from error
    with named_in_failures(output):
        output.write(content)
    echo(f"{output.name}: {len(content):,} bytes, SHA-256 {sha256(content).hexdigest()}", err=True)


@statement.command()
@click.argument("file", type=click.File("rb"))
def check(file: IO[bytes]) -> None:
    """Check FILE without any server: fold its logs, and compare records and digests.

    Exit status: 0 when all is equal, 1 when something differs, 3 when that cannot be told.
    """
    contents = _contents(file)
    changed = _changed(contents)
    for name in changed:
        echo(f"{name} is not what {SUMS} says")
    stated = _stated(contents)
    wanted = StatedFigure(
        stated["organization_id"],
        stated["external_subscription_id"],
        stated["billable_metric"]["code"],
        "",
        stated["charge_code"],
    )
    verdict = _verdict(contents, stated, wanted)
    for difference in verdict.differences:
        echo(difference)
    if verdict.differences or changed:
        sys.exit(DIFFERS)
    if not verdict.records:
        raise NoVerdict("It holds no record: nothing was compared.")
    _tell(stated, verdict)


def _contents(file: IO[bytes]) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(file.read())) as archive:
            named = archive.namelist()
            contents = {name: archive.read(name) for name in named}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise NoVerdict(f"{file.name} is no statement: {error}") from error
    missing = sorted({*NAMES, SUMS} - contents.keys())
    if missing:
        raise NoVerdict(f"{file.name} is no statement: it lacks {', '.join(missing)}.")
    if len(named) != len(NAMES) + 1:
        # Whoever opens it would read what nothing here compares.
        more = sorted((Counter(named) - Counter((*NAMES, SUMS))).elements())
        raise NoVerdict(f"{file.name} holds what no statement has: {', '.join(more)}.")
    return contents


def _changed(contents: dict[str, bytes]) -> list[str]:
    lines = contents[SUMS].decode("utf-8", "replace").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    return [name for name in NAMES if sums.get(name) != sha256(contents[name]).hexdigest()]


def _stated(contents: dict[str, bytes]) -> dict[str, Any]:
    try:
        stated: dict[str, Any] = msgspec.json.decode(contents["statement.json"])
        number = stated["format"]
        named = (stated["organization_id"], stated["external_subscription_id"])
        code, zones = stated["billable_metric"]["code"], stated["versions"]["tzdata"]
        told = (*named, code, stated["charge_code"], stated["period"], zones)
        if not all(isinstance(cell["cell_id"], str) for cell in stated["cells"]) or not told:
            raise TypeError("cells")
    except (msgspec.MsgspecError, ValueError, LookupError, TypeError) as error:
        raise NoVerdict(f"statement.json cannot be read: {error!r}") from error
    if not isinstance(number, int) or number > FORMAT:
        raise NoVerdict(f"It has format {number}, and this version knows {FORMAT}: upgrade.")
    return stated


def _verdict(
    contents: dict[str, bytes], stated: dict[str, Any], wanted: StatedFigure
) -> StatementVerdict:
    cut_ms = parse_iso8601_ms(str(stated.get("cut", "")))
    if cut_ms is None:
        raise NoVerdict("statement.json names no cut.")
    events = io.BytesIO(contents["events.jsonl"])
    values = contents["records.jsonl"].splitlines()
    try:
        defined = list(read_definitions(contents["definitions.jsonl"].splitlines()))
        with EventsFile(events) as arrived:
            meter = OfflineMeter()
            meter.run_logs(defined, arrived.logs(), cut_ms)
            found = compared(wanted, stated, values, meter.records)
            # Whoever disputes a figure reads these.
            every = chain.from_iterable(arrived.logs())
            listed = events_csv(meter, wanted, values, every) if values else b""
        if found.records and listed != contents["events.csv"]:
            more = "events.csv is not what the events make"
            return found._replace(differences=(*found.differences, more))
        return found
    except (InvalidDefinitionsFile, InvalidEventsFile, msgspec.MsgspecError, LookupError) as error:
        raise NoVerdict(f"Its logs or records cannot be read: {error}") from error


_PROVED: Final = (
    "Proved: each record of the figure and its digest follow, byte by byte, from the events and "
    "definitions in this file.\n"
    "Not proved: that these events are all there are, and that the definitions are those that were "
    "agreed on. Compare events.csv to your own list."
)


def _tell(stated: dict[str, Any], verdict: StatementVerdict) -> None:
    code, period = stated["billable_metric"]["code"], stated["period"]
    echo(
        f"{code} of {stated['external_subscription_id']}, {period['from']} to {period['to']} "
        f"({period['timezone']}), cut {stated['cut']}: equal, {verdict.records} records."
    )
    echo(_PROVED)
    zones = stated["versions"]["tzdata"]
    if zones != tzdata_version():
        echo(f"It was made with tzdata {zones}, and checked with {tzdata_version()}.")
