"""`meter settings apply`: this environment's byte-shaping settings, as a record of the log."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import click
import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from app.cli.remote import local_settings, print_json
from app.definitions.commands import set_settings
from app.definitions.model import SettingsRecord
from app.definitions.state import Definitions
from app.main import settings_record
from app.settings import Settings
from app.stack.ports import HOST
from app.topics import METER_DEFINITIONS, admin_client
from tables.stores.changelog import LogReader

Change = dict[str, Any]
"""setting, before, after"""


@click.command("apply")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only print what would change.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; asks nothing, needs --yes.")
def apply_settings(yes: bool, dry_run: bool, as_json: bool) -> None:
    """Append this environment's settings that shape bytes to the definitions log.

    Prints what differs from the settings in force and asks before it appends. A change holds for
    periods that fall due later. Start every worker with the same METER_* values from then on. Needs
    Kafka only: METER_KAFKA_BOOTSTRAP_SERVERS, or else the one that `meter up` runs.
    """
    settings = settings_of_the_log()
    wanted = settings_record(settings)
    # What goes wrong is told below, in one line.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    changes = differences(asyncio.run(_in_force(settings)), wanted)
    if not as_json:
        _print(changes)
    applied = bool(changes) and not dry_run and (yes or (not as_json and _confirmed()))
    if applied:
        asyncio.run(_append(settings, wanted))
    if as_json:
        print_json({"applied": applied, "changes": changes})
    elif applied:
        click.echo("Applied.")


def settings_of_the_log() -> Settings:
    """The environment's settings; without brokers those of the local profile, on its own Kafka."""
    settings = local_settings()
    if settings.kafka_bootstrap_servers:
        return settings
    return settings.model_copy(
        update={"kafka_bootstrap_servers": (f"{HOST}:{settings.kafka_port}",)}
    )


def differences(before: SettingsRecord, after: SettingsRecord) -> list[Change]:
    """Every setting that is not the same, in the record's order."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    return [
        {"setting": name, "before": old[name], "after": new[name]}
        for name in new
        if old[name] != new[name]
    ]


def _print(changes: list[Change]) -> None:
    for change in changes:
        click.echo(f"  {change['setting']}: {change['before']!r} -> {change['after']!r}")
    if not changes:
        click.echo("Nothing to change: the log has these settings.")


def _confirmed() -> bool:
    return click.confirm("Append these to the definitions log?")


async def _in_force(settings: Settings) -> SettingsRecord:
    """The newest settings record of the log."""
    topic = settings.topic(METER_DEFINITIONS)
    await _require_topic(settings, topic)
    definitions = Definitions()
    reader = LogReader(settings, topic)

    async def follow() -> None:
        async for batch in reader.batches():
            for record in batch:
                definitions.apply(record.value, record.timestamp_ms, record.offset)

    following = asyncio.create_task(follow())
    try:
        await reader.caught_up.wait()
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await reader.stop()
    return definitions.settings_at()


async def _require_topic(settings: Settings, topic: str) -> None:
    servers = ",".join(settings.kafka_bootstrap_servers)
    try:
        async with admin_client(settings) as admin:
            topics = await admin.list_topics()
    except KafkaError as error:
        raise click.ClickException(
            f"Kafka at {servers} does not answer. Set METER_KAFKA_BOOTSTRAP_SERVERS."
        ) from error
    if topic not in topics:
        raise click.ClickException(
            f"Kafka at {servers} has no topic {topic}: start a worker first, it takes the settings "
            "of its own environment."
        )


async def _append(settings: Settings, record: SettingsRecord) -> None:
    producer = AIOKafkaProducer(acks="all", **settings.kafka_options())
    try:
        await producer.start()
        await producer.send_and_wait(
            settings.topic(METER_DEFINITIONS), set_settings(record).encode(), partition=0
        )
    except KafkaError as error:
        raise click.ClickException(f"Kafka did not take the record: {error}") from error
    finally:
        await producer.stop()
