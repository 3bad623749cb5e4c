"""How far a command has come with records of files, told to whoever looks on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import click

_SHOWN_FROM: Final = 10_000
"""Records from which on a progress bar is worth its line."""
_DRAWN_AT_MOST: Final = 1_000


@contextmanager
def progress(records: int, doing: str) -> Iterator[Callable[[int], None]]:
    """Draw a bar on a terminal; what it gives takes how many records more are done."""
    if records < _SHOWN_FROM or not sys.stderr.isatty():
        yield lambda done: None
        return
    steps = records // _DRAWN_AT_MOST
    with click.progressbar(
        length=records, label=doing, file=sys.stderr, update_min_steps=steps
    ) as bar:
        yield bar.update
