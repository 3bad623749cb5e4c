"""Words of a command line: names that say something."""

from __future__ import annotations

from typing import Final

import click


class _Text(click.ParamType):
    """A name or another text; an empty one would stand for all, or for a list."""

    name = "text"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return the text as it is."""
        text = str(value)
        if not text:
            self.fail("It is empty: name what is meant, or leave it out.", param, ctx)
        try:
            text.encode()
        except UnicodeEncodeError:
            self.fail(f"{text!r} is no UTF-8.", param, ctx)
        return text


TEXT: Final = _Text()
"""Every text that a command takes, but for files."""
