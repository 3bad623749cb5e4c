"""`meter trace`: what became of an event, arrival by arrival and charge by charge."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import click

from app.cli.output import echo
from app.cli.remote import Json, RequestRefused, remote, remote_options, segment
from app.cli.rows import Output, Rows, output_options
from app.cli.words import TEXT
from app.wire.answer_rows import EVENT_INSTANTS, TRACED_COLUMNS, event_rows, place_text


@click.command()
@click.argument("subscription", type=TEXT)
@click.argument("transaction_id", type=TEXT)
@output_options
@remote_options
def trace(
    subscription: str, transaction_id: str, output: Output, url: str | None, key: str | None
) -> None:
    """Show what became of TRANSACTION_ID of SUBSCRIPTION (an external_id): counted, or why not.

    Exit status: 4 when there is no such event.
    """
    path = f"/api/v1/events/{segment(transaction_id)}/trace"
    try:
        answer = remote(url, key).get(path, external_subscription_id=subscription)
    except RequestRefused as refused:
        if refused.status == 404:
            refused.message = (
                f"Subscription {subscription} has no event {transaction_id}. What was refused "
                "before it had an id: `meter dead-letters list`."
            )
        raise
    arrivals = answer["trace"]["arrivals"]
    output.show(
        lambda: answer,
        lambda: Rows(
            TRACED_COLUMNS,
            chain.from_iterable(event_rows(arrival, TRACED_COLUMNS) for arrival in arrivals),
            EVENT_INSTANTS,
        ),
        lambda: _print_all(arrivals),
    )


def _print_all(arrivals: Sequence[Json]) -> None:
    for arrival in arrivals:
        _print(arrival)


def _print(arrival: Json) -> None:
    place = arrival["position"]
    amended = ", amended" if arrival["amended"] else ""
    reason = f" ({arrival['reason']})" if arrival["reason"] else ""
    echo(f"{arrival['status']}{reason}{amended}: {arrival['code']} at {arrival['timestamp']}")
    echo(f"  appended {place['append_time']} at {place_text(place)}")
    if arrival["duplicate_of"] is not None:
        echo(f"  the event at {place_text(arrival['duplicate_of'])} counts")
    for charge in arrival["charges"]:
        echo(f"  charge {charge['charge_code']} of {charge['billable_metric_code']}: {_of(charge)}")


def _of(charge: Json) -> str:
    if not charge["counted"]:
        return f"not counted, {charge['reason']}"
    parts = ["counted" + (f" as {charge['value']}" if charge["value"] else "")]
    if charge["period"] is not None:
        parts.append(f"in {charge['period']['from']} to {charge['period']['until']}")
    cell = [f"{key} {' or '.join(texts)}" for key, texts in (charge["filters"] or {}).items()]
    cell += [f"{key} = {text}" for key, text in (charge["grouped_by"] or {}).items()]
    if cell:
        parts.append(f"in {', '.join(cell)}")
    if charge["counts_from_cut"] is not None:
        parts.append(f"from the revision at {charge['counts_from_cut']}")
    return ", ".join(parts)
