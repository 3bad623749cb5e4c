"""Exit codes of commands, and failures that have one of their own."""

from __future__ import annotations

from typing import Final

import click

DIFFERS: Final = 1
"""Something differs, was refused or is missing."""
WRONG_USAGE: Final = 2
"""What is asked for, or a setting, is none."""
NO_VERDICT: Final = 3
"""It could not be found out. Nobody answers, or there is no verdict."""
NOT_THERE: Final = 4
"""Nothing has that name."""


class WrongUsage(click.ClickException):
    """What was given is of no use: a setting, a file, or an extra that is not installed."""

    exit_code = WRONG_USAGE


class NoVerdict(click.ClickException):
    """What was asked could not be found out."""

    exit_code = NO_VERDICT


class NotThere(click.ClickException):
    """Nothing has the name."""

    exit_code = NOT_THERE


def not_installed(missing: str, extra: str) -> str:
    """Return what is told of a package, and of the extra that brings it."""
    return f"{missing}, which is not installed: pip install 'meterstream[{extra}]'"
