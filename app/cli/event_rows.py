"""Files of events: JSON lines (Lago's fields or CloudEvents), CSV and Parquet, as Lago's fields.

Numbers and texts stay as they are spelled: nothing here becomes a float.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, Final

import click

from app.cli.exits import WrongUsage, not_installed
from app.cli.output import echo
from app.cli.remote import decode

Row = dict[str, Any]
"""Lago's fields of an event; `properties` is an object. Values are texts or exact numbers."""

_OF_CLOUD_EVENTS: Final = {
    "id": "transaction_id",
    "type": "code",
    "subject": "external_subscription_id",
    "time": "timestamp",
    "data": "properties",
}
_FIELDS: Final = (
    "transaction_id",
    "external_subscription_id",
    "code",
    "timestamp",
    "precise_total_amount_cents",
    "value",
)
_PROPERTY: Final = "properties."


def mapping(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Read `--map field=column,…`: which column a field is taken from."""
    found: dict[str, str] = {}
    for part in (part for text in texts for part in text.split(",") if part):
        field, equals, column = part.partition("=")
        if not equals or not column or not (field in _FIELDS or field.startswith(_PROPERTY)):
            raise click.BadParameter(
                f"{part!r} is not FIELD=COLUMN; fields are {', '.join(_FIELDS)} and properties.NAME"
            )
        found[field] = column
    return found


def read_rows(file: IO[bytes], name: str, columns: Mapping[str, str]) -> Iterator[tuple[int, Row]]:
    """Yield events with the number of their line, by the kind that the file's name says.

    Raises:
        WrongUsage: a line holds none, or what reads the file is not installed.
    """
    kind = Path(name).suffix.lower()
    if kind == ".csv":
        yield from _of_csv(file, columns)
    elif kind == ".parquet":
        yield from _of_parquet(file, columns)
    else:
        yield from _of_json_lines(file, columns)


def _of_json_lines(file: IO[bytes], columns: Mapping[str, str]) -> Iterator[tuple[int, Row]]:
    for number, line in enumerate(file, start=1):
        if not line.strip():
            continue
        try:
            found = decode(line)
        except (ValueError, RecursionError) as error:
            raise WrongUsage(f"line {number} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise WrongUsage(f"line {number} is no JSON object")
        if "specversion" in found:
            found = {
                ours: found[theirs] for theirs, ours in _OF_CLOUD_EVENTS.items() if theirs in found
            }
        yield number, _row(found, columns) if columns else _known(found)


def _of_csv(file: IO[bytes], columns: Mapping[str, str]) -> Iterator[tuple[int, Row]]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        lines = csv.DictReader(text)
        _check(columns, lines.fieldnames or ())
        for line in lines:
            given = {name: value for name, value in line.items() if value not in (None, "")}
            yield lines.line_num, _row(given, columns)
    finally:
        # The file is the caller's.
        text.detach()


def _of_parquet(file: IO[bytes], columns: Mapping[str, str]) -> Iterator[tuple[int, Row]]:
    try:
        from pyarrow import parquet
    except ImportError as error:
        told = f"A Parquet file needs {not_installed('pyarrow', 'parquet')}"
        raise WrongUsage(told) from error
    table = parquet.ParquetFile(file)
    _check(columns, table.schema_arrow.names)
    number = 0
    for batch in table.iter_batches():
        for line in batch.to_pylist():
            number += 1
            given = {name: _plain(value) for name, value in line.items() if value is not None}
            yield number, _row(given, columns)


def _plain(value: object) -> object:
    """Return an instant as its text, and a float as the shortest decimal that is it."""
    if isinstance(value, datetime):
        return value.isoformat()
    return Decimal(repr(value)) if isinstance(value, float) else value


def _check(columns: Mapping[str, str], names: Sequence[str]) -> None:
    """Refuse a mapping of what is not there, and tell at once what is left out.

    An event without its property occupies its id for good.
    """
    mapped = set(columns.values())
    missing = sorted(mapped.difference(names))
    if missing:
        raise WrongUsage(f"The file has no column {', '.join(missing)}. It has {', '.join(names)}.")
    read = mapped.union(_FIELDS, ("properties",))
    unread = [name for name in names if name not in read and not name.startswith(_PROPERTY)]
    if unread:
        echo(
            f"Left out: {', '.join(unread)}. A property's column is named {_PROPERTY}NAME, or by "
            f"--map {_PROPERTY}NAME=COLUMN.",
            err=True,
        )


def _row(given: Mapping[str, Any], columns: Mapping[str, str]) -> Row:
    """Return Lago's fields from columns; a column of a field's own name needs no mapping."""
    row = _known(given)
    for field, column in columns.items():
        if column not in given:
            continue
        if field.startswith(_PROPERTY):
            row.setdefault("properties", {})[field.removeprefix(_PROPERTY)] = given[column]
        else:
            row[field] = given[column]
    return row


def _known(given: Mapping[str, Any]) -> Row:
    row: Row = {field: given[field] for field in _FIELDS if field in given}
    properties = given.get("properties")
    if isinstance(properties, dict):
        row["properties"] = dict(properties)
    elif isinstance(properties, str):
        row["properties"] = decode(properties.encode())
    for name, value in given.items():
        if name.startswith(_PROPERTY):
            row.setdefault("properties", {})[name.removeprefix(_PROPERTY)] = value
    return row


def named(number: int, row: Row) -> tuple[str, str]:
    """Return (external_subscription_id, transaction_id).

    Raises:
        WrongUsage: one is missing.
    """
    for field in ("external_subscription_id", "transaction_id"):
        if row.get(field) in (None, ""):
            raise WrongUsage(f"line {number} has no {field}. Name its column: --map {field}=…")
    return str(row["external_subscription_id"]), str(row["transaction_id"])


def as_sent(row: Row) -> Row:
    """Return the event as the API takes it: an instant becomes Unix seconds."""
    sent = {name: value for name, value in row.items() if name != "value"}
    timestamp = sent.get("timestamp")
    if isinstance(timestamp, str) and not timestamp.replace(".", "", 1).isdecimal():
        sent["timestamp"] = _seconds(timestamp)
    return sent


def _seconds(text: str) -> str:
    """Return Unix seconds of an ISO 8601 text; what is none stays, and is refused by name."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return text
    if at.tzinfo is None:
        return text
    return f"{int(at.timestamp())}.{at.microsecond // 1000:03d}"
