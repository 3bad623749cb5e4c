"""`meter webhooks`: tell organizations what happens, at the URLs that they named."""

from __future__ import annotations

from itertools import islice

import click
import uvloop

from app.bounds.limits import LOG_REPEATED_S
from app.cli.brokers import reached, settings_of_the_log
from app.cli.failures import load_settings
from app.cli.interrupts import ended_by_signals
from app.cli.output import echo
from app.cli.rows import Output, Rows, output_options
from app.cli.words import COUNT
from app.clock import SystemClock
from app.local_servers.ports import require_free, require_own_address
from app.log import configure
from app.settings import Settings
from app.webhooks.failures import Failures

_LISTED = 100
_COLUMNS = (
    "given_up_at",
    "organization_id",
    "lago_endpoint_id",
    "host",
    "webhook_type",
    "attempts",
    "reason",
    "unique_key",
)


@click.group(invoke_without_command=True)
@click.option(
    "--events-errors",
    is_flag=True,
    help="Each hour read its events again, and tell those that no metric can count.",
)
@click.pass_context
def webhooks(context: click.Context, events_errors: bool) -> None:
    """Send webhooks until Ctrl-C; `failed` lists what was given up."""
    if context.invoked_subcommand is not None:
        return
    settings = load_settings()
    if not settings.kafka_bootstrap_servers:
        settings = settings_of_the_log()
    configure(settings.log_level, settings.log_format, LOG_REPEATED_S)
    with reached(settings):
        host = settings.http_host
        require_own_address(host, "METER_HTTP_HOST")
        require_free(
            settings.webhooks_port, "METER_WEBHOOKS_PORT", "use the process that runs there", host
        )
        uvloop.run(_run(settings, events_errors))
    echo("Stopped.")


async def _run(settings: Settings, events_errors: bool) -> None:
    # It brings all of aiohttp, which `failed` does without.
    from app.webhooks.process import Webhooks

    with ended_by_signals():
        process = Webhooks(settings, SystemClock(), events_errors=events_errors)
        echo(f"Webhooks  metrics at http://127.0.0.1:{settings.webhooks_port}/metrics")
        await process.run()


@webhooks.command()
@click.option("--most", type=COUNT, default=_LISTED, show_default=True, help="So many, the newest.")
@output_options
def failed(most: int, output: Output) -> None:
    """List what the process of this state directory gave up, newest first."""
    settings = settings_of_the_log()
    found = [
        {name: getattr(each, name) for name in _COLUMNS}
        for each in islice(Failures(settings.state_dir).newest(), most)
    ]
    output.show(lambda: found, lambda: Rows.of(_COLUMNS, found, frozenset({"given_up_at"})))
