"""`meter dead-letters`: what was refused and why, and sending it again."""

from __future__ import annotations

import base64
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

import click

from app.cli.outcomes import WELL, exit_code
from app.cli.output import Terminal, echo, table_of
from app.cli.remote import Json, Remote, RequestRefused, operated, remote_options
from app.cli.rows import Output, Rows, output_options
from app.cli.words import COUNT, TEXT, PlaceType
from app.wire.record_rows import cell_text
from app.wire.refusals import RefusalCode

Place = tuple[int, int]
"""Partition and offset of a dead letter."""

_PATH: Final = "/api/page/dead_letters"
_MOST_PLACES: Final = 1_000
_UNKNOWN: Final = "sent"


CODE: Final = click.Choice([str(code) for code in RefusalCode])
"""Why events are refused: a misspelt code would look as if there were none."""


@click.group("dead-letters")
def dead_letters() -> None:
    """List refused events, and replay them once their reason is gone."""


@dead_letters.command("list", short_help="Print dead letters, newest first.")
@click.option("--code", type=CODE, help="Only those refused for this reason.")
@click.option("--limit", type=COUNT, default=1_000, show_default=True, help="At most.")
@output_options
@remote_options
def list_letters(
    code: str | None, limit: int, output: Output, url: str | None, key: str | None
) -> None:
    """Print dead letters as their topic has them, newest first."""
    found = letters(operated(url, key), code)
    shown = islice(found, limit)
    output.show(
        lambda: [*shown],
        lambda: Rows.of(COLUMNS, map(with_place, shown), frozenset({"failed_at"})),
        lambda: _draw([*shown]),
    )
    if next(found, None) is not None:
        echo(f"There are more than {limit:,}: --limit shows them.", err=True)


COLUMNS = ("place", "failed_at", "code", "message", "source", "value")


def with_place(one: Json) -> Json:
    """Return a letter after its place, as it is named here."""
    return {"place": f"{one['partition']}/{one['offset']}", **one}


def letters(worker: Remote, code: str | None) -> Iterator[Json]:
    """Yield all dead letters that the topic has, newest first."""
    before: str | None = "newest"
    while before is not None:
        answer = worker.get(_PATH, code=code, before=before)
        yield from answer["dead_letters"]
        before = answer["meta"]["before"]


@dead_letters.command("show", short_help="Print one dead letter with all its bytes.")
@click.argument("place", type=PlaceType("/"))
@output_options
@remote_options
def show_letter(place: Place, output: Output, url: str | None, key: str | None) -> None:
    """Print the dead letter at PLACE, PARTITION/OFFSET. Exit status: 4 if there is none."""
    found = letter(operated(url, key), place)
    output.show(lambda: {"dead_letter": found}, lambda: letter_fields(found))


def letter(worker: Remote, place: Place) -> Json:
    """Return a dead letter whole, its bytes as text; what is no text also in base64."""
    partition, offset = place
    try:
        found: Json = worker.get(f"{_PATH}/{partition}/{offset}")["dead_letter"]
    except RequestRefused as refused:
        if refused.status == 404:
            refused.message = (
                f"There is no dead letter at {partition}/{offset}, or it names another "
                "organization. `meter dead-letters list` prints the places of all."
            )
        raise
    value = base64.b64decode(found["value"])
    whole = with_place(found) | {"value": _readable(value)}
    whole["key"] = None if found["key"] is None else _readable(base64.b64decode(found["key"]))
    whole["headers"] = {
        one["name"]: _readable(base64.b64decode(one["value"])) for one in found["headers"]
    }
    if whole["value"].encode() != value:
        whole["value_base64"] = found["value"]
    return whole


