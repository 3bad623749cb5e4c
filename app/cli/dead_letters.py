"""`meter dead-letters`: what was refused and why, and sending it again."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click
from rich.markup import escape
from rich.table import Table

from app.cli.output import Terminal, echo, print_json
from app.cli.remote import Json, Remote, RequestRefused, operated, remote_options
from app.cli.rows import Output, Rows, cell_text, output_options

MOST = 1000
Place = tuple[int, int]
"""Partition and offset of a dead letter."""


class PlaceType(click.ParamType):
    """PARTITION/OFFSET, as `list` prints it."""

    name = "partition/offset"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        """Return both numbers, partition and offset."""
        partition, _, offset = str(value).partition("/")
        if not (partition.isdecimal() and offset.isdecimal()):
            self.fail(f"{value!r} is not PARTITION/OFFSET, for example 0/17", param, ctx)
        return int(partition), int(offset)


@click.group("dead-letters")
def dead_letters() -> None:
    """List refused events, and replay them once their reason is gone."""


@dead_letters.command("list", short_help="Print the newest dead letters, newest first.")
@click.option("--code", help="Only those refused for this reason, for example invalid_json.")
@output_options()
@remote_options
def list_letters(code: str | None, output: Output, url: str | None, key: str | None) -> None:
    """Print the newest dead letters (each worker shows its newest 50), newest first."""
    letters = newest(operated(url, key), code)
    output.show(
        lambda: letters,
        lambda: Rows(COLUMNS, (letter_row(one) for one in letters), frozenset({"failed_at"})),
        lambda: Terminal().print(_table(letters)) if letters else echo("No event was refused."),
    )


COLUMNS = ("place", "failed_at", "code", "message", "source", "value")


def letter_row(one: Json) -> list[str]:
    """Return the texts of the columns."""
    place = f"{one['partition']}/{one['offset']}"
    return [place, *(cell_text(one.get(name)) for name in COLUMNS[1:])]


@dead_letters.command()
@click.argument("places", nargs=-1, type=PlaceType())
@click.option("--code", help="All listed ones refused for this reason.")
@click.option("--all", "every", is_flag=True, help="All listed ones.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array of what became of each.")
@remote_options
def replay(
    places: tuple[Place, ...],
    code: str | None,
    every: bool,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Append dead letters anew, each named as PARTITION/OFFSET.

    The original bytes go to the raw topic, admitted even if too late. What is refused for another
    reason is refused again, as a new dead letter. Exits with 1 if one could not be replayed.
    """
    if bool(places) + bool(code) + every != 1:
        raise click.UsageError("Name dead letters as PARTITION/OFFSET, or give --code or --all.")
    worker = operated(url, key)
    wanted = places or tuple((one["partition"], one["offset"]) for one in newest(worker, code))
    outcomes = _replay(worker, wanted, show_progress=not as_json)
    failed = [outcome for outcome in outcomes if outcome["error"] is not None]
    if as_json:
        print_json(outcomes)
    else:
        echo(f"{len(outcomes) - len(failed)} of {len(outcomes)} replayed.")
        for outcome in failed:
            place = f"{outcome['partition']}/{outcome['offset']}"
            echo(f"{place}: {outcome['error']}", err=True)
    if failed:
        raise SystemExit(1)


def newest(worker: Remote, code: str | None) -> list[Json]:
    """Return what the page lists, newest first."""
    letters: list[Json] = worker.get("/api/page/overview", limit=MOST)["dead_letters"]
    return [letter for letter in letters if code in (None, letter["code"])]


def _replay(worker: Remote, places: Sequence[Place], show_progress: bool) -> list[Json]:
    outcomes: list[Json] = []
    hidden = not show_progress or len(places) < 2 or not sys.stderr.isatty()
    with click.progressbar(places, label="Replaying", hidden=hidden, file=sys.stderr) as bar:
        for partition, offset in bar:
            error = None
            try:
                worker.post(
                    "/api/page/dead_letters/replay",
                    {"partition": partition, "offset": offset},
                    Meter_Page="1",
                )
            except RequestRefused as refused:
                error = refused.message
            outcomes.append({"partition": partition, "offset": offset, "error": error})
    return outcomes


def _table(letters: Sequence[Json]) -> Table:
    table = Table(title="Dead letters", title_justify="left")
    for name in ("Place", "Failed", "Code", "Message", "Event"):
        table.add_column(name, overflow="fold")
    for one in letters:
        cells = (one["failed_at"], one["code"], one["message"], one["value"])
        table.add_row(f"{one['partition']}/{one['offset']}", *map(escape, cells))
    return table
