"""`meter worker`: a worker on existing servers."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import click
import uvloop
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.bounds.limits import LOG_REPEATED_S
from app.cli.failures import load_settings, told_plainly
from app.cli.interrupts import ended_by_signals
from app.cli.output import echo
from app.errors import StackError
from app.kafka.names import KafkaConnectionError, KafkaError
from app.local_servers.ports import require_free
from app.log import configure
from app.main import run_worker
from app.settings import Settings
from app.tokens import NotLetIn

log = logging.getLogger(__name__)


@click.command()
def worker() -> None:
    """Run one worker on the Kafka and Redis that METER_* names, until Ctrl-C."""
    settings = load_settings()
    configure_log(settings)
    with told_plainly():
        _require_servers(settings)
        uvloop.run(_worker(settings))


async def _worker(settings: Settings) -> None:
    with ended_by_signals():
        require_port(settings)
        with stopped_plainly(settings):
            await run_worker(settings, lambda running: echo(f"Worker  {running.url}"))
    echo("Stopped.")


def require_port(settings: Settings) -> None:
    require_free(settings.http_port, "METER_HTTP_PORT", "use the worker that runs there")


def _require_servers(settings: Settings) -> None:
    """Raise StackError unless servers are named: a worker starts none of its own."""
    named = {
        "METER_KAFKA_BOOTSTRAP_SERVERS": settings.kafka_bootstrap_servers,
        "METER_REDIS_URL": settings.redis_url,
    }
    missing = [name for name, value in named.items() if not value]
    if missing:
        raise StackError(
            f"{' and '.join(missing)} not set: a worker runs on servers that exist. "
            "`meter up` starts its own, `meter stack` starts only the servers."
        )


@contextmanager
def stopped_plainly(settings: Settings) -> Iterator[None]:
    """Tell of a server that does not answer in one line: that is no defect of ours.

    Anything else is raised.
    """
    try:
        yield
    except NotLetIn as error:
        raise StackError(f"{error}.") from error
    except KafkaConnectionError as error:
        servers = ",".join(settings.kafka_bootstrap_servers)
        raise StackError(
            f"Kafka at {servers} does not answer. Start it, or correct "
            "METER_KAFKA_BOOTSTRAP_SERVERS."
        ) from error
    except (RedisConnectionError, RedisTimeoutError) as error:
        # Without the user and password that the URL may hold.
        server = urlsplit(settings.redis_url or "").netloc.rpartition("@")[2]
        raise StackError(
            f"Redis at {server} does not answer ({error}). Start it, or correct METER_REDIS_URL."
        ) from error
    except (KafkaError, RedisError, OSError) as error:
        raise StackError(f"The worker stopped: {type(error).__name__}: {error}") from error


def configure_log(settings: Settings) -> None:
    configure(settings.log_level, settings.log_format, LOG_REPEATED_S)
    plain = settings.kafka_username and settings.kafka_scram_algorithm == "PLAIN"
    if plain and not settings.kafka_tls:
        log.warning("METER_KAFKA_PASSWORD goes to Kafka unencrypted: set METER_KAFKA_TLS")
