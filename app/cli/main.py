"""The `meter` command. Each command has a module of its own, loaded only when it is run."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Any, Final, NamedTuple

import click

from app.cli.ending import told_at_the_end
from app.cli.exits import WrongUsage, not_installed


class _Place(NamedTuple):
    """Where a command is, the extra that installs what it needs, and the line that lists it."""

    module: str
    extra: str | None
    short_help: str
    attribute: str = ""
    """What it is called there, if not as the module."""


_COMMANDS: Final = {
    "apply": _Place("apply", None, "Create or update what files define."),
    "completion": _Place("completion", None, "Print what completes words in a shell."),
    "compare": _Place("lago.compare", None, "Compare usage in Lago with usage here.", "compare"),
    "context": _Place("context", None, "Name workers that are asked, and choose one."),
    "dead-letters": _Place("dead_letters", None, "List refused events, and replay them."),
    "delete": _Place(
        "objects", None, "Delete a metric, plan or customer; end a subscription.", "delete_object"
    ),
    "doctor": _Place(
        "doctor.command",
        "worker",
        "Check what a worker stands on, and how to mend it.",
        "doctor",
    ),
    "events": _Place("events", None, "Correct events that were sent, at any age."),
    "explain": _Place("explain", None, "Show the events that a figure is made of."),
    "export": _Place("export", "worker", "Write a log as JSON lines.", "export_command"),
    "fold": _Place("fold", "fold", "Fold two files offline: the bytes a worker publishes."),
    "get": _Place("objects", None, "Print one metric, plan, event or other object.", "get_object"),
    "import": _Place("import_logs", "worker", "Write both logs anew, from an export."),
    "keys": _Place("keys", None, "Make keys for the API."),
    "limits": _Place("limits", None, "Print every limit of what one input may cost."),
    "migrate": _Place("lago.migrate", None, "Copy definitions from Lago.", "migrate"),
    "list": _Place(
        "objects", None, "Print all metrics, plans, events or other objects.", "list_objects"
    ),
    "preview": _Place("preview", None, "Show what a changed definition would make."),
    "reconcile": _Place("reconcile", None, "Compare a list of events sent with what counted."),
    "records": _Place("records", None, "Print what was published, and what has changed."),
    "send": _Place("send", None, "Send the events of a file; say what became of each."),
    "series": _Place("series", None, "Print usage of a metric by hour, day or month."),
    "set-aside": _Place(
        "set_aside", "worker", "List raw records that no fold looks at; name more."
    ),
    "settings": _Place("settings", "worker", "Print every setting, or apply them."),
    "stack": _Place("stack", "local", "Run only the servers: Kafka and Redis."),
    "statement": _Place("statement", "fold", "Write a figure with its proof; check one."),
    "topics": _Place("topics", "worker", "Make the topics of a worker before it starts."),
    "trace": _Place("trace", None, "Show what became of an event, and why."),
    "up": _Place("up", "local", "Run everything on this machine."),
    "usage": _Place("usage", None, "Print the usage of a subscription."),
    "verify": _Place("verify", None, "Compare usage with a fold of the raw topic."),
    "watch": _Place("watch", None, "Show partitions, lag, closing and usage, live."),
    "webhooks": _Place("webhooks", "worker", "Tell organizations what happens."),
    "worker": _Place("worker", "worker", "Run one worker on given servers."),
}


_OURS: Final = frozenset({(__package__ or "").partition(".")[0], "agents", "tables"})


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
        try:
            module = import_module(f".{place.module}", __package__)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if place.extra is None or missing in _OURS:
                raise
            told = f"`meter {cmd_name}` needs {not_installed(missing, place.extra)}"
            raise WrongUsage(told) from error
        command: click.Command = getattr(module, place.attribute or place.module)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named; beside an unknown one, name what is near."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = get_close_matches(args[0], _COMMANDS, n=1)
            if near and "Did you mean" not in error.message:
                error.message += f" Did you mean {near[0]!r}?"
            raise

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Read the words before the command, of which some print and end."""
        with told_at_the_end():
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run one; what it fails with may name what others have named."""
        with told_at_the_end():
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


def _show_version(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    """Print the version, and whether the kernel is compiled."""
    if asked and not ctx.resilient_parsing:
        from importlib.metadata import version

        from app.kernel import described

        # It names nothing that others sent, and `app.cli.output` takes long to load.
        sys.stdout.write(f"meter, version {version('meterstream')} (kernel: {described})\n")
        ctx.exit()


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def cli() -> None:
    """Turn a Kafka topic of product events into usage that can be invoiced."""
