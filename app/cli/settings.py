"""`meter settings`: every setting, what it is now and where it is set."""

from __future__ import annotations

import os
from typing import Any

import click
from rich.table import Table

from app.cli.failures import load_settings
from app.cli.output import Terminal, echo, print_json
from app.cli.settings_apply import apply_settings
from app.settings import SHAPES_BYTES, Settings, environment_names, shown, unknown_variables


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of a table.")
@click.pass_context
def settings(context: click.Context, as_json: bool) -> None:
    """Print every setting: its variable, its value now and what it does."""
    if context.invoked_subcommand is None:
        _print_settings(as_json)


settings.add_command(apply_settings)


def _print_settings(as_json: bool) -> None:
    current = load_settings()
    rows = [_row(current, field) for field in Settings.model_fields]
    if as_json:
        print_json({row["field"]: row for row in rows})
    else:
        _print_table(rows, current.profile)
    for name in unknown_variables(os.environ):
        echo(f"{name} is set, but no setting has that name.", err=True)


def _row(current: Settings, field: str) -> dict[str, Any]:
    names = environment_names(field)
    return {
        "field": field,
        "variable": names[0],
        "also": list(names[1:]),
        "value": shown(getattr(current, field)),
        "set_by": next((name for name in names if os.environ.get(name)), None),
        "shapes_bytes": field in SHAPES_BYTES,
        "description": Settings.model_fields[field].description,
    }


def _print_table(rows: list[dict[str, Any]], profile: str) -> None:
    title = f"Settings of the {profile} profile"
    if not os.environ.get("METER_PROFILE"):
        title += ", which `meter worker` has; `meter up` has METER_PROFILE=local"
    table = Table("Variable", "Now", "What it does", title=title, title_justify="left")
    for row in rows:
        names = "\n".join([row["variable"], *(f"or {name}" for name in row["also"])])
        note = " Shapes bytes: fills the first settings record only." if row["shapes_bytes"] else ""
        table.add_row(names, row["value"], row["description"] + note)
    Terminal().print(table)
