"""What a person did or has is told in one line; a defect of ours keeps its traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from pydantic import ValidationError

from app.cli.exits import DIFFERS, NO_VERDICT, WrongUsage
from app.errors import SettingRefused, StackError, TopicRefused
from app.settings import Settings, environment_names


@contextmanager
def told_plainly() -> Iterator[None]:
    """Turn failures that are no defects into click's `Error: …`.

    The exit code is 1, or 2 where a setting has a wrong value.
    """
    try:
        yield
    except SettingRefused as error:
        raise WrongUsage(str(error)) from error
    except (StackError, TopicRefused) as error:
        raise click.ClickException(str(error)) from error
    except ValidationError as error:
        raise WrongUsage(_wrong_settings(error)) from error


@contextmanager
def no_verdict() -> Iterator[None]:
    """Give failures the exit code `NO_VERDICT`: 1 says here that something differs."""
    try:
        yield
    except click.ClickException as error:
        # Wrong usage and unknown names have codes of their own.
        if error.exit_code == DIFFERS:
            error.exit_code = NO_VERDICT
        raise


def load_settings(**values: Any) -> Settings:
    """Return the environment's settings; `values` of the command line come before it.

    Raises:
        WrongUsage: a variable holds something else than it should.
    """
    with told_plainly():
        return Settings(**values)


def _wrong_settings(error: ValidationError) -> str:
    lines = []
    for detail in error.errors(include_url=False, include_input=False):
        if detail["type"] == "default_factory_not_called":
            # A default that rests on a wrong value: that one is told.
            continue
        field = str(detail["loc"][0]) if detail["loc"] else ""
        name = environment_names(field)[0] if field in Settings.model_fields else field
        message = detail["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {message}" if name else message)
    return "\n".join(lines)
