"""Files of JSON that a command is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec


def read_json(file: str, hint: str) -> Any:
    """Return what a file holds, or standard input for `-`; `hint` names the parameter.

    Raises:
        BadParameter: it is no JSON, whatever its bytes are.
    """
    content = click.get_binary_stream("stdin").read() if file == "-" else Path(file).read_bytes()
    try:
        return msgspec.json.decode(content)
    except (ValueError, RecursionError) as error:
        raise click.BadParameter(f"{file} is no JSON: {error}", param_hint=hint) from error