def _readable(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def letter_fields(found: Json) -> Rows:
    """Return a letter as rows, a field each."""
    return Rows(("field", "value"), ((name, cell_text(value)) for name, value in found.items()))


@dead_letters.command()
@click.argument("places", nargs=-1, type=PlaceType("/"))
@click.option(
    "--code", type=CODE, help="All refused for this reason, however many the topic keeps."
)
@click.option("--all", "every", is_flag=True, help="All that the topic keeps.")
@click.option("--before", type=TEXT, help="Go on where a replay has stopped, as it said.")
@output_options
@remote_options
def replay(
    places: tuple[Place, ...],
    code: str | None,
    every: bool,
    before: str | None,
    output: Output,
    url: str | None,
    key: str | None,
) -> None:
    """Append dead letters anew, each named as PARTITION/OFFSET, and say what became of each.

    The original bytes go to the raw topic, admitted even if too late. What is refused for another
    reason is refused again, as a new dead letter. To replay one twice is harmless: the second is
    a duplicate. What was refused again for the same reason is there more than once: --code and
    --all take the first of them. A table has those that do not count. Exit status: 1 when one does
    not count, 3 when that is not known yet.
    """
    if bool(places) + bool(code) + every != 1:
        raise click.UsageError("Name dead letters as PARTITION/OFFSET, or give --code or --all.")
    if places and before:
        raise click.UsageError("--before goes with --code or --all.")
    found = _Replay(operated(url, key), places, code, before)
    output.show(found.as_json, lambda: Rows.of(_OUTCOME, found.outcomes()), found.draw)
    if output.form not in ("table", "json"):
        echo(found.told(), err=True)
    sys.exit(exit_code(found.sums, _UNKNOWN))


_OUTCOME: Final = ("place", "outcome", "details", "transaction_id")


class _Replay:
    """A replay, and how far it has come."""

    def __init__(
        self, worker: Remote, places: Sequence[Place], code: str | None, before: str | None
    ) -> None:
        self._worker = worker
        self._before = before
        if places:
            named = [f"{partition}/{offset}" for partition, offset in places]
            starts = range(0, len(named), _MOST_PLACES)
            self._bodies: list[Json] = [{"places": named[n : n + _MOST_PLACES]} for n in starts]
        else:
            self._bodies = [{"code": code} if code else {"all": True}]
        self.sums: Counter[str] = Counter()

    def outcomes(self) -> Iterator[Json]:
        """Replay, and yield what became of each letter."""
        try:
            for body in self._bodies:
                asked = {**body, "before": self._before} if self._before else body
                yield from self._of(asked)
        except BaseException:
            if self._before:
                echo(f"{self.told()} Go on with: --before {self._before}", err=True)
            raise

    def _of(self, body: Json) -> Iterator[Json]:
        for line in self._worker.lines(f"{_PATH}/replay", body):
            if "outcome" in line:
                self.sums[line["outcome"]] += 1
                yield line
            elif line.get("before"):
                self._before = line["before"]
                if sys.stderr.isatty():
                    echo(self.told(), err=True)

    def told(self) -> str:
        """Return the sum so far."""
        sums = ", ".join(f"{number:,} {outcome}" for outcome, number in self.sums.items())
        return f"{self.sums.total():,} replayed{': ' if sums else ''}{sums}."

    def as_json(self) -> Json:
        """Replay; return what became of all."""
        outcomes = [*self.outcomes()]
        return {"replayed": len(outcomes), "sum": dict(self.sums), "outcomes": outcomes}

    def draw(self) -> None:
        """Replay; print those that do not count, and the sum."""
        others = (one for one in self.outcomes() if one["outcome"] not in WELL)
        names = ("Place", "Outcome", "Details", "Event")
        table = table_of(names, Rows.of(_OUTCOME, others).rows)
        if table.row_count:
            Terminal().print(table)
        echo(self.told())


def _draw(found: Sequence[dict[str, Any]]) -> None:
    if not found:
        echo("No event was refused.")
        return
    names = ("Place", "Failed", "Code", "Message", "Event")
    rows = Rows.of(("place", "failed_at", "code", "message", "value"), map(with_place, found)).rows
    Terminal().print(table_of(names, rows, title="Dead letters"))
