"""`meter events`: cancel or amend an event by its transaction_id."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from app.cli.output import echo, print_json
from app.cli.remote import Json, remote, remote_options

_PATH = "/api/v1/events/corrections"


@click.group()
def events() -> None:
    """Correct events that were sent, at any age; published periods get a revision."""


def _correction(subscription: str, transaction_id: str, operation: str, **more: Any) -> Json:
    given = {name: value for name, value in more.items() if value is not None}
    correction = {
        "external_subscription_id": subscription,
        "transaction_id": transaction_id,
        "operation": operation,
        **given,
    }
    return {"correction": correction}


_CORRECTION_ID = click.option(
    "--correction-id", help="Sent again under the same id, a correction changes nothing."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")


@events.command()
@click.argument("subscription")
@click.argument("transaction_id")
@_CORRECTION_ID
@_JSON
@remote_options
def cancel(
    subscription: str,
    transaction_id: str,
    correction_id: str | None,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Take an event out of everything it counted in; its id stays taken."""
    body = _correction(subscription, transaction_id, "cancel", correction_id=correction_id)
    _tell(remote(url, key).post(_PATH, body), as_json)


@events.command()
@click.argument("subscription")
@click.argument("transaction_id")
@click.argument("event")
@_CORRECTION_ID
@_JSON
@remote_options
def amend(
    subscription: str,
    transaction_id: str,
    event: str,
    correction_id: str | None,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Put another body in an event's place: EVENT is JSON with code, timestamp, properties."""
    try:
        # Fields stay as they were typed: a float would lose digits.
        given = msgspec.json.decode(event, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError as error:
        raise click.BadParameter(f"is no JSON object: {error}", param_hint="EVENT") from error
    body = _correction(
        subscription, transaction_id, "amend", correction_id=correction_id, event=given
    )
    _tell(remote(url, key).post(_PATH, body), as_json)


def _tell(answer: Json, as_json: bool) -> None:
    if as_json:
        print_json(answer)
        return
    correction = answer["correction"]
    echo(
        f"{correction['operation']} of {correction['transaction_id']} is in the log "
        f"(correction_id {correction['correction_id']})"
    )
