"""`meter set-aside`: raw records that no fold looks at. Needs Kafka only, no worker."""

from __future__ import annotations

import asyncio

import click

from app.api.events.set_aside import LONGEST_REASON, shown
from app.cli.brokers import reached, settings_of_the_log
from app.cli.exits import NotThere
from app.cli.output import Terminal, echo, print_json, table_of
from app.cli.remote import Json
from app.cli.rows import Output, Rows, output_options
from app.cli.settings_apply import definitions_of
from app.cli.words import TEXT
from app.definitions import commands
from app.definitions.model import SetAside
from app.definitions.state import Definitions
from app.kafka.clients import Producer, started
from app.kafka.names import RecordMetadata
from app.kafka.topics import METER_DEFINITIONS, partition_count
from app.meter.errors import NotSetAside
from app.runtime.set_aside import append_again
from app.runtime.set_aside import set_aside as append_set_aside
from app.settings import Settings
from app.wire.decode import Headers
from app.wire.refusals import RefusalCode

_COLUMNS = ("lago_id", "partition", "from", "to", "index", "code", "message", "set_aside_at")

Place = tuple[int, int, int]
"""Partition, first and last offset."""


class RangeType(click.ParamType):
    """PARTITION:FROM-TO; `to` is the last offset, and may be left out."""

    name = "partition:from-to"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Place:
        """Return all three numbers: partition, first offset and last offset."""
        partition, _, offsets = str(value).partition(":")
        first, _, last = offsets.partition("-")
        last = last or first
        if not (partition.isdecimal() and first.isdecimal() and last.isdecimal()):
            self.fail(f"{value!r} is not PARTITION:FROM-TO, for example 3:170-175", param, ctx)
        return int(partition), int(first), int(last)


@click.group("set-aside")
def set_aside() -> None:
    """List raw records that no fold looks at, name more, lift some.

    A worker sets aside by itself what it cannot fold. Needs Kafka only:
    METER_KAFKA_BOOTSTRAP_SERVERS, or else the one that `meter up` runs.
    """


@set_aside.command("list", short_help="Print what is set aside.")
@output_options
def list_set_aside(output: Output) -> None:
    """Print what is set aside and not lifted, in the order of the log."""
    told = [shown(one) for one in _definitions(settings_of_the_log()).set_asides.listed()]
    output.show(
        lambda: told,
        lambda: Rows.of(_COLUMNS, told),
        lambda: _draw(told),
    )


@set_aside.command(short_help="Set aside records that are not folded yet.")
@click.argument("place", type=RangeType())
@click.option("--reason", type=TEXT, required=True, help="What whoever lists it should know.")
@click.option("--json", "as_json", is_flag=True, help="A JSON array of what was appended.")
def add(place: Place, reason: str, as_json: bool) -> None:
    """Set aside the records of PARTITION:FROM-TO, which may be deleted already.

    They count nowhere from then on, whenever usage is folded again. What is folded already is
    refused: cancel such events by transaction_id (`meter events cancel`). The owner of the
    partition takes it over anew.
    """
    settings = settings_of_the_log()
    number, first, last = place
    if not reason.strip() or len(reason) > LONGEST_REASON:
        raise click.UsageError(f"Give a reason of up to {LONGEST_REASON} characters.")
    with reached(settings):
        try:
            made = asyncio.run(_append(settings, number, first, last + 1, reason))
        except NotSetAside as error:
            raise click.ClickException(str(error)) from error
    known = {one.id: one for one in _definitions(settings).set_asides.listed()}
    if as_json:
        print_json([shown(known[identity]) for identity in made if identity in known])
    else:
        echo(f"Set aside: {', '.join(made)}")


@set_aside.command(short_help="Append what is set aside anew.")
@click.argument("identity", type=TEXT, metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="A JSON object of what became of it.")
def lift(identity: str, as_json: bool) -> None:
    """Append the records that ID sets aside anew, admitted even if too late, and unlist it.

    Exit status: 4 when nothing is set aside as ID.
    """
    settings = settings_of_the_log()
    definitions = _definitions(settings)
    listed = definitions.set_asides.listed()
    one = next((each for each in listed if each.id == identity), None)
    if one is None:
        raise NotThere(f"Nothing is set aside as {identity}: `meter set-aside list`.")
    with reached(settings):
        appended = asyncio.run(_lift(settings, definitions, one))
    if as_json:
        print_json({**shown(one), "appended": appended})
    else:
        echo(f"{appended} of {one.count} records were there yet, and are appended anew.")


def _definitions(settings: Settings) -> Definitions:
    with reached(settings):
        return asyncio.run(definitions_of(settings))


async def _append(
    settings: Settings, number: int, first: int, after: int, reason: str
) -> list[str]:
    definitions = await definitions_of(settings)
    # The environment may tell of another number than the topic has.
    partitions = await partition_count(settings, settings.topic(settings.raw_topic))
    settings = settings.model_copy(update={"raw_partitions": partitions})
    code = RefusalCode.SET_ASIDE
    made = await append_set_aside(
        settings, definitions, number, first, after, code=code, message=reason
    )
    return [command.id for command in made]


async def _lift(settings: Settings, definitions: Definitions, one: SetAside) -> int:
    async with started(Producer(acks="all", **settings.kafka_options())) as producer:

        async def append(
            topic: str, key: bytes | None, value: bytes | None, partition: int, headers: Headers
        ) -> RecordMetadata:
            return await producer.send_and_wait(
                topic, value, key=key, partition=partition, headers=list(headers)
            )

        appended = await append_again(settings, definitions, one, append)
        topic = settings.topic(METER_DEFINITIONS)
        await producer.send_and_wait(topic, commands.lift(one.id).encode(), partition=0)
    return appended


def _draw(told: list[Json]) -> None:
    if not told:
        echo("Nothing is set aside.")
        return
    names = ("Id", "Partition", "From", "To", "Index", "Code", "Message")
    rows = Rows.of(_COLUMNS[: len(names)], told).rows
    Terminal().print(table_of(names, rows, title="Set aside"))
