"""The `meter` command. Each command has a module of its own, loaded only when it is run."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Final, NamedTuple

import click


class _Place(NamedTuple):
    """Where a command is, and the line that lists it."""

    module: str
    attribute: str
    short_help: str


_COMMANDS: Final = {
    "dead-letters": _Place(
        "app.cli.dead_letters", "dead_letters", "List refused events, and replay them."
    ),
    "events": _Place("app.cli.events", "events", "Correct events that were sent, at any age."),
    "explain": _Place("app.cli.explain", "explain", "Show the events that a figure is made of."),
    "export": _Place("app.cli.export", "export_command", "Write a log as JSON lines."),
    "fold": _Place("app.cli.fold", "fold", "Fold two files offline: the bytes a worker publishes."),
    "keys": _Place("app.cli.keys", "keys", "Make keys for the API."),
    "limits": _Place("app.cli.limits", "limits", "Print every limit of what one input may cost."),
    "preview": _Place("app.cli.preview", "preview", "Show what a changed definition would make."),
    "set-aside": _Place(
        "app.cli.set_aside", "set_aside", "List raw records that no fold looks at; name more."
    ),
    "settings": _Place("app.cli.settings", "settings", "Print every setting, or apply them."),
    "stack": _Place("app.cli.stack", "stack", "Run only the servers: Kafka and Redis."),
    "up": _Place("app.cli.worker", "up", "Run everything on this machine."),
    "usage": _Place("app.cli.usage", "usage", "Print the usage of a subscription."),
    "verify": _Place("app.cli.verify", "verify", "Compare usage with a fold of the raw topic."),
    "watch": _Place("app.cli.watch", "watch", "Show partitions, lag, closing and usage, live."),
    "webhooks": _Place("app.cli.webhooks", "webhooks", "Tell organizations what happens."),
    "worker": _Place("app.cli.worker", "worker", "Run one worker on given servers."),
}


class _Commands(click.Group):
    """A group that imports a command when it is asked for.

    All of them take over a second: a worker's parts, Faust and aiohttp among them.
    """

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in order."""
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command and return it, None if there is none of that name."""
        place = _COMMANDS.get(cmd_name)
        if place is None:
            return None
        command: click.Command = getattr(import_module(place.module), place.attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run one; what it fails with may name what others have named."""
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            from app.cli.output import shown

            error.message = shown(error.message)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List them without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name].short_help) for name in sorted(_COMMANDS)])


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="meterstream", prog_name="meter")
def cli() -> None:
    """Turn a Kafka topic of product events into usage that can be invoiced."""
