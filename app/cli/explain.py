"""`meter explain`: the events behind a figure, and why others do not count."""

from __future__ import annotations

import sys
from collections.abc import Callable, Container, Iterator
from typing import Final, get_args

import click

from app.cli.exits import DIFFERS
from app.cli.failures import no_verdict
from app.cli.names import require_known
from app.cli.output import Terminal, echo, table_of
from app.cli.remote import Json, RequestRefused, remote, remote_options, segment
from app.cli.rows import Output, Rows, output_options
from app.cli.usage import customer_of, customer_option, pending_text
from app.cli.words import COUNT, REVISION, TEXT, TIME
from app.meter.evidence import Status
from app.wire.answer_rows import EVENT_INSTANTS, EXPLAINED_COLUMNS, event_rows, place_text


@click.command()
@click.argument("subscription", type=TEXT)
@click.argument("metric", type=TEXT)
@customer_option
@click.option("--at", type=TIME, help="ISO 8601: the period that holds it; now by default.")
@click.option("--charge", type=TEXT, help="Only the charge of this code.")
@click.option(
    "--group", "groups", type=TEXT, multiple=True, help="key=value: only groups with this value."
)
@click.option(
    "--since-revision",
    type=REVISION,
    help="Only events by which the figures differ from that revision.",
)
@click.option("--status", type=click.Choice(get_args(Status)), help="Only events of this status.")
@click.option("--reason", type=TEXT, help="Only events that are ignored for this reason.")
@click.option("--page", type=COUNT, help="Page of the list of events.")
@click.option("--per-page", type=COUNT, default=100, show_default=True, help="Events on a page.")
@output_options
@remote_options
@no_verdict()
def explain(
    subscription: str,
    metric: str,
    customer: str | None,
    at: str | None,
    charge: str | None,
    groups: tuple[str, ...],
    since_revision: int | None,
    status: str | None,
    reason: str | None,
    page: int | None,
    per_page: int,
    output: Output,
    url: str | None,
    key: str | None,
) -> None:
    """Show what METRIC (a code) of SUBSCRIPTION (an external_id) is made of, from raw events anew.

    Rows (-o tsv, csv, parquet) are all its events, a row for each charge that looked at one.
    Exit status: 0 when that gives the live figures, 1 when it does not, 3 when that could not be
    found out, 4 when there is no such subscription, metric or period.
    """
    wanted_groups = dict(_group(text) for text in groups)
    worker = remote(url, key)
    customer = customer or customer_of(worker, subscription)

    def asked(number: int, size: int) -> Json:
        return worker.get(
            f"/api/v1/customers/{segment(customer)}/usage/explain",
            external_subscription_id=subscription,
            billable_metric_code=metric,
            at=at,
            charge_code=charge,
            since_revision=since_revision,
            status=status,
            reason=reason,
            page=number,
            per_page=size,
            **wanted_groups,
        )

    is_whole = page is None and output.form not in ("table", "json")
    try:
        answer = asked(page or 1, _MOST if is_whole else per_page)
    except RequestRefused as refused:
        if refused.message.endswith("usage_period_not_found"):
            refused.message = (
                f"No period of {subscription} holds {at or 'this moment'}: --at names another one. "
                "`meter usage --past` lists those that have ended."
            )
        elif refused.status == 404:
            require_known(worker, subscription, metric)
        raise
    found = answer["explanation"]
    if not found["events"] and not any(cell["live"]["events_count"] for cell in found["cells"]):
        require_known(worker, subscription, metric)
    output.show(
        lambda: answer,
        lambda: Rows(EXPLAINED_COLUMNS, _rows(asked, answer, is_whole=is_whole), EVENT_INSTANTS),
        lambda: _print(answer["explanation"], answer["meta"]),
    )
    if not answer["explanation"]["equal"]:
        echo("The live figures differ from those of the events.", err=True)
        sys.exit(DIFFERS)


_MOST: Final = 1_000
"""Events on a page where all are asked for."""


