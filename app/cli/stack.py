"""`meter stack`: Kafka and Redis on this machine, without a worker."""

from __future__ import annotations

import asyncio

import click

from app.cli.failures import load_settings, told_plainly
from app.cli.interrupts import ended_by_signals
from app.cli.output import echo
from app.local_servers.stack import local_stack
from app.settings import Settings


@click.command()
def stack() -> None:
    """Run only the servers, a real Kafka and a real Redis, until Ctrl-C."""
    settings = load_settings(profile="local")
    with told_plainly():
        asyncio.run(_run(settings))


async def _run(settings: Settings) -> None:
    # From the first moment, so that Ctrl-C in the middle of a start also stops what has started.
    with ended_by_signals():
        async with local_stack(settings, echo) as running:
            echo(
                "\nFor a worker of your own, `meter worker` in another terminal:\n"
                f"  export METER_PROFILE={running.profile}\n"
                f"  export METER_KAFKA_BOOTSTRAP_SERVERS={running.kafka_bootstrap_servers[0]}\n"
                f"  export METER_REDIS_URL={running.redis_url}\n\n"
                "Ctrl-C stops both; what they hold stays."
            )
            await asyncio.Event().wait()
