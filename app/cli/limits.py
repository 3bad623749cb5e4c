"""`meter limits`: what one input may cost at most, and why so much."""

from __future__ import annotations

import ast
import inspect
from typing import NamedTuple

import click

from app.bounds import limits as module
from app.cli.output import echo, print_json


class Limit(NamedTuple):
    """One limit as the source has it."""

    name: str
    value: object
    reason: str


@click.command("limits")
@click.option("--json", "as_json", is_flag=True, help="One JSON object by name.")
def limits(as_json: bool) -> None:
    """Print every limit of what one input may cost, each with its reason."""
    known = all_limits()
    if as_json:
        told = {limit.name: {"value": limit.value, "reason": limit.reason} for limit in known}
        print_json(told)
        return
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
