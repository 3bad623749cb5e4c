"""`meter trace`: what became of an event, arrival by arrival and charge by charge."""

from __future__ import annotations

import click

from app.cli.output import echo, print_json
from app.cli.remote import Json, RequestRefused, remote, remote_options, segment


@click.command()
@click.argument("subscription")
@click.argument("transaction_id")
@click.option("--json", "as_json", is_flag=True, help="The API's answer instead of text.")
@remote_options
def trace(
    subscription: str, transaction_id: str, as_json: bool, url: str | None, key: str | None
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
    if as_json:
        print_json(answer)
        return
    for arrival in answer["trace"]["arrivals"]:
        _print(arrival)


def _print(arrival: Json) -> None:
    place = arrival["position"]
    at = f"{place['partition']}:{place['offset']}:{place['index']}"
    amended = ", amended" if arrival["amended"] else ""
    reason = f" ({arrival['reason']})" if arrival["reason"] else ""
    echo(f"{arrival['status']}{reason}{amended}: {arrival['code']} at {arrival['timestamp']}")
    echo(f"  appended {place['append_time']} at {at}")
    if arrival["duplicate_of"] is not None:
        first = arrival["duplicate_of"]
        echo(f"  the event at {first['partition']}:{first['offset']}:{first['index']} counts")
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
