"""`meter worker`: a worker on existing servers, or several."""

from __future__ import annotations

import click
import uvloop

from app.cli.children import run_children, workers_option
from app.cli.failures import load_settings, told_plainly
from app.cli.interrupts import ended_by_signals
from app.cli.output import echo
from app.cli.serving import configure_log, require_port, stopped_plainly
from app.errors import SettingRefused
from app.main import Worker, run_worker
from app.settings import Settings


@click.command()
@workers_option
def worker(workers: int) -> None:
    """Run one worker, or several, on the Kafka and Redis that METER_* names, until Ctrl-C."""
    settings = load_settings()
    configure_log(settings)
    with told_plainly():
        _require_servers(settings)
        uvloop.run(_worker(settings, workers))


async def _worker(settings: Settings, workers: int) -> None:
    with ended_by_signals():
        require_port(settings)
        if workers > 1:
            await run_children(settings, workers, tell_child)
        else:
            with stopped_plainly(settings):
                await run_worker(settings, lambda running: echo(f"Worker  {running.url}"))
    echo("Stopped.")


def tell_child(settings: Settings, number: int, running: Worker) -> None:
    """Say in a child where it answers."""
    echo(f"Worker {number}  {running.url}  (all of them: port {settings.http_port})")


def _require_servers(settings: Settings) -> None:
    """Raise SettingRefused unless servers are named: a worker starts none of its own."""
    named = {
        "METER_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "METER_REDIS_URL": settings.redis_url,
    }
    missing = [name for name, value in named.items() if not value]
    if missing:
        raise SettingRefused(
            f"{' and '.join(missing)} not set: a worker runs on servers that exist. "
            "`meter up` starts its own, `meter stack` starts only the servers."
        )
