"""The `meter` command. Each command has a module of its own and is registered below."""

from __future__ import annotations

import click

from app.cli.fold import fold
from app.cli.settings import settings
from app.cli.stack import stack
from app.cli.vectors import vectors
from app.cli.worker import up, worker


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="meterstream", prog_name="meter")
def cli() -> None:
    """Meterstream turns a Kafka topic of product events into usage that can be invoiced."""


cli.add_command(fold)
cli.add_command(settings)
cli.add_command(stack)
cli.add_command(up)
cli.add_command(vectors)
cli.add_command(worker)
