"""The commands that pages of the documentation show."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from app.cli.main import cli

DOCS = Path(__file__).parents[2] / "docs"
WHOLE_LINES = re.MULTILINE | re.DOTALL


def parse(words: list[str]) -> None:
    """Parse as click would, without running; an unknown command or option raises."""
    command: click.Command = cli
    while isinstance(command, click.Group) and words:
        name = words.pop(0)
        found = command.get_command(click.Context(command), name)
        assert found is not None, name
        command = found
    with command.make_context("meter", words):
        pass


def commands(text: str) -> list[tuple[dict[str, str], list[str]]]:
    """Return the commands of a page in their order, each with the settings before it."""
    found = []
    for block in re.findall(r"^ *```bash\n(.*?)^ *```$", text, WHOLE_LINES):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            setting, meter, words = line.partition(".venv/bin/meter ")
            if meter:
                named = [pair.partition("=") for pair in setting.split()]
                found.append(({name: value for name, _, value in named}, shlex.split(words)))
    return found
