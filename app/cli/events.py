"""`meter events`: cancel or amend an event by its transaction_id."""

from __future__ import annotations

import sys
import time
from typing import Any, Final

import click
import msgspec

from app.cli.exits import NO_VERDICT, NOT_THERE
from app.cli.outcomes import verdicts
from app.cli.output import echo, print_json
from app.cli.remote import Json, Remote, remote, remote_options
from app.cli.words import TEXT, WAIT_S

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
    "--correction-id", type=TEXT, help="Sent again under the same id, a correction changes nothing."
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
_WAIT = click.option(
    "--wait",
    "wait_s",
    type=WAIT_S,
    default=10.0,
    show_default=True,
    help="Seconds for the correction to be folded; 0: do not wait.",
)
_AGAIN_S: Final = 0.3


@events.command()
@click.argument("subscription", type=TEXT)
@click.argument("transaction_id", type=TEXT)
@_CORRECTION_ID
@_WAIT
@_JSON
@remote_options
def cancel(
    subscription: str,
    transaction_id: str,
    correction_id: str | None,
    wait_s: float,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Take an event out of everything it counted in; its id stays taken.

    Exit status: 3 when it is not known yet what became of it, 4 when there is no such event yet.
    """
    body = _correction(subscription, transaction_id, "cancel", correction_id=correction_id)
    _correct(remote(url, key), body, wait_s, as_json)


@events.command()
@click.argument("subscription", type=TEXT)
@click.argument("transaction_id", type=TEXT)
@click.argument("event", type=TEXT)
@_CORRECTION_ID
@_WAIT
@_JSON
@remote_options
def amend(
    subscription: str,
    transaction_id: str,
    event: str,
    correction_id: str | None,
    wait_s: float,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Put another body in an event's place: EVENT is JSON with code, timestamp, properties.

    Exit status: 3 when it is not known yet what became of it, 4 when there is no such event yet.
    """
    try:
        # Fields stay as they were typed: a float would lose digits.
        given = msgspec.json.decode(event, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"is no JSON object: {error}", param_hint="EVENT") from error
    body = _correction(
        subscription, transaction_id, "amend", correction_id=correction_id, event=given
    )
    _correct(remote(url, key), body, wait_s, as_json)


def _correct(worker: Remote, body: Json, wait_s: float, as_json: bool) -> None:
    """Send a correction; print where it is, and what came of it within the time."""
    answer, place = worker.post_placed(_PATH, body)
    correction = answer["correction"]
    if not as_json:
        echo(
            f"{correction['operation']} of {correction['transaction_id']} is in the log "
            f"(correction_id {correction['correction_id']})"
        )
    if wait_s <= 0:
        if as_json:
            print_json(answer)
        return
    outcome, words = _outcome(worker, correction, place, wait_s)
    if as_json:
        print_json({**answer, "outcome": outcome})
    else:
        echo(words)
    sys.exit({"no_such_event_yet": NOT_THERE, "not_known_yet": NO_VERDICT}.get(outcome, 0))


def _outcome(worker: Remote, correction: Json, place: str | None, wait_s: float) -> tuple[str, str]:
    """Return what became of the event, as a word and in words."""
    until_s = time.monotonic() + wait_s
    row = {name: correction[name] for name in ("external_subscription_id", "transaction_id")}
    while True:
        (verdict,) = verdicts(worker, [(1, row)], compare=False)
        arrival = verdict["event"]
        if arrival is not None:
            done = _done(correction["operation"], place, arrival)
            if done is not None:
                return done
        if time.monotonic() >= until_s:
            break
        time.sleep(_AGAIN_S)
    if arrival is None:
        verb = "cancelled" if correction["operation"] == "cancel" else "amended"
        return "no_such_event_yet", f"There is no such event yet: it is {verb} when it comes."
    late = f"Not folded within {wait_s:g} s, or refused, or known by its correction_id"
    return "not_known_yet", f"{late}: see `meter trace` and `meter dead-letters list`."


def _done(operation: str, place: str | None, arrival: Json) -> tuple[str, str] | None:
    """Return what a correction has made of an event; None: nothing so far.

    An event that is cancelled stays so under a further cancel. What an earlier amendment made of it
    says nothing of this one.
    """
    reason = f" ({arrival['reason']})" if arrival["reason"] else ""
    cuts = {charge["counts_from_cut"] for charge in arrival["charges"]} - {None}
    published = f"; published periods follow at the cut of {min(cuts)}" if cuts else ""
    if operation == "cancel":
        if arrival["status"] != "cancelled":
            return None
        return "cancelled", f"The event is cancelled{published}."
    by = arrival["corrected_by"]
    if by is None or f"{by['partition']}:{by['offset']}" != place:
        return None
    return arrival["status"], f"The event is amended: {arrival['status']}{reason}{published}."
