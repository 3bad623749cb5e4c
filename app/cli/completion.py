"""`meter completion`: what a shell reads to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from app.cli.output import echo

_SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script for SHELL. In bash: eval "$(meter completion bash)"."""
    found = get_completion_class(shell)
    root = context.find_root().command
    if found is None:
        raise click.ClickException(f"click completes nothing in {shell}")
    echo(found(root, {}, "meter", "_METER_COMPLETE").source())
