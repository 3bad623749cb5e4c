"""`meter topics`: what a worker needs of Kafka, made before it starts."""

from __future__ import annotations

import asyncio

import click

from app.cli.brokers import reached, require_profile, settings_of_the_log
from app.cli.output import echo
from app.kafka.topics import admin_client, ensure_topics, topic_specs
from app.settings import Settings


@click.group()
def topics() -> None:
    """Make the topics of a worker. A worker that may make topics does so itself."""


@topics.command()
def create() -> None:
    """Make those that are missing, as the settings say, and check the others. Nothing is changed.

    For whoever may make topics while workers may not. Exit status: 1 when a topic is not as it has
    to be, 3 when Kafka does not answer.
    """
    require_profile()
    settings = settings_of_the_log()
    with reached(settings):
        made = asyncio.run(_create(settings))
    for name in made:
        echo(f"{name} is made")
    echo(f"{len(made)} made, {len(topic_specs(settings)) - len(made)} were there.")


async def _create(settings: Settings) -> list[str]:
    async with admin_client(settings) as admin:
        return await ensure_topics(settings, admin)
