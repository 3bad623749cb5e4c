"""The `meter` command. Each command has a module of its own and is registered below."""

from __future__ import annotations

import click

from app.cli.dead_letters import dead_letters
from app.cli.events import events
from app.cli.explain import explain
from app.cli.export import export_command
from app.cli.fold import fold
from app.cli.settings import settings
from app.cli.stack import stack
from app.cli.usage import usage
from app.cli.vectors import vectors
from app.cli.verify import verify
from app.cli.watch import watch
from app.cli.worker import up, worker


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="meterstream", prog_name="meter")
def cli() -> None:
    """Meterstream turns a Kafka topic of product events into usage that can be invoiced."""


cli.add_command(dead_letters)
cli.add_command(events)
cli.add_command(explain)
cli.add_command(export_command)
cli.add_command(fold)
cli.add_command(settings)
cli.add_command(stack)
cli.add_command(up)
cli.add_command(usage)
cli.add_command(vectors)
cli.add_command(verify)
cli.add_command(watch)
cli.add_command(worker)
