"""`meter series`: usage of a metric by minute, hour, day or month."""

from __future__ import annotations

from typing import get_args

import click

from app.cli.names import require_known
from app.cli.remote import RequestRefused, remote, remote_options, segment
from app.cli.rows import Output, Rows, output_options
from app.cli.usage import customer_of, customer_option
from app.cli.words import TEXT, TIME
from app.meter.evidence import WindowName
from app.wire.answer_rows import SERIES_COLUMNS, SERIES_INSTANTS, series_rows


@click.command()
@click.argument("subscription", type=TEXT)
@click.argument("metric", type=TEXT)
@customer_option
@click.option(
    "--window",
    type=click.Choice(get_args(WindowName)),
    default="day",
    show_default=True,
    help="Length of a window.",
)
@click.option("--timezone", type=TEXT, help="IANA name; the customer's by default.")
@click.option("--from", "since", type=TIME, help="ISO 8601, within the first window.")
@click.option("--to", "until", type=TIME, help="ISO 8601, exclusive; now by default.")
@output_options
@remote_options
def series(
    subscription: str,
    metric: str,
    customer: str | None,
    window: str,
    timezone: str | None,
    since: str | None,
    until: str | None,
    output: Output,
    url: str | None,
    key: str | None,
) -> None:
    """Print the usage of METRIC (a code) of SUBSCRIPTION (an external_id), window by window.

    Exit status: 4 when there is no such subscription or metric.
    """
    worker = remote(url, key)
    customer = customer or customer_of(worker, subscription)
    asked = {"from": since, "to": until, "timezone": timezone, "window": window}
    try:
        answer = worker.get(
            f"/api/v1/customers/{segment(customer)}/usage/series",
            external_subscription_id=subscription,
            billable_metric_code=metric,
            **asked,
        )
    except RequestRefused as refused:
        if refused.status == 404:
            require_known(worker, subscription, metric)
        raise
    charges = answer["usage_series"]["charges"]
    if not any(value["events_count"] for charge in charges for value in charge["values"]):
        require_known(worker, subscription, metric)
    output.show(
        lambda: answer,
        lambda: Rows(SERIES_COLUMNS, series_rows(answer["usage_series"]), SERIES_INSTANTS),
    )
