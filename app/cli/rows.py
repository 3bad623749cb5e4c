"""What commands list, printed in one way: a table to read, or rows for a program.

On a terminal a table is drawn. In a pipe rows are tab-separated under a header, complete and never
wrapped. `-o` chooses: a table also in a pipe, or a format also on a terminal.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from io import StringIO
from itertools import chain
from typing import Any, Final, Literal, NamedTuple, TypeVar, get_args

import click
import msgspec

from app.cli.exits import WrongUsage, not_installed
from app.cli.output import Terminal, echo, lines_to, print_json, table_of
from app.wire.record_rows import cell_text

Form = Literal["table", "tsv", "csv", "json", "jsonl", "parquet"]
Command = TypeVar("Command", bound=Callable[..., Any])

_AT_ONCE: Final = 10_000
"""Rows of a row group of Parquet."""


class Rows(NamedTuple):
    """Columns in an order that only grows, and a text for each: figures exact, instants in ISO."""

    columns: Sequence[str]
    rows: Iterable[Sequence[str]]
    instants: frozenset[str] = frozenset()
    """Columns that Parquet has as timestamps."""

    @classmethod
    def of(
        cls,
        columns: Sequence[str],
        objects: Iterable[Mapping[str, object]],
        instants: frozenset[str] = frozenset(),
    ) -> Rows:
        """Return a row for each JSON object, of its fields that the columns name."""
        rows = ([cell_text(one.get(name)) for name in columns] for one in objects)
        return cls(columns, rows, instants)


class Output(NamedTuple):
    """How a command is asked to print."""

    form: Form
    header: bool = True

    def show(
        self,
        answer: Callable[[], object],
        rows: Callable[[], Rows],
        drawn: Callable[[], None] | None = None,
    ) -> None:
        """Print as asked: the API's answer, rows, or what `drawn` draws."""
        if self.form == "json":
            print_json(answer())
        elif self.form == "table" and drawn is not None:
            drawn()
        else:
            self.print_rows(rows())

    def print_rows(self, found: Rows) -> None:
        """Print rows in any form but the API's JSON.

        Before the first is known nothing is printed: a header alone would say that there is none.
        """
        rows = iter(found.rows)
        first = next(rows, None)
        found = found._replace(rows=chain(() if first is None else (first,), rows))
        match self.form:
            case "table":
                _draw(found, header=self.header)
            case "csv":
                _write_texts(found, _csv_line, header=self.header)
            case "jsonl":
                _write_lines(found)
            case "parquet":
                write_parquet(found)
            case _:
                _write_texts(found, _tsv_line, header=self.header)


def output_options(command: Command) -> Command:
    """Add `-o`, `--no-header` and `--json`, given to the command as `output`."""
    for option in (
        click.option(
            "--json",
            expose_value=False,
            is_eager=True,
            is_flag=True,
            callback=_note,
            help="The API's JSON, as -o json.",
        ),
        click.option(
            "--no-header",
            expose_value=False,
            is_eager=True,
            is_flag=True,
            callback=_note,
            help="Rows without the names of their columns.",
        ),
        click.option(
            "-o",
            "--output",
            type=click.Choice(get_args(Form)),
            callback=_output,
            help="Default: a table on a terminal, else tsv.",
        ),
    ):
        command = option(command)
    return command


def _note(context: click.Context, parameter: click.Parameter, given: bool) -> None:
    context.meta[f"{__name__}.{parameter.name}"] = given


def _output(context: click.Context, _: click.Parameter, form: Form | None) -> Output:
    if form is None:
        by_default: Form = "table" if sys.stdout.isatty() else "tsv"
        form = "json" if context.meta.get(f"{__name__}.json") else by_default
    return output_of(form, header=not context.meta.get(f"{__name__}.no_header"))


def output_of(form: Form, *, header: bool = True) -> Output:
    """Return how to print in a form, unless it cannot be printed here."""
    if form == "parquet":
        # Before anything is asked or done, so that nobody waits for nothing.
        _arrow()
        if sys.stdout.isatty():
            raise click.UsageError("Parquet is for a file: redirect it, as in `-o parquet > FILE`.")
    return Output(form, header=header)


def _draw(found: Rows, *, header: bool) -> None:
    names = (name.replace("_", " ") for name in found.columns)
    table = table_of(names, found.rows, header=header)
    if table.row_count:
        Terminal().print(table)
    else:
        echo("Nothing is there.")


def _write_texts(found: Rows, line_of: Callable[[Sequence[str]], str], *, header: bool) -> None:
    for row in chain([found.columns] if header else [], found.rows):
        echo(line_of(row))


def _tsv_line(row: Sequence[str]) -> str:
    return "\t".join(map(_in_one_field, row))


def _in_one_field(text: str) -> str:
    """Return a text without what ends a field or a line: these are spelled."""
    for plain, spelled in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, spelled)
    return text


def _csv_line(row: Sequence[str]) -> str:
    text = StringIO()
    csv.writer(text).writerow(row)
    return text.getvalue().removesuffix("\r\n")


def _write_lines(found: Rows) -> None:
    write = lines_to(click.get_binary_stream("stdout"))
    for row in found.rows:
        write(msgspec.json.encode(dict(zip(found.columns, row, strict=True))) + b"\n")


def _arrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        told = f"-o parquet needs {not_installed('pyarrow', 'parquet')}"
        raise WrongUsage(told) from error
    return pyarrow


def write_parquet(found: Rows) -> None:
    """Write Parquet to standard output: texts, and timestamps of instants, never a float."""
    arrow = _arrow()
    instant = arrow.timestamp("ms", tz="UTC")
    schema = arrow.schema(
        [(name, instant if name in found.instants else arrow.string()) for name in found.columns]
    )
    stream = click.get_binary_stream("stdout")
    with arrow.parquet.ParquetWriter(stream, schema) as file:
        some: list[Mapping[str, object]] = []
        for row in found.rows:
            some.append(_cells(found, row))
            if len(some) == _AT_ONCE:
                file.write_table(arrow.Table.from_pylist(some, schema=schema))
                some = []
        file.write_table(arrow.Table.from_pylist(some, schema=schema))


def _cells(found: Rows, row: Sequence[str]) -> dict[str, object]:
    return {
        name: _instant(text) if name in found.instants else text
        for name, text in zip(found.columns, row, strict=True)
    }


def _instant(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