def _rows(
    asked: Callable[[int, int], Json], answer: Json, *, is_whole: bool
) -> Iterator[list[str]]:
    while True:
        for event in answer["explanation"]["events"]:
            yield from event_rows(event, EXPLAINED_COLUMNS)
        number = answer["meta"]["next_page"]
        if not is_whole or number is None:
            return
        answer = asked(number, _MOST)


def _group(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not key=value", param_hint="--group")
    return f"group[{key}]", value


def _print(explanation: Json, meta: Json) -> None:
    console = Terminal()
    if not explanation["cells"] and not explanation["events"] and explanation["since"] is None:
        echo(
            f"Nothing of {explanation['billable_metric_code']} is in the period from "
            f"{explanation['from_datetime']} to {explanation['to_datetime']}. "
            "Another period: --at, with an instant in it."
        )
        return
    echo(
        f"{explanation['billable_metric_code']} of {explanation['external_subscription_id']}, "
        f"{explanation['from_datetime']} to {explanation['to_datetime']}"
    )
    # What is published comes first: it is what an invoice may show.
    names = ("Charge", "Cell", "Published", "Pending", "Live", "Events", "Digest", "From raw")
    filtered = {cell["charge_code"] for cell in explanation["cells"] if cell["filters"]}
    console.print(table_of(names, (_cell_row(cell, filtered) for cell in explanation["cells"])))
    about = (
        "Position",
        "Time",
        "Transaction",
        "Status",
        "Value",
        "Why not, in which revision or at which cut, or billed at once",
    )
    console.print(table_of(about, map(_event, explanation["events"])))
    shown = len(explanation["events"])
    since = explanation["since"]
    if since is not None:
        echo(f"Only what makes a difference to revision {since['revision']} ({since['cut']}).")
    counts = ", ".join(f"{count} {status}" for status, count in explanation["counts"].items())
    echo(f"{shown} of {meta['total_count']} events shown: {counts or 'none'}")


def _cell_row(cell: Json, filtered: Container[str]) -> tuple[str, ...]:
    """Return a row of a cell. `filtered`: the charges of which some cell has filters."""
    live, raw = cell["live"], cell["recomputed"]
    return (
        cell["charge_code"],
        _cell(cell, is_rest=cell["charge_code"] in filtered and not cell["filters"]),
        _published(cell),
        pending_text(cell),
        live["units"],
        str(live["events_count"]),
        live["digest"],
        "equal" if cell["equal"] else f"{raw['units']} / {raw['digest']}",
    )


def _published(cell: Json) -> str:
    published = cell["published"]
    if published is None:
        return "not yet"
    return f"{published['units']} (revision {published['revision']})"


def _cell(cell: Json, *, is_rest: bool) -> str:
    """Return which filter and group it is. `is_rest`: other cells of the charge have filters."""
    parts = ["everything else"] if is_rest else []
    parts += [f"{key}: {', '.join(values)}" for key, values in (cell["filters"] or {}).items()]
    parts += [f"{key} = {value}" for key, value in (cell["grouped_by"] or {}).items()]
    return "; ".join(parts)


def _event(event: Json) -> tuple[str, str, str, str, str, str]:
    counted = [charge for charge in event["charges"] if charge["counted"]]
    notes = [_shown(charge) for charge in counted]
    notes[:0] = filter(None, (event["change"], event["reason"]))
    notes += [
        f"instant {instant['instant_id']} revision {instant['revision']} bills "
        + (instant["prorated_units"] or instant["units"])
        for instant in event["instants"]
    ]
    return (
        place_text(event["position"]),
        event["timestamp"],
        event["transaction_id"],
        event["status"],
        ", ".join(dict.fromkeys(charge["value"] for charge in counted if charge["value"])),
        ", ".join(dict.fromkeys(filter(None, notes))),
    )


def _shown(charge: Json) -> str:
    """Return in which revision an event is, or at which cut it will be."""
    if charge["revision"] is not None:
        return f"in revision {charge['revision']}"
    return "" if charge["cut"] is None else f"at the cut of {charge['cut']}"
