"""`meter series`: usage of a metric by minute, hour, day or month."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import click

from app.cli.remote import Json, remote, remote_options, segment
from app.cli.rows import Output, Rows, output_options
from app.cli.usage import customer_of

COLUMNS: Final = (
    "from",
    "until",
    "charge_code",
    "units",
    "total_aggregated_units",
    "events_count",
    "billable_metric_code",
    "external_subscription_id",
)


@click.command()
@click.argument("subscription")
@click.argument("metric")
@click.option("--customer", help="Its external_customer_id. Default: asked of the worker.")
@click.option(
    "--window",
    type=click.Choice(["minute", "hour", "day", "month"]),
    default="day",
    show_default=True,
    help="Length of a window.",
)
@click.option("--timezone", help="IANA name; the customer's by default.")
@click.option("--from", "since", help="ISO 8601, within the first window.")
@click.option("--to", "until", help="ISO 8601, exclusive; now by default.")
@output_options()
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
    """Print the usage of METRIC (a code) of SUBSCRIPTION (an external_id), window by window."""
    worker = remote(url, key)
    customer = customer or customer_of(worker, subscription)
    asked = {"from": since, "to": until, "timezone": timezone, "window": window}
    answer = worker.get(
        f"/api/v1/customers/{segment(customer)}/usage/series",
        external_subscription_id=subscription,
        billable_metric_code=metric,
        **asked,
    )
    instants = frozenset({"from", "until"})
    output.show(lambda: answer, lambda: Rows(COLUMNS, _rows(answer["usage_series"]), instants))


def _rows(found: Json) -> Iterator[list[str]]:
    for charge in found["charges"]:
        for value in charge["values"]:
            texts = (
                value["from"],
                value["until"],
                charge["charge_code"],
                value["units"],
                value["total_aggregated_units"],
                value["events_count"],
                found["billable_metric_code"],
                found["external_subscription_id"],
            )
            yield [str(text) for text in texts]
