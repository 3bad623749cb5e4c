"""`meter limits`: what one input may cost at most, and why so much."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from typing import NamedTuple

import click

from app.bounds import limits as module
from app.cli.output import echo
from app.cli.rows import Output, Rows, output_options
from app.wire.record_rows import cell_text


class Limit(NamedTuple):
    """One limit as the source has it."""

    name: str
    value: object
    reason: str


@click.command("limits")
@output_options
def limits(output: Output) -> None:
    """Print every limit of what one input may cost, each with its reason."""
    known = all_limits()
    output.show(
        lambda: {limit.name: {"value": limit.value, "reason": limit.reason} for limit in known},
        lambda: Rows(Limit._fields, map(_row, known)),
        lambda: _tell(known),
    )


def _row(limit: Limit) -> list[str]:
    return [limit.name, cell_text(limit.value), " ".join(limit.reason.split())]


def _tell(known: Iterable[Limit]) -> None:
    for limit in known:
        echo(f"{limit.name} = {limit.value!r}\n\n{_indented(limit.reason)}\n")


def all_limits() -> list[Limit]:
    """Return each constant of `app.bounds.limits` with the docstring after it, in its order."""
    body = ast.parse(inspect.getsource(module)).body
    found = []
    for statement, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            name = statement.target.id
            found.append(Limit(name, getattr(module, name), _docstring(after)))
    return found


def _docstring(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return inspect.cleandoc(str(statement.value.value))
    return ""


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else line for line in text.splitlines())
