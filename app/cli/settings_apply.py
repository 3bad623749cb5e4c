"""`meter settings apply`: this environment's byte-shaping settings, as a record of the log."""

from __future__ import annotations

import asyncio
from collections.abc import Set
from math import lcm
from typing import Any

import click
import msgspec

from app.cli.brokers import reached, require_profile, settings_of_the_log
from app.cli.output import echo, print_json
from app.definitions.commands import set_settings
from app.definitions.log import apply
from app.definitions.model import SettingsRecord
from app.definitions.settings_records import changed_fixed_settings
from app.definitions.state import Definitions
from app.kafka.clients import Producer, started
from app.kafka.log_readers import whole
from app.kafka.topics import METER_DEFINITIONS, admin_client, ensure_topics, partition_count
from app.runtime.agreement import settings_record
from app.settings import Settings, environment_names

Change = dict[str, Any]
"""setting, before, after"""

_REVISIONS_MEET_S = 31 * 86_400
"""Revisions at all times that ever held fall together as often: late events are kept apart so long.
"""


@click.command("apply")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only print what would change.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; asks nothing, needs --yes.")
def apply_settings(yes: bool, dry_run: bool, as_json: bool) -> None:
    """Append this environment's settings that shape bytes to the definitions log.

    Prints what differs from the settings in force and asks before it appends. A change holds for
    periods that fall due later. Start every worker with the same METER_* values from then on.
    home_partitioner and default_organization_id say whose an event is and where it lives: they are
    fixed once the log has them. Needs Kafka only: METER_KAFKA_BOOTSTRAP_SERVERS, or else the one
    that `meter up` runs.
    """
    settings = settings_of_the_log()
    require_profile()
    wanted = settings_record(settings)
    with reached(settings):
        definitions = asyncio.run(definitions_of(settings))
    in_force = definitions.settings_at()
    fixed = changed_fixed_settings(in_force, wanted) if definitions.settings else []
    if fixed:
        raise click.ClickException(_told_fixed(fixed, in_force))
    known_s = {each.revise_every_s for each in definitions.settings.all()}
    if seldom := revisions_meet_seldom(known_s, wanted.revise_every_s):
        raise click.ClickException(seldom)
    changes = differences(in_force, wanted)
    if not as_json:
        _print(changes)
    question = "Append these to the definitions log?"
    applied = bool(changes) and not dry_run and (yes or (not as_json and click.confirm(question)))
    if applied:
        with reached(settings):
            asyncio.run(_append(settings, wanted))
    if as_json:
        print_json({"applied": applied, "changes": changes})
    elif applied:
        echo("Applied.")


def differences(before: SettingsRecord, after: SettingsRecord) -> list[Change]:
    """Return every setting that is not the same, in the record's order."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    return [
        {"setting": name, "before": old[name], "after": new[name]}
        for name in new
        if old[name] != new[name]
    ]


def revisions_meet_seldom(known_s: Set[int], wanted_s: int) -> str | None:
    """Return what is wrong with a new time between two revisions beside those of before."""
    at_most_s = max(_REVISIONS_MEET_S, wanted_s, *known_s)
    if wanted_s in known_s or lcm(*known_s, wanted_s) <= at_most_s:
        return None
    before = ", ".join(map(str, sorted(known_s)))
    return (
        f"revise_every_s {wanted_s} and those of before ({before}) fall together less often than "
        "every 31 days, and workers keep late events apart until then: set METER_REVISE_EVERY_S "
        f"to a part of {max(known_s)}, or to a multiple of it"
    )


def _told_fixed(names: list[str], in_force: SettingsRecord) -> str:
    lines = []
    for name in names:
        (variable, *_), value = environment_names(name), getattr(in_force, name)
        do = f"unset {variable}" if value is None else f"set {variable}={value}"
        lines.append(f"{name} cannot be changed once the log has it: {do}")
    return "\n".join(lines)


def _print(changes: list[Change]) -> None:
    for change in changes:
        echo(f"  {change['setting']}: {change['before']!r} -> {change['after']!r}")
    if not changes:
        echo("Nothing to change: the log has these settings.")


async def definitions_of(settings: Settings) -> Definitions:
    """Return what the log has now."""
    definitions = Definitions()
    async with whole(settings, settings.topic(METER_DEFINITIONS)) as batches:
        async for _, records in batches:
            for record in records:
                apply(definitions, record.value, record.timestamp_ms, record.offset)
    return definitions


async def _append(settings: Settings, record: SettingsRecord) -> None:
    await _make_topics(settings)
    async with started(Producer(acks="all", **settings.kafka_options())) as producer:
        await producer.send_and_wait(
            settings.topic(METER_DEFINITIONS), set_settings(record).encode(), partition=0
        )


async def _make_topics(settings: Settings) -> None:
    """Make the topics that the new settings need: whoever runs may write to them at once."""
    partitions = await partition_count(settings, settings.topic(settings.raw_topic))
    async with admin_client(settings) as admin:
        await ensure_topics(settings.model_copy(update={"raw_partitions": partitions}), admin)
