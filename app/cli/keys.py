"""`meter keys`: keys for the API, of which a worker's file holds digests only."""

from __future__ import annotations

import click

from app.api.http.keys import EVERY_ORGANIZATION, KeyAccess, new_key
from app.cli.failures import told_plainly
from app.cli.output import echo
from app.cli.words import TEXT


@click.group()
def keys() -> None:
    """Make keys for the API."""


@keys.command()
@click.option(
    "--name", type=TEXT, required=True, help="Says in the log of definitions who changed them."
)
@click.option(
    "--organization",
    type=TEXT,
    required=True,
    help="The organization's id; * for an operator of all.",
)
@click.option(
    "--access",
    type=click.Choice(["read", "write", "operator"]),
    help="What it may do. Default: write; of all organizations: operator.",
)
def new(name: str, organization: str, access: KeyAccess | None) -> None:
    """Print a random key, once, and the entry for the file that METER_API_KEYS_FILE names.

    The key goes to standard error and the entry to standard output, so that `meter keys new … >>
    keys.toml` adds it.
    """
    wanted = access or ("operator" if organization == EVERY_ORGANIZATION else "write")
    with told_plainly():
        try:
            secret, entry = new_key(name, organization, wanted)
        except ValueError as error:
            raise click.BadParameter(_first_of(error)) from error
    echo(f"Key (kept nowhere, so note it now): {secret}", err=True)
    echo(entry, nl=False)


def _first_of(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    return str(errors()[0]["msg"]) if errors is not None else str(error)
