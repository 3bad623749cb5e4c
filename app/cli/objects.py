"""`meter list`, `meter get` and `meter delete`: what a worker has, kind by kind."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final, NamedTuple, get_args

import click

from app.cli.dead_letters import CODE, COLUMNS, letter, letter_fields, letters, with_place
from app.cli.listed_events import EVENTS, listed_events
from app.cli.output import echo
from app.cli.remote import Json, Remote, RequestRefused, operated, remote, remote_options, segment
from app.cli.rows import Output, Rows, output_options
from app.cli.words import TEXT, TIME, PlaceType
from app.definitions.model import SubscriptionStatus

_PER_PAGE: Final = 1_000


class Kind(NamedTuple):
    """Objects of one kind: where they are, and what a row says of one."""

    one: str
    path: str
    root: str
    name: str
    """Field by which a path names it."""
    columns: tuple[str, ...]
    query: tuple[str, ...] = ()
    """Options of `meter list` that choose some."""
    is_deleted: bool = False
    """Whether `meter delete` takes it away."""
    incomplete: str = ""
    """What is told of a list that begins at `{since}`."""


KINDS: Final = {
    "metrics": Kind(
        "metric",
        "/api/v1/billable_metrics",
        "billable_metric",
        "code",
        (
            "code",
            "name",
            "aggregation_type",
            "field_name",
            "recurring",
            "weighted_interval",
            "rounding_function",
            "rounding_precision",
            "expression",
            "filters",
            "created_at",
            "lago_id",
        ),
        is_deleted=True,
    ),
    "plans": Kind(
        "plan",
        "/api/v1/plans",
        "plan",
        "code",
        (
            "code",
            "name",
            "interval",
            "amount_currency",
            "pay_in_advance",
            "active_subscriptions_count",
            "charges",
            "created_at",
            "lago_id",
        ),
        is_deleted=True,
    ),
    "customers": Kind(
        "customer",
        "/api/v1/customers",
        "customer",
        "external_id",
        ("external_id", "name", "applicable_timezone", "currency", "created_at", "lago_id"),
        is_deleted=True,
    ),
    "subscriptions": Kind(
        "subscription",
        "/api/v1/subscriptions",
        "subscription",
        "external_id",
        (
            "external_id",
            "external_customer_id",
            "plan_code",
            "status",
            "billing_time",
            "started_at",
            "ending_at",
            "terminated_at",
            "lago_id",
        ),
        query=("customer", "plan", "status"),
        is_deleted=True,
    ),
    "events": Kind(
        "event",
        EVENTS,
        "event",
        "transaction_id",
        (
            "transaction_id",
            "external_subscription_id",
            "code",
            "timestamp",
            "precise_total_amount_cents",
            "properties",
            "created_at",
        ),
        query=("subscription", "code", "since", "until"),
    ),
    "dead-letters": Kind(
        "dead-letter",
        "",
        "dead_letter",
        "place",
        COLUMNS,
        query=("code",),
    ),
    "not-counted": Kind(
        "",
        "/api/v1/events/not_counted",
        "not_counted",
        "code",
        ("reason", "code", "events_count", "first_at", "last_at"),
        query=("code", "reason"),
        incomplete="What came up to {since} is not listed: others folded it.",
    ),
    "changes": Kind(
        "",
        "/api/v1/definitions/changes",
        "change",
        "offset",
        ("offset", "changed_at", "type", "changed_by", "organization_id", "object"),
    ),
}
_INSTANTS: Final = frozenset(
    {
        "created_at",
        "started_at",
        "ending_at",
        "terminated_at",
        "timestamp",
        "failed_at",
        "first_at",
        "last_at",
        "changed_at",
    }
)
_FIELDS: Final = {
    "customer": "external_customer_id",
    "subscription": "external_subscription_id",
    "plan": "plan_code",
    "status": "status[]",
    "since": "timestamp_from",
    "until": "timestamp_to",
}
"""Option to parameter, where they are called otherwise."""
STATUSES: Final = ("active", *(each for each in get_args(SubscriptionStatus) if each != "active"))
"""What a subscription may be; the one that is mostly meant is first."""
_ONES: Final = {kind.one: kind for kind in KINDS.values() if kind.one}
_DELETED: Final = [kind.one for kind in KINDS.values() if kind.is_deleted]


@click.command("list")
@click.argument("kind", type=click.Choice(list(KINDS)))
@click.option("--customer", type=TEXT, help="Subscriptions of this external_customer_id.")
@click.option("--plan", type=TEXT, help="Subscriptions on the plan of this code.")
@click.option(
    "--status",
    type=click.Choice(STATUSES),
    help="Subscriptions of this status; active unless it is given.",
)
@click.option("--subscription", type=TEXT, help="Events of this external_subscription_id.")
@click.option("--code", type=TEXT, help="Events, dead letters or what is not counted of this code.")
@click.option("--reason", type=TEXT, help="What is not counted for this reason.")
@click.option("--since", type=TIME, help="ISO 8601: events from then on.")
@click.option("--until", type=TIME, help="ISO 8601: events until then.")
@output_options
@remote_options
def list_objects(
    kind: str, output: Output, url: str | None, key: str | None, **chosen: str | None
) -> None:
    """Print all objects of KIND, newest first."""
    wanted = KINDS[kind]
    given = {name: text for name, text in chosen.items() if text is not None}
    unknown = sorted(given.keys() - set(wanted.query))
    if unknown:
        raise click.UsageError(f"`meter list {kind}` takes no --{unknown[0]}.")
    if kind == "dead-letters":
        code = CODE.convert(given["code"], None, None) if "code" in given else None
        found: Iterator[Json] = map(with_place, letters(operated(url, key), code))
    else:
        query = {_FIELDS.get(name, name): text for name, text in given.items()}
        listing = remote(url, key)
        if kind == "events":
            found = listed_events(listing, query)
        else:
            found = objects(listing, wanted, query)
    root = kind.replace("-", "_") if kind != "metrics" else "billable_metrics"
    rows = Rows.of(wanted.columns, map(_flat, found), _INSTANTS)
    output.show(lambda: {root: list(found)}, lambda: rows)


@click.command("get")
@click.argument("kind", type=click.Choice(list(_ONES)))
@click.argument("identity", type=TEXT, metavar="ID")
@output_options
@remote_options
def get_object(kind: str, identity: str, output: Output, url: str | None, key: str | None) -> None:
    """Print one object: KIND, and its code, external_id, transaction_id or PARTITION/OFFSET.

    Exit status: 4 when there is none of that name.
    """
    wanted, worker = _ONES[kind], remote(url, key)
    if kind == "dead-letter":
        found = letter(operated(url, key), PlaceType("/").convert(identity, None, None))
    elif kind == "subscription" and (defined := subscription_of(worker, identity)):
        found = defined
    else:
        found = _asked(worker, wanted, identity)
    output.show(lambda: {wanted.root: found}, lambda: letter_fields(found))


@click.command("delete")
@click.argument("kind", type=click.Choice(_DELETED))
@click.argument("identity", type=TEXT, metavar="ID")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before.")
@output_options
@remote_options
def delete_object(
    kind: str, identity: str, yes: bool, output: Output, url: str | None, key: str | None
) -> None:
    """Delete an object, or terminate a subscription: KIND, and its code or external_id.

    Exit status: 4 when there is none of that name.
    """
    worker, wanted = remote(url, key), _ONES[kind]
    try:
        _asked(worker, wanted, identity)
    except RequestRefused as refused:
        is_missing = kind == "subscription" and refused.status == 404
        if is_missing and (other := subscription_of(worker, identity)):
            refused.message = f"Subscription {identity} is {other['status']}, not active."
        raise
    verb = "Terminate" if kind == "subscription" else "Delete"
    if not yes:
        click.confirm(f"{verb} {kind} {identity}?", abort=True, err=True)
    found: Json = worker.delete(f"{wanted.path}/{segment(identity)}")[wanted.root]
    rows = Rows.of(wanted.columns, [_flat(found)], _INSTANTS)
    output.show(lambda: {wanted.root: found}, lambda: rows)


def objects(worker: Remote, kind: Kind, query: dict[str, str]) -> Iterator[Json]:
    """Yield all objects of a kind, page by page."""
    root = f"{kind.root}s" if kind.one or kind.root == "change" else kind.root
    page: int | None = 1
    since: int | None = None
    while page is not None:
        more = {"page": page, "per_page": _PER_PAGE} if kind.one else {"since": since}
        answer = worker.get(kind.path, **query, **more)
        if kind.incomplete and answer.get("since"):
            echo(kind.incomplete.format(since=answer["since"]), err=True)
        yield from answer[root]
        meta = answer.get("meta") or {}
        page = meta.get("next_page")
        if kind.root == "change" and answer[root]:
            page, since = 1, meta["next_since"]


def subscription_of(worker: Remote, external_id: str) -> Json | None:
    """Return a subscription, the active one before others of its name; None: nobody defined it."""
    for status in STATUSES:
        found = worker.found(f"/api/v1/subscriptions/{segment(external_id)}", status=status)
        if found is not None:
            defined: Json = found["subscription"]
            return defined
    return None


def _asked(worker: Remote, kind: Kind, identity: str) -> Json:
    """Return an object; beside an unknown name, tell one that is near."""
    try:
        found: Json = worker.get(f"{kind.path}/{segment(identity)}")[kind.root]
    except RequestRefused as refused:
        if refused.status == 404:
            refused.message = (
                f"There is no {kind.one} {identity}.{did_you_mean(worker, kind, identity)}"
            )
        raise
    return found


def did_you_mean(worker: Remote, kind: Kind, identity: str) -> str:
    """Return a sentence with the name that is nearest; nothing if none is near."""
    if kind.one == "event":
        return ""
    root = f"{kind.root}s"
    listed = worker.get(kind.path, per_page=_PER_PAGE)[root]
    near = get_close_matches(identity, [str(one[kind.name]) for one in listed], n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def _flat(one: Json) -> Json:
    """Return an object with its charges by their codes, if it has any."""
    if "charges" not in one:
        return one
    return one | {"charges": [charge["code"] for charge in one["charges"]]}
