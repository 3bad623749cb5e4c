"""`meter watch`: the page's figures in a terminal, again and again."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import NoReturn

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.cli.output import Drawn, Terminal, echo, table_of
from app.cli.remote import Json, Remote, operated, remote_options
from app.cli.words import PACE_S, TEXT


@click.command()
@click.option("--every", "every_s", type=PACE_S, default=2.0, show_default=True)
@click.option("--search", type=TEXT, help="Only usage of this subscription, customer or metric.")
@click.option("--limit", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option("--once", is_flag=True, help="Print the figures of this moment and end.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON a look.")
@remote_options
def watch(
    every_s: float,
    search: str | None,
    limit: int,
    once: bool,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Show partitions with their lag, what holds back closing, and the most used, until Ctrl-C.

    A look every EVERY seconds; LIMIT lines of usage, those with most events first.
    """
    worker = operated(url, key)
    terminal = Terminal()
    overview = look(worker, search, limit)
    try:
        if not as_json and not once and terminal.is_terminal:
            _show(worker, overview, search, limit, every_s)
        # A pipe has no figures that are written over: each look follows the last.
        while True:
            if as_json:
                echo(json.dumps(overview, default=str))
            else:
                terminal.print(overview_tables(overview))
            if once:
                return
            time.sleep(every_s)
            overview = look(worker, search, limit)
    except KeyboardInterrupt:
        # The way to end it, not a failure.
        echo(err=True)


def look(worker: Remote, search: str | None, limit: int) -> Json:
    """Return what the page would show now."""
    return worker.get("/api/page/overview", search=search, limit=limit)


def _show(
    worker: Remote, overview: Json, search: str | None, limit: int, every_s: float
) -> NoReturn:
    with Live(Drawn(overview_tables(overview)), auto_refresh=False) as live:
        while True:
            time.sleep(every_s)
            try:
                shown: RenderableType = overview_tables(look(worker, search, limit))
            except click.ClickException as error:
                # A worker that restarts comes back; the last figures would be no longer true.
                shown = Text(error.message, style="red")
            live.update(Drawn(shown), refresh=True)


def overview_tables(overview: Json) -> Group:
    """Return a header line and the three tables."""
    partitions = overview["partitions"]
    known = [partition["lag"] for partition in partitions if partition["lag"] is not None]
    lag, unknown = f"{sum(known):,}", len(partitions) - len(known)
    if unknown:
        lag += f" and that of {unknown} partition{'s' if unknown > 1 else ''} unknown"
    speed = sum(partition["events_per_s"] for partition in partitions)
    header = (
        f"{overview['worker']}, workers {overview['workers']}, {overview['now']}, "
        f"lag {lag}, {speed:,.0f} events/s, "
        f"newest dead letters {len(overview['dead_letters'])}"
    )
    return Group(
        Text(header, style="bold"),
        _partitions(partitions),
        _closing(overview["closing"]),
        _usage(overview["usage"], overview["usage_total"]),
    )


def _partitions(partitions: Sequence[Json]) -> Table:
    right = ("Offset", "Lag", "Forwarded", "Events/s", "Log time")
    rows = (
        (
            str(one["partition"]),
            one["state"],
            one["owner"] or "this one",
            f"{one['offset']:,}",
            "-" if one["lag"] is None else f"{one['lag']:,}",
            "-" if one["lag"] is None else f"{one['rekeyed_lag']:,}",
            str(one["events_per_s"]),
            (one["append_time"] or "").partition("T")[2].rstrip("Z"),
        )
        for one in partitions
    )
    return table_of(("No", "State", "Worker", *right), rows, title="Partitions", right=right)


def _closing(closing: Sequence[Json]) -> RenderableType:
    if not closing:
        return Text("Closing: every cut that is due is published.\n")
    rows = (
        (str(held["partition"]), held["cut"], held["blocked_by"], f"{held['waiting_s']} s")
        for held in closing
    )
    names, title = ("No", "Cut", "Blocked by", "Waiting"), "What holds back closing"
    return table_of(names, rows, title=title, right=("Waiting",))


def _usage(usage: Sequence[Json], total: int) -> Table:
    named = len({(line["organization_id"], line["external_subscription_id"]) for line in usage})
    more = total > named
    title = f"Usage (first {named} of {total:,} subscriptions)" if more else "Usage"
    rows = (
        (
            line["external_subscription_id"],
            line["external_customer_id"],
            _metric(line),
            "too many cells to add up here" if line["units"] is None else line["units"],
            "-" if line["events_count"] is None else f"{line['events_count']:,}",
            line["from"][:10],
        )
        for line in usage
    )
    names = ("Subscription", "Customer", "Metric", "Units", "Events", "Period from")
    return table_of(names, rows, title=title, right=("Units", "Events"))


def _metric(line: Json) -> str:
    """Return the metric, and which of its charges where the name does not say."""
    code: str = line["billable_metric_code"]
    if line["implicit"]:
        return f"{code} (implicit)"
    return code if line["charge_code"] == code else f"{code}, charge {line['charge_code']}"
