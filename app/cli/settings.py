"""`meter settings`: every setting, what it is now and where it is set."""

from __future__ import annotations

import os
from typing import Any

import click

from app.cli.failures import load_settings
from app.cli.output import Terminal, echo, table_of
from app.cli.rows import Output, Rows, output_options
from app.cli.settings_apply import apply_settings
from app.settings import SHAPES_BYTES, Settings, environment_names, shown, unknown_variables


@click.group(invoke_without_command=True)
@output_options
@click.pass_context
def settings(context: click.Context, output: Output) -> None:
    """Print every setting: its variable, its value now and what it does."""
    if context.invoked_subcommand is None:
        _print_settings(output)


settings.add_command(apply_settings)


def _print_settings(output: Output) -> None:
    current = load_settings()
    rows = [_row(current, field) for field in Settings.model_fields]
    columns = ("variable", "value", "set_by", "shapes_bytes", "description")
    output.show(
        lambda: {row["field"]: row for row in rows},
        lambda: Rows(columns, ([str(row[name] or "") for name in columns] for row in rows)),
        lambda: _print_table(rows, current.profile),
    )
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
    shown_rows = []
    for row in rows:
        names = "\n".join([row["variable"], *(f"or {name}" for name in row["also"])])
        note = " Shapes bytes: fills the first settings record only." if row["shapes_bytes"] else ""
        shown_rows.append((names, row["value"], row["description"] + note))
    Terminal().print(table_of(("Variable", "Now", "What it does"), shown_rows, title=title))
