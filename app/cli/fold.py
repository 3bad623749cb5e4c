"""`meter fold`: two log files in, usage records and current usage out, without any server."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from typing import IO, Final, get_args

import click

from app.api.http.json_text import encode
from app.api.usage.usage_json import current_usage_json
from app.billing_periods.instants import parse_iso8601_ms
from app.cli.event_lines import EventsFile, InvalidEventsFile
from app.cli.output import echo, lines_to
from app.cli.progress import progress
from app.cli.remote import told_error
from app.definitions.files import DefinitionLine, InvalidDefinitionsFile, read_definitions
from app.definitions.outcome import Rejected
from app.definitions.subscription_requests import LATEST_START_MS
from app.offline.fold import OfflineMeter
from app.wire.usage_records import Topic

LEAST_MS: Final = 100_000_000_000
"""3 March 1973: a smaller number is a year, a date without hyphens or seconds by mistake."""

_MOST_TOLD: Final = 10


class TimeOption(click.ParamType):
    """Milliseconds since the epoch, given as such or as RFC 3339."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return milliseconds since the epoch."""
        text = str(value)
        is_number = text.isascii() and text.isdecimal()
        at_ms = int(text) if is_number else parse_iso8601_ms(text)
        if at_ms is None:
            self.fail(f"{text!r} is neither milliseconds nor RFC 3339", param, ctx)
        if is_number and at_ms < LEAST_MS:
            self.fail(
                f"{text!r} would be {at_ms:,} ms after 1970. Write a time of ISO 8601, for example "
                "2026-10-01 or 2026-10-01T00:00:00Z, or milliseconds of 12 digits or more.",
                param,
                ctx,
            )
        if at_ms >= LATEST_START_MS:
            self.fail(f"{text!r} lies beyond the year 8999", param, ctx)
        return at_ms


@click.command()
@click.argument("definitions", type=click.File("rb"))
@click.argument("events", type=click.File("rb"))
@click.option(
    "--at",
    "at_ms",
    type=TimeOption(),
    required=True,
    help="How far to fold: nothing appended later counts, every cut until then is taken.",
)
@click.option("--records-only", is_flag=True, help="Usage records without the current usage.")
@click.option(
    "--topic",
    "topics",
    type=click.Choice(get_args(Topic)),
    multiple=True,
    default=("usage-records",),
    show_default=True,
    help="Print what goes to this topic; repeat it for several.",
)
def fold(
    definitions: IO[bytes],
    events: IO[bytes],
    at_ms: int,
    records_only: bool,
    topics: tuple[Topic, ...],
) -> None:
    """Fold DEFINITIONS and EVENTS offline: the bytes a worker would publish, without servers.

    DEFINITIONS are JSON lines of the definitions log with `_append_time` (ms or RFC 3339) and
    `_offset`. EVENTS are JSON lines of raw values, each with optional `_append_time` (else the time
    of its events), `_partition` (else 0), `_offset` (else the next) and `_headers` (an object of
    texts; `_headers_base64`: pairs of a name and its bytes; `_key_base64`: of no effect). A value
    that is no JSON object (an array of events, broken bytes) stands under `_value`, or as bytes
    under `_value_base64`; a line that is an array is its own value.

    Prints usage records, or what goes to the topics named, one a line, then for each subscription
    one line with its current usage.
    """
    defined = _definitions(definitions)
    output = click.get_binary_stream("stdout")
    write = lines_to(output)
    with tempfile.TemporaryFile(prefix="meter-fold-") as file:
        meter, made = OfflineMeter(), _Made(file, topics)
        _run(meter, defined, events, at_ms, made)
        file.seek(0)
        for line in file:
            write(line)
    if not records_only:
        for line in _usage_lines(meter, at_ms):
            write(line + b"\n")
    output.flush()
    _tell(meter, made)


class _Made:
    """What a fold has made, which does not stay in memory: there may be more than of events."""

    def __init__(self, file: IO[bytes], topics: Container[Topic]) -> None:
        """Write the records of these topics to a file: none is printed if an event is no event."""
        self._file = file
        self._topics = topics
        self.refused: Counter[str] = Counter()
        self.first_refused: dict[str, str] = {}
        self.rejected = 0
        self.first_rejected: list[tuple[int, Rejected]] = []

    def take_from(self, meter: OfflineMeter) -> None:
        """Take what was made since the last call."""
        for record in meter.records:
            if record.topic in self._topics:
                self._file.write(record.value + b"\n")
        for refusal in meter.refused:
            self.refused[refusal.code] += 1
            self.first_refused.setdefault(refusal.code, refusal.message)
        self.rejected += len(meter.rejected)
        self.first_rejected += meter.rejected[: _MOST_TOLD - len(self.first_rejected)]
        for made in (meter.records, meter.refused, meter.rejected):
            made.clear()


def _run(
    meter: OfflineMeter,
    defined: Sequence[DefinitionLine],
    events: IO[bytes],
    at_ms: int,
    made: _Made,
) -> None:
    try:
        with (
            EventsFile(events) as arrived,
            progress(len(defined) + arrived.count, "Folding") as advance,
        ):

            def take(applied: int) -> None:
                advance(applied)
                made.take_from(meter)

            meter.run_logs(defined, arrived.logs(), at_ms, take)
            made.take_from(meter)
    except InvalidEventsFile as error:
        raise click.ClickException(f"{events.name}: {error}") from error


def _definitions(file: IO[bytes]) -> list[DefinitionLine]:
    try:
        return list(read_definitions(file))
    except InvalidDefinitionsFile as error:
        raise click.ClickException(f"{file.name}: {error}") from error


def _usage_lines(meter: OfflineMeter, at_ms: int) -> Iterator[bytes]:
    names = {*meter.definitions.all_subscription_keys(), *meter.partition.event_ranges.codes}
    for name in sorted(names):
        usage = meter.usage(name, at_ms)
        if usage is not None:
            yield encode(
                {
                    "organization_id": name[0],
                    "external_customer_id": usage.subscription.external_customer_id,
                    "external_subscription_id": name[1],
                    "lago_subscription_id": usage.subscription.id,
                    "customer_usage": current_usage_json(usage),
                }
            )


def _tell(meter: OfflineMeter, made: _Made) -> None:
    for code, count in sorted(made.refused.items()):
        echo(f"{count} events refused: {code}, the first: {made.first_refused[code]}", err=True)
    for reason, count in sorted(meter.partition.ignored.items()):
        echo(f"{count} times ignored for a charge: {reason}", err=True)
    for offset, rejected in made.first_rejected:
        why = told_error(rejected.code, rejected.details)
        echo(f"definition {offset} rejected: {why}", err=True)
    if made.rejected:
        echo(f"{made.rejected} definitions rejected", err=True)
