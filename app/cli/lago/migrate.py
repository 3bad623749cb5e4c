"""`meter migrate`: Lago's definitions, written here."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec

from app.cli.api_keys import key_of_file
from app.cli.exits import DIFFERS
from app.cli.lago.client import Here, Lago, lago_key_option
from app.cli.lago.copying import KINDS, Copying
from app.cli.lago.taking import Ids, Taking
from app.cli.output import echo
from app.cli.remote import remote, remote_options
from app.cli.words import TEXT


def _kinds(_: click.Context, __: click.Parameter, texts: tuple[str, ...]) -> tuple[str, ...]:
    wanted = [kind for text in texts for kind in text.split(",") if kind]
    for kind in wanted:
        if kind not in KINDS:
            raise click.BadParameter(f"{kind!r} is none of {', '.join(KINDS)}")
    return tuple(kind for kind in KINDS if not wanted or kind in wanted)


@click.command()
@click.option(
    "--from-lago", "lago_url", type=TEXT, metavar="URL", required=True, help="Where Lago answers."
)
@lago_key_option
@click.option("--dry-run", is_flag=True, help="Print what would be written; write nothing.")
@click.option(
    "--only",
    type=TEXT,
    multiple=True,
    callback=_kinds,
    help=f"Only these, with commas between: {', '.join(KINDS)}.",
)
@click.option("--with-terminated", is_flag=True, help="Subscriptions that have ended, too.")
@click.option("--update", is_flag=True, help="Write also what is there and differs.")
@click.option(
    "--map",
    "map_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File that maps Lago's ids to ours; what it holds already stays.",
)
@remote_options
def migrate(
    lago_url: str,
    lago_key_file: str,
    dry_run: bool,
    only: tuple[str, ...],
    with_terminated: bool,
    update: bool,
    map_file: Path | None,
    url: str | None,
    key: str | None,
) -> None:
    """Copy metrics, customers, plans and subscriptions from Lago.

    Lago is only read. What is equal here already is not written, so a run that was interrupted is
    simply run again. What differs is shown field by field, and written with --update only.
    """
    ids: Ids = _ids_of(map_file)
    here = Here(remote(url, key))
    taking = Taking(here, ids, dry_run=dry_run, update=update)
    copying = Copying(Lago(lago_url, key_of_file(lago_key_file)), here, taking, with_terminated)
    try:
        for kind in only:
            echo(f"reading {kind}", err=True)
            KINDS[kind](copying)
        if only == tuple(KINDS):
            copying.others()
    finally:
        if map_file is not None and not dry_run:
            _write_ids(map_file, ids)
    echo(taking.summary())
    if taking.unsettled:
        raise SystemExit(DIFFERS)


def _ids_of(map_file: Path | None) -> Ids:
    if map_file is None or not map_file.exists():
        return {}
    try:
        return msgspec.json.decode(map_file.read_bytes(), type=Ids)
    except msgspec.MsgspecError as error:
        raise click.BadParameter(f"{map_file} holds no map of ids: {error}") from error


def _write_ids(map_file: Path, ids: Ids) -> None:
    text = msgspec.json.format(msgspec.json.encode(ids, order="sorted"), indent=1)
    beside = map_file.with_name(f"{map_file.name}.new")
    beside.write_bytes(text + b"\n")
    os.replace(beside, map_file)
