"""Serving: what all commands that run a worker do around it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from redis.exceptions import AuthenticationError, RedisError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from app.bounds.limits import LOG_REPEATED_S
from app.cli.brokers import of_the_address
from app.errors import StackError
from app.kafka.names import KafkaConnectionError, KafkaError
from app.kafka.record_batch import OffsetsLost
from app.local_servers.ports import require_free, require_own_address
from app.log import configure
from app.settings import Settings, unknown_variables
from app.tokens import NotLetIn

log = logging.getLogger(__name__)


def require_port(settings: Settings) -> None:
    """Refuse to begin where a worker could not listen. Raises StackError, naming the setting."""
    host = settings.http_host
    require_own_address(host, "METER_HTTP_HOST")
    require_free(settings.http_port, "METER_HTTP_PORT", "use the worker that runs there", host)
    if settings.admin_port is not None:
        require_free(settings.admin_port, "METER_ADMIN_PORT", "unset it", host)


@contextmanager
def stopped_plainly(settings: Settings) -> Iterator[None]:
    """Tell of a server that does not answer in one line: that is no defect of ours.

    Anything else is raised.
    """
    try:
        yield
    except StackError:
        # One of a file is an OSError as well.
        raise
    except NotLetIn as error:
        raise StackError(f"{error}.") from error
    except KafkaConnectionError as error:
        servers = ",".join(settings.kafka_bootstrap_servers)
        raise StackError(
            f"Kafka at {servers} does not answer. Start it, or correct {of_the_address(settings)}."
        ) from error
    except RedisError as error:
        raise StackError(_told_of_redis(settings, error)) from error
    except OffsetsLost as error:
        raise StackError(
            f"{error} If METER_RAW_TOPIC or METER_TOPIC_PREFIX named another topic before, set it "
            "back; else see OffsetsLost in docs/runbook.md."
        ) from error
    except (KafkaError, OSError) as error:
        raise StackError(_stopped(error)) from error


def _told_of_redis(settings: Settings, error: RedisError) -> str:
    # Without the user and password that the URL may hold.
    server = urlsplit(settings.redis_url or "").netloc.rpartition("@")[2]
    if isinstance(error, AuthenticationError):
        return (
            f"Redis at {server} did not let us in: {error}; correct METER_REDIS_PASSWORD or "
            "METER_REDIS_URL."
        )
    if isinstance(error, RedisConnectionError | RedisTimeoutError):
        return f"Redis at {server} does not answer ({error}). Start it, or correct METER_REDIS_URL."
    if isinstance(error, ResponseError) and "DB index" in str(error):
        return (
            f"Redis at {server} has no such database: {error}; correct METER_REDIS_URL, which may "
            "end with its number, or METER_REDIS_DB."
        )
    return f"Redis at {server} refused what a worker asks it: {error}; correct METER_REDIS_URL."


def _stopped(error: Exception) -> str:
    return f"The worker stopped: {type(error).__name__}: {error}"


def configure_log(settings: Settings) -> None:
    configure(settings.log_level, settings.log_format, LOG_REPEATED_S)
    plain = settings.kafka_username and settings.kafka_scram_algorithm == "PLAIN"
    if plain and not settings.kafka_tls:
        log.warning("METER_KAFKA_PASSWORD goes to Kafka unencrypted: set METER_KAFKA_TLS")
    for name in unknown_variables(os.environ):
        log.warning("%s is set, but no setting has that name: correct or unset it", name)
