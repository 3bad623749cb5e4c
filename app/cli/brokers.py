"""Kafka as the commands reach it that need no worker: which one, and what is said without it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from app.cli.exits import NoVerdict
from app.cli.failures import told_plainly
from app.cli.remote import local_settings
from app.kafka.names import KafkaError
from app.settings import HOST, Settings
from app.tokens import NotLetIn


def settings_of_the_log() -> Settings:
    """Return the environment's settings.

    Without brokers they are those of the local profile, on its own Kafka.
    """
    settings = local_settings()
    if settings.kafka_bootstrap_servers:
        return settings
    return settings.model_copy(
        update={"kafka_bootstrap_servers": (f"{HOST}:{settings.kafka_port}",)}
    )


def require_profile() -> None:
    """Ask which profile is meant where a guess could change what is published.

    On given brokers `meter up` is of the local profile and `meter worker` of production.
    """
    if not os.environ.get("METER_PROFILE") and local_settings().kafka_bootstrap_servers:
        raise click.UsageError(
            "METER_PROFILE is not set, and what it stands for is part of these settings: "
            "`meter worker` runs as production, `meter up` as local. Set METER_PROFILE to either."
        )


def of_the_address(settings: Settings) -> str:
    """Return the settings that may be wrong where brokers do not answer at all.

    To a client of the other kind a listener says nothing: it closes the connection.
    """
    names = ["METER_KAFKA_BOOTSTRAP_SERVERS"]
    names += ["METER_KAFKA_TLS"] if settings.kafka_tls else []
    names += ["METER_KAFKA_USERNAME"] if settings.kafka_username else []
    return " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


@contextmanager
def reached(settings: Settings) -> Iterator[None]:
    """Say in one line that Kafka does not answer or lacks a topic."""
    # What goes wrong is told here; the client would tell it once more.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        with told_plainly():
            yield
    except NotLetIn as error:
        raise click.ClickException(f"{error}.") from error
    except KafkaError as error:
        servers = ",".join(settings.kafka_bootstrap_servers)
        raise NoVerdict(
            f"Kafka at {servers} does not answer ({error}). Is `meter up` running? "
            f"Another address: {of_the_address(settings)}."
        ) from error
