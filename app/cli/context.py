"""`meter context`: names for workers that are asked often."""

from __future__ import annotations

import click

from app.cli.contexts import Context, Contexts, config_file, read_contexts, write_contexts
from app.cli.output import echo
from app.cli.remote import require_http_url
from app.cli.rows import Output, Rows, output_options
from app.cli.words import TEXT


@click.group()
def context() -> None:
    """List workers by name, choose one, or name one more.

    They stand in ~/.config/meterstream/config.toml, which holds no key: only where it is.
    """


@context.command("list")
@output_options
def list_contexts(output: Output) -> None:
    """Print all contexts; the one in use is marked."""
    found = read_contexts()
    rows = [
        ("*" if name == found.chosen else "", name, one.url, one.key_file or "")
        for name, one in sorted(found.known.items())
    ]
    columns = ("in_use", "name", "url", "key_file")
    output.show(
        lambda: [
            {"in_use": bool(row[0]), "name": row[1], "url": row[2], "key_file": row[3] or None}
            for row in rows
        ],
        lambda: Rows(columns, rows),
    )


@context.command()
@click.argument("name", type=TEXT, required=False)
def use(name: str | None) -> None:
    """Ask NAME from now on; without a name, this machine's worker again."""
    found = read_contexts()
    if name is not None:
        found.named(name)
    write_contexts(Contexts(name, found.known))
    echo("This machine's worker is asked." if name is None else f"{name} is asked.")


@context.command()
@click.argument("name", type=TEXT)
@click.option("--url", type=TEXT, required=True, help="Any worker.")
@click.option(
    "--key-file",
    type=click.Path(dir_okay=False),
    help="File that holds the API key; it is not copied.",
)
def add(name: str, url: str, key_file: str | None) -> None:
    """Name a worker, or change what a name means."""
    require_http_url(url)
    found = read_contexts()
    write_contexts(Contexts(found.chosen, {**found.known, name: Context(url, key_file)}))
    echo(f"{name} is in {config_file()}. `meter context use {name}` asks it from now on.")
