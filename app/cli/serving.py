"""Serving: what all commands that run a worker do around it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.bounds.limits import LOG_REPEATED_S
from app.errors import StackError
from app.kafka.names import KafkaConnectionError, KafkaError
from app.local_servers.ports import require_free
from app.log import configure
from app.settings import Settings
from app.tokens import NotLetIn

log = logging.getLogger(__name__)


def require_port(settings: Settings) -> None:
    require_free(settings.http_port, "METER_HTTP_PORT", "use the worker that runs there")


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
