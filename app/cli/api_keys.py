"""API keys as commands are given them: what no request can carry is told, and never repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click


class _Key(click.ParamType):
    """A key on the command line, or in its variable."""

    name = "text"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the key."""
        return checked_key(str(value), "It")


KEY: Final = _Key()


def checked_key(key: str, place: str) -> str:
    """Return the key if a header can carry it.

    Raises:
        BadParameter: it cannot, and `place` names where it stands.
    """
    if not key:
        raise click.BadParameter(f"{place} holds no API key: it is empty.")
    if not (key.isascii() and key.isprintable()):
        raise click.BadParameter(
            f"{place} holds no API key: that is one line of letters, digits and signs of ASCII."
        )
    return key


def key_of_file(path: str | Path) -> str:
    """Return the key that a file holds; - is standard input. Raises `BadParameter`."""
    try:
        with click.open_file(str(path), "rb") as file:
            content: bytes = file.read()
    except OSError as error:
        raise click.BadParameter(f"The key file cannot be read: {error}") from error
    # What is no ASCII is refused, in whatever way it is read.
    place = "Standard input" if str(path) == "-" else str(path)
    return checked_key(content.decode("latin-1").strip(), place)
