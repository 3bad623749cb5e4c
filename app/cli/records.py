"""`meter records`: what was published, as usage-records has it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import click
import msgspec

from app.cli.names import require_known
from app.cli.output import lines_to
from app.cli.remote import Remote, remote, remote_options
from app.cli.rows import Output, Rows, output_options
from app.cli.words import TEXT, TIME
from app.wire.record_rows import COLUMNS, INSTANTS, row_of

_PER_PAGE = 1_000
_SHOWN = (
    "type",
    "external_subscription_id",
    "period_from",
    "billable_metric_code",
    "filters",
    "grouped_by",
    "revision",
    "units",
    "delta_units",
    "revision_reason",
    "closed_at",
)
"""Columns of a table on a terminal."""


class _Page(msgspec.Struct):
    usage_records: list[msgspec.Raw]
    meta: dict[str, int | None]


@click.command()
@click.argument("subscription", type=TEXT, required=False)
@click.option("--customer", type=TEXT, help="Only of this external_customer_id.")
@click.option("--metric", type=TEXT, help="Only of the metric of this code.")
@click.option(
    "--type", "kind", type=TEXT, help="Only records of this type, for example usage.revised."
)
@click.option(
    "--from",
    "since",
    type=TIME,
    help="Only of periods that end at or after it; a date is local to them.",
)
@click.option("--to", "until", type=TIME, help="Only of periods that begin before it.")
@click.option(
    "--all-revisions", is_flag=True, help="All that was ever published, with completions."
)
@output_options
@remote_options
def records(
    subscription: str | None,
    customer: str | None,
    metric: str | None,
    kind: str | None,
    since: str | None,
    until: str | None,
    all_revisions: bool,
    output: Output,
    url: str | None,
    key: str | None,
) -> None:
    """Print published records, of SUBSCRIPTION (an external_id) or of all: the newest of each cell.

    As JSON they have the bytes of the topic. What was published for October, and what has changed
    since: meter records SUBSCRIPTION --from 2026-10-01 --all-revisions. Exit status: 4 when there
    is no such subscription, metric or customer.
    """
    asked = {
        "external_subscription_id": subscription,
        "external_customer_id": customer,
        "billable_metric_code": metric,
        "type": kind,
        "from": since,
        "to": until,
        "revisions": "true" if all_revisions else None,
    }
    worker = remote(url, key)
    found = _published(worker, asked)
    first = next(found, None)
    if first is None:
        require_known(worker, subscription, metric, customer)
    found = chain(() if first is None else (first,), found)
    if output.form in ("json", "jsonl"):
        _print_values(found, as_list=output.form == "json")
        return
    rows = (row_of(msgspec.json.decode(value)) for value in found)
    output.print_rows(
        _for_reading(rows) if output.form == "table" else Rows(COLUMNS, rows, INSTANTS)
    )


def _for_reading(rows: Iterable[Sequence[str]]) -> Rows:
    """Return the main columns, as far as there is anything in them: a terminal is narrow."""
    indexes = [COLUMNS.index(name) for name in _SHOWN]
    shown = [[row[index] for index in indexes] for row in rows]
    used = [place for place in range(len(_SHOWN)) if any(row[place] for row in shown)]
    return Rows(
        [_SHOWN[place] for place in used], [[row[place] for place in used] for row in shown]
    )


def _published(worker: Remote, asked: dict[str, str | None]) -> Iterator[bytes]:
    page: int | None = 1
    while page is not None:
        content = worker.content("/api/v1/usage_records", **asked, page=page, per_page=_PER_PAGE)
        answer = msgspec.json.decode(content, type=_Page)
        yield from map(bytes, answer.usage_records)
        page = answer.meta["next_page"]


def _print_values(values: Iterator[bytes], *, as_list: bool) -> None:
    write = lines_to(click.get_binary_stream("stdout"))
    if not as_list:
        for value in values:
            write(value + b"\n")
        return
    opening = b'{"usage_records":[\n'
    for value in values:
        write(opening + value)
        opening = b",\n"
    write((b"" if opening == b",\n" else opening) + b"\n]}\n")
