"""`meter explain`: the events behind a figure, and why others do not count."""

from __future__ import annotations

import sys

import click
from rich.markup import escape
from rich.table import Table

from app.cli.failures import no_verdict
from app.cli.output import Terminal, echo, print_json
from app.cli.remote import Json, remote, remote_options, segment
from app.cli.usage import customer_of


@click.command()
@click.argument("subscription")
@click.argument("metric")
@click.option("--customer", help="Its external_customer_id. Default: asked of the worker.")
@click.option("--at", help="ISO 8601: the period that holds it; now by default.")
@click.option("--charge", help="Only the charge of this code.")
@click.option("--group", "groups", multiple=True, help="key=value: only groups with this value.")
@click.option("--page", default=1, show_default=True, help="Page of the list of events.")
@click.option("--per-page", default=100, show_default=True, help="Events on a page.")
@click.option("--json", "as_json", is_flag=True, help="The API's answer instead of text.")
@remote_options
@no_verdict()
def explain(
    subscription: str,
    metric: str,
    customer: str | None,
    at: str | None,
    charge: str | None,
    groups: tuple[str, ...],
    page: int,
    per_page: int,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Show what METRIC (a code) of SUBSCRIPTION (an external_id) is made of, from raw events anew.

    Exit status: 0 when that gives the live figures, 1 when it does not, 3 when that could not be
    found out, 4 when there is no such subscription or period.
    """
    wanted_groups = dict(_group(text) for text in groups)
    worker = remote(url, key)
    customer = customer or customer_of(worker, subscription)
    answer = worker.get(
        f"/api/v1/customers/{segment(customer)}/usage/explain",
        external_subscription_id=subscription,
        billable_metric_code=metric,
        at=at,
        charge_code=charge,
        page=page,
        per_page=per_page,
        **wanted_groups,
    )
    if as_json:
        print_json(answer)
    else:
        _print(answer["explanation"], answer["meta"])
    if not answer["explanation"]["equal"]:
        sys.exit(1)


def _group(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise click.BadParameter(f"{text!r} is not key=value", param_hint="--group")
    return f"group[{key}]", value


def _print(explanation: Json, meta: Json) -> None:
    console = Terminal()
    echo(
        f"{explanation['billable_metric_code']} of {explanation['external_subscription_id']}, "
        f"{explanation['from_datetime']} to {explanation['to_datetime']}"
    )
    # What is published comes first: it is what an invoice may show.
    cells = Table("Charge", "Cell", "Published", "Live", "Events", "Digest", "From raw")
    for cell in explanation["cells"]:
        live, raw = cell["live"], cell["recomputed"]
        proof = "equal" if cell["equal"] else f"{raw['units']} / {raw['digest']}"
        row = (cell["charge_code"], _cell(cell), _published(cell), live["units"])
        cells.add_row(*map(escape, (*row, str(live["events_count"]), live["digest"], proof)))
    console.print(cells)
    events = Table(
        "Position",
        "Time",
        "Transaction",
        "Status",
        "Value",
        "Why not, from which cut, or billed at once",
    )
    for event in explanation["events"]:
        events.add_row(*map(escape, _event(event)))
    console.print(events)
    shown = len(explanation["events"])
    counts = ", ".join(f"{count} {status}" for status, count in explanation["counts"].items())
    echo(f"{shown} of {meta['total_count']} events shown: {counts or 'none'}")


def _published(cell: Json) -> str:
    published = cell["published"]
    if published is None:
        return "not yet"
    return f"{published['units']} (revision {published['revision']})"


def _cell(cell: Json) -> str:
    parts = [f"{key}: {', '.join(values)}" for key, values in (cell["filters"] or {}).items()]
    parts += [f"{key} = {value}" for key, value in (cell["grouped_by"] or {}).items()]
    return "; ".join(parts)


def _event(event: Json) -> tuple[str, str, str, str, str, str]:
    place = event["position"]
    counted = [charge for charge in event["charges"] if charge["counted"]]
    notes = [charge["counts_from_cut"] for charge in counted if charge["counts_from_cut"]]
    if event["reason"]:
        notes.insert(0, event["reason"])
    notes += [
        f"instant {instant['instant_id']} revision {instant['revision']} bills "
        + (instant["prorated_units"] or instant["units"])
        for instant in event["instants"]
    ]
    return (
        f"{place['partition']}:{place['offset']}:{place['index']}",
        event["timestamp"],
        event["transaction_id"],
        event["status"],
        ", ".join(dict.fromkeys(charge["value"] for charge in counted if charge["value"])),
        ", ".join(dict.fromkeys(notes)),
    )
