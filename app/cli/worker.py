"""`meter worker` and `meter up`: a worker on existing servers, or everything on this machine."""

from __future__ import annotations

import asyncio
import logging

import click
import uvloop

from app.cli.failures import load_settings, told_plainly
from app.cli.interrupts import ended_by_signals
from app.demo import demo
from app.main import Worker, run_worker
from app.settings import Settings
from app.stack.stack import local_stack


@click.command()
def worker() -> None:
    """Run one worker on the Kafka and Redis that METER_* names, until Ctrl-C."""
    settings = load_settings()
    _log()
    with told_plainly():
        uvloop.run(_worker(settings))


async def _worker(settings: Settings) -> None:
    with ended_by_signals():
        await run_worker(settings, lambda running: click.echo(f"Worker  {running.url}"))


@click.command()
@click.option("--demo/--no-demo", "with_demo", default=True, help="Feed sample metrics and events.")
def up(with_demo: bool) -> None:
    """Run everything on this machine: Kafka, Redis, worker, API, page and a sample generator."""
    settings = load_settings(profile="local")
    _log()
    with told_plainly():
        uvloop.run(_up(settings, with_demo))


async def _up(settings: Settings, with_demo: bool) -> None:
    # From the first moment, so that Ctrl-C in the middle of a start also stops what has started.
    with ended_by_signals():
        async with local_stack(settings, click.echo) as running:
            feeding: list[asyncio.Task[None]] = []

            def tell(started: Worker) -> None:
                click.echo(_welcome(running, started))
                if with_demo:
                    feeding.append(asyncio.create_task(demo(started, running)))

            try:
                await run_worker(running, tell)
            finally:
                for task in feeding:
                    task.cancel()


def _welcome(settings: Settings, worker: Worker) -> str:
    key = settings.api_keys[0]
    secret, organization = key.key.get_secret_value(), key.organization_id
    topic = settings.topic(settings.raw_topic)
    return (
        f"Page    {worker.url}/\n"
        f"API     {worker.url}/api/v1   (key {secret}, organization {organization})\n\n"
        "An unknown subscription can be read as if on a monthly plan with every metric (the\n"
        "implicit plan, on in this profile only), so a metric and an event are enough:\n\n"
        f"  curl -H 'Authorization: Bearer {secret}' -H 'Content-Type: application/json' \\\n"
        f"    {worker.url}/api/v1/events \\\n"
        '    -d \'{"event":{"transaction_id":"t1","external_subscription_id":"me",'
        '"code":"storage","properties":{"gb":12.5}}}\'\n'
        f"  curl -H 'Authorization: Bearer {secret}' \\\n"
        f"    '{worker.url}/api/v1/customers/me/current_usage?external_subscription_id=me'\n\n"
        f"A producer writes to topic {topic} at {settings.kafka_bootstrap_servers[0]}, key\n"
        f"{organization}-<external_subscription_id>, for example:\n\n"
        f'  {{"organization_id":"{organization}","external_subscription_id":"me",'
        '"transaction_id":"t2","code":"storage","timestamp":"1767225600.0",'
        '"properties":{"gb":1}}\n\n'
        "Ctrl-C stops everything; what was counted stays."
    )


def _log() -> None:
    logging.basicConfig(
        level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
