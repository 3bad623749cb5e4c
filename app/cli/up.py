"""`meter up`: everything on this machine, and what to try on it."""

from __future__ import annotations

import asyncio
import logging
import shlex
import sys
from contextlib import suppress
from functools import partial
from typing import Final

import click
import uvloop
from yarl import URL

from app.cli.children import run_children, workers_option
from app.cli.demo import SUBSCRIPTIONS, demo, organization_of
from app.cli.failures import load_settings, told_plainly
from app.cli.interrupts import ended_by_signals
from app.cli.output import echo
from app.cli.serving import configure_log, require_port, stopped_plainly
from app.local_servers.stack import local_stack
from app.main import Worker, run_worker
from app.settings import Settings

log = logging.getLogger(__name__)

DEFAULT_HTTP_PORT = Settings.model_fields["http_port"].default
READY_POLL_S = 0.1
_ONE_OF_FILE: Final = "KEY"
"""Stands for a key of METER_API_KEYS_FILE, which holds digests only."""
_GREETING: Final[list[asyncio.Task[None]]] = []
"""The greeting of a child: a task that nobody holds may be collected."""


@click.command()
@click.option("--demo/--no-demo", "with_demo", default=True, help="Feed sample metrics and events.")
@workers_option
def up(with_demo: bool, workers: int) -> None:
    """Run everything on this machine: Kafka, Redis, worker, API, page and a sample generator."""
    settings = load_settings(profile="local")
    configure_log(settings)
    with told_plainly():
        uvloop.run(_up(settings, with_demo, workers))


async def _up(settings: Settings, with_demo: bool, workers: int) -> None:
    # From the first moment, so that Ctrl-C in the middle of a start also stops what has started.
    with ended_by_signals():
        require_port(settings)
        async with local_stack(settings, echo) as running:
            greeting: list[asyncio.Task[None]] = []

            def tell(started: Worker) -> None:
                greeting.append(asyncio.create_task(_greet(running, started, with_demo)))

            try:
                if workers > 1:
                    await run_children(running, workers, partial(_tell_child, with_demo))
                else:
                    with stopped_plainly(running):
                        await run_worker(running, tell)
            finally:
                echo("Stopping …")
                for task in greeting:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
    echo(f"Stopped. What was counted is in {settings.state_dir}/; start again to go on.")


def _tell_child(with_demo: bool, settings: Settings, number: int, started: Worker) -> None:
    """Greet in the first child; it feeds the sample, too."""
    if number == 1:
        _GREETING.append(asyncio.create_task(_greet(settings, started, with_demo)))


async def _greet(settings: Settings, started: Worker, with_demo: bool) -> None:
    """Print what to try, as soon as it works; then run the sample."""
    while started.gateway.not_ready():
        await asyncio.sleep(READY_POLL_S)
    url = str(URL(started.url).with_port(settings.http_port))
    echo(_welcome(settings, url, with_demo))
    if not with_demo:
        return
    try:
        await demo(started, settings)
    except Exception:
        # Sample events are not worth the worker: without them it runs on.
        log.exception("The sample generator stopped")


def _welcome(settings: Settings, url: str, with_demo: bool) -> str:
    keys = settings.api_keys
    secret = keys[0].key.get_secret_value() if keys else _ONE_OF_FILE
    paragraphs = [
        _addresses(settings, url, secret),
        _demo_lines(settings) if with_demo else "",
        _first_number(url, secret),
        _producer_lines(settings),
        "Ctrl-C stops everything; what was counted stays.",
    ]
    return "\n" + "\n\n".join(filter(None, paragraphs))


def _addresses(settings: Settings, url: str, secret: str) -> str:
    organization = organization_of(settings)
    key = f"key {secret}" if settings.api_keys else f"{secret} is one of {settings.api_keys_file}"
    raw, records = settings.topic(settings.raw_topic), settings.topic(settings.usage_records_topic)
    return (
        f"Page    {url}/\n"
        f"API     {url}/api/v1   ({key}, organization {organization})\n"
        f"Topics  in {raw}, out {records}, at {settings.kafka_bootstrap_servers[0]}"
    )


def _producer_lines(settings: Settings) -> str:
    organization = organization_of(settings)
    return (
        f"A producer of your own writes to {settings.topic(settings.raw_topic)} with key "
        f"{organization}-me\n(organization, hyphen, external_subscription_id):\n\n"
        f'  {{"organization_id":"{organization}","external_subscription_id":"me",'
        '"transaction_id":"t2","code":"downloads","properties":{"gb":1}}'
    )


def _demo_lines(settings: Settings) -> str:
    # `python -m app` is started by no file that could be run again.
    is_module = sys.argv[0].endswith("__main__.py")
    module = [sys.executable, "-m", __package__.partition(".")[0]]
    meter = shlex.join(module if is_module else sys.argv[:1])
    port = settings.http_port
    where = "" if port == DEFAULT_HTTP_PORT else f" --url http://127.0.0.1:{port}"
    return (
        f"Sample subscriptions ({SUBSCRIPTIONS[0]}, {SUBSCRIPTIONS[1]}, …) get 20 events a second; "
        "they began three\nmonths ago, so closed periods show within seconds. "
        "In another terminal, in this directory:\n\n"
        f"  {meter} watch{where}\n"
        f"  {meter} usage {SUBSCRIPTIONS[0]}{where}\n"
        f"  {meter} usage {SUBSCRIPTIONS[0]} --past{where}"
    )


def _first_number(url: str, secret: str) -> str:
    curl = f"curl -H 'Authorization: Bearer {secret}'"
    post = f"{curl} -H 'Content-Type: application/json'"
    return (
        "Your own first number takes a metric and an event: a subscription that is not defined is\n"
        "read as if on a monthly plan with every metric (the implicit plan, on locally only).\n\n"
        f"  {post} {url}/api/v1/billable_metrics \\\n"
        '    -d \'{"billable_metric":{"name":"Downloads","code":"downloads",'
        '"aggregation_type":"sum_agg","field_name":"gb"}}\'\n'
        f"  {post} {url}/api/v1/events \\\n"
        '    -d \'{"event":{"transaction_id":"t1","external_subscription_id":"me",'
        '"code":"downloads","properties":{"gb":12.5}}}\'\n'
        f"  {curl} \\\n"
        f"    '{url}/api/v1/customers/me/current_usage?external_subscription_id=me"
        "&billable_metric_code=downloads'"
    )
