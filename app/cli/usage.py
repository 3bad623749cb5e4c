"""`meter usage`: what a subscription has used, as a running worker counts it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import click
from rich.console import Group
from rich.table import Table
from rich.text import Text

from app.cli.exits import NotThere
from app.cli.names import require_known
from app.cli.objects import subscription_of
from app.cli.output import Terminal, echo, table_of
from app.cli.remote import Json, Remote, remote, remote_options, segment
from app.cli.rows import Output, Rows, output_options
from app.cli.words import TEXT
from app.wire.answer_rows import USAGE_COLUMNS, USAGE_INSTANTS, usage_rows

PER_PAGE = 100
_IMPLICIT = "On the implicit plan, which is not billed: nobody defined this subscription."

customer_option = click.option(
    "--customer", type=TEXT, help="Its external_customer_id. Default: asked of the worker."
)


@click.command()
@click.argument("subscription", type=TEXT)
@customer_option
@click.option("--past", is_flag=True, help="The ended periods, newest first, not the running one.")
@output_options
@remote_options
def usage(
    subscription: str,
    customer: str | None,
    past: bool,
    output: Output,
    url: str | None,
    key: str | None,
) -> None:
    """Print the usage of SUBSCRIPTION (an external_id): the running period, or the ended ones.

    Exit status: 4 when nobody defined it and no event of it came, or it is of another customer.
    """
    worker = remote(url, key)
    defined = subscription_of(worker, subscription)
    named, customer = customer, customer or _customer(defined, subscription)
    if past:
        periods = list(past_periods(worker, customer, subscription))
    else:
        _require_running(defined, customer)
        periods = [_current(worker, customer, subscription)]
    if not any(c["events_count"] for period in periods for c in period["charges_usage"]):
        # Who has no customer is its own, and need not be defined as one.
        require_known(worker, subscription, customer=named if named != subscription else None)
    title = f"{subscription} (customer {customer})"
    # Ended periods say it themselves.
    if defined is None and not past:
        title += f"\n{_IMPLICIT}"
        if output.form != "table":
            echo(_IMPLICIT, err=True)
    output.show(
        lambda: {"usage_periods": periods} if past else {"customer_usage": periods[0]},
        lambda: Rows(USAGE_COLUMNS, usage_rows(customer, subscription, periods), USAGE_INSTANTS),
        lambda: _draw(periods, title),
    )


def _draw(periods: Sequence[Json], title: str) -> None:
    console = Terminal()
    for period in periods:
        console.print(period_usage(period, title))
    if not periods:
        echo(f"No period of {title} has ended yet.")


def customer_of(worker: Remote, subscription: str) -> str:
    """Return the customer of a subscription; an undefined one is its own (implicit plan)."""
    return _customer(subscription_of(worker, subscription), subscription)


def _customer(defined: Json | None, subscription: str) -> str:
    return subscription if defined is None else str(defined["external_customer_id"])


def _require_running(defined: Json | None, customer: str) -> None:
    if defined is None:
        return
    if defined["external_customer_id"] != customer:
        raise NotThere(
            f"{defined['external_id']} is a subscription of {defined['external_customer_id']}, "
            f"not of {customer}."
        )
    if defined["status"] == "active":
        return
    ended = " --past prints those that have ended." if defined["status"] == "terminated" else ""
    raise click.ClickException(
        f"No period of {defined['external_id']} runs: it is {defined['status']}.{ended}"
    )


def past_periods(worker: Remote, customer: str, subscription: str) -> Iterator[Json]:
    """Yield every ended period, newest first."""
    page: int | None = 1
    while page is not None:
        answer = worker.get(
            f"/api/v1/customers/{segment(customer)}/past_usage",
            external_subscription_id=subscription,
            page=page,
            per_page=PER_PAGE,
        )
        yield from answer["usage_periods"]
        page = answer["meta"]["next_page"]


def _current(worker: Remote, customer: str, subscription: str) -> Json:
    path = f"/api/v1/customers/{segment(customer)}/current_usage"
    usage: Json = worker.get(path, external_subscription_id=subscription)["customer_usage"]
    return usage


def period_usage(period: Json, title: str) -> Group:
    """Return a table of one period: a line for each charge, then one for each filter and group."""
    header = f"{title}\n{period['from_datetime']} to {period['to_datetime']}{_state(period)}"
    return Group(Text(header, style="bold"), _table(period), Text(_caption(period), style="dim"))


def _table(period: Json) -> Table:
    columns = _PAST if "state" in period else _RUNNING
    rows = (
        (metric, part, *(text(figures) for text in columns.values()))
        for charge in period["charges_usage"]
        for metric, part, figures in _parts(charge)
    )
    return table_of(("Metric", "Filter or group", *columns), rows, right=columns)


def _published(figures: Json) -> str:
    published = figures["published"]
    return "not yet" if published is None else str(published["units"])


def _revision(figures: Json) -> str:
    published = figures["published"]
    return "" if published is None else str(published["revision"])


def pending_text(figures: Json) -> str:
    """Return what the next revision adds, when, and why."""
    pending = figures["pending"]
    if pending is None:
        return ""
    sign = "" if pending["delta_units"].startswith("-") else "+"
    why = ", ".join(reason.replace("_", " ") for reason in pending["reasons"])
    return f"{sign}{pending['delta_units']} at {pending['cut']} ({why})"


Columns = Mapping[str, Callable[[Json], str]]
"""Heading of a column to what it shows of an entry."""
_RUNNING: Columns = {
    "Units": lambda figures: str(figures["units"]),
    "Events": lambda figures: str(figures["events_count"]),
}
_PAST: Columns = {
    "Published": _published,
    "Revision": _revision,
    "Pending": pending_text,
    "Live": lambda figures: str(figures["live"]["units"]),
    "Live events": lambda figures: str(figures["live"]["events_count"]),
}


def _parts(charge: Json) -> Iterator[tuple[str, str, Json]]:
    """Yield a charge under its metric, then each of its filters and groups with its name."""
    yield charge["billable_metric"]["code"], "", charge
    if charge["grouped_usage"]:
        for group in charge["grouped_usage"]:
            yield "", _pairs(group["grouped_by"]), group
            for bucket in group["filters"]:
                yield "", f"  {_bucket(bucket)}", bucket
        return
    for bucket in charge["filters"]:
        yield "", _bucket(bucket), bucket


def _bucket(bucket: Json) -> str:
    values = bucket["values"]
    if values is None:
        return "everything else"
    return ", ".join(f"{name}: {' or '.join(texts)}" for name, texts in values.items())


def _pairs(group: dict[str, Any]) -> str:
    return ", ".join(f"{k}: {'(none)' if v is None else v}" for k, v in group.items())


def _state(period: Json) -> str:
    """Return how far an ended period has come, in words."""
    if "state" not in period:
        return ""
    told = {
        "due": f"ended, its first records are due at {period['due_at']}",
        "published": f"published at {period['closed_at']}, events may revise it until "
        f"{period['final_after']}",
        "final": f"published at {period['closed_at']}, final",
        "not_billed": "not billed: nobody defined this subscription",
    }
    return f", {told[period['state']]}"


def _caption(period: Json) -> str:
    stale = ". A changed definition is being folded in" if period["stale"] else ""
    return f"Counted up to {period['as_of']['append_time']}{stale}"
