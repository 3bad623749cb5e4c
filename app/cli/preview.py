"""`meter preview`: what a change of metrics or plans would make of usage, from the raw topic."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any

import click
import msgspec

from app.cli.every_worker import EveryWorker
from app.cli.json_files import read_json
from app.cli.output import echo, print_json
from app.cli.remote import Json, Remote, remote, remote_options, segment
from app.cli.rows import Output, Rows
from app.cli.words import TIME
from app.meter.evidence import FigureTexts, PreviewedCell, PreviewReport

_ROOTS = {"billable_metric": "billable_metrics", "plan": "plans"}


@dataclass
class Previewed:
    """What all workers said."""

    pairs: int = 0
    cells: list[PreviewedCell] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)

    def note(self, line: bytes) -> bool:
        """Take in one line; whether it is the worker's last."""
        report = msgspec.json.decode(line, type=PreviewReport)
        self.cells += report.cells
        self.skipped += report.skipped
        if report.done:
            self.pairs += report.pairs
        return report.done


@click.command()
@click.argument("changes", type=click.Path(exists=True, dir_okay=False, allow_dash=True))
@click.option("--from", "from_", type=TIME, help="ISO 8601: published periods from here on.")
@click.option("--to", type=TIME, help="ISO 8601: published periods that start before it.")
@click.option("--apply", "applies", is_flag=True, help="Make the change afterwards.")
@click.option("--history", is_flag=True, help="With --apply: revise published periods as well.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before --apply.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object; asks nothing, needs --yes.")
@remote_options
def preview(
    changes: str,
    from_: str | None,
    to: str | None,
    applies: bool,
    history: bool,
    yes: bool,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Show what CHANGES would make of running and published periods; nothing is changed.

    CHANGES is a JSON file (- for standard input): {"billable_metric": {...}} or {"plan": {...}} as
    the API takes them, or a list of such. One whose code exists is updated, another is created.

    With --apply they are made, and periods not published yet follow. What is published stays,
    unless --history lets it fold under the new definitions: revisions come at the next cut.
    """
    if history and not applies:
        raise click.UsageError("--history goes with --apply")
    if applies and as_json and not yes:
        raise click.UsageError("--apply with --json needs --yes")
    wanted, worker = _changes(changes), remote(url, key)
    within = {name: text for name, text in (("from", from_), ("to", to)) if text is not None}
    outcome = previewed(worker, wanted, within)
    if not as_json:
        print_preview(outcome)
    answer: Json | None = None
    applied = applies and (yes or _confirmed(history))
    if applied:
        answer = _apply(worker, wanted, within, history=history)
    if as_json:
        print_json(_as_json(outcome, applied=applied, history=answer))
    elif applied:
        echo("Applied." if answer is None else "Applied; revisions come at the next cut.")


def _changes(file: str) -> list[Json]:
    given = read_json(file, "CHANGES")
    changes = given if isinstance(given, list) else [given]
    if not changes or not all(map(_is_change, changes)):
        raise click.BadParameter(
            'needs {"billable_metric": {...}} or {"plan": {...}}', param_hint="CHANGES"
        )
    return changes


def _is_change(value: object) -> bool:
    if not isinstance(value, dict) or len(value) != 1 or not value.keys() <= _ROOTS.keys():
        return False
    return all(isinstance(body, dict) for body in value.values())


def previewed(worker: Remote, changes: list[Json], within: Mapping[str, str]) -> Previewed:
    """Return what changes of metrics and plans would make, as all workers say it.

    `within`: published periods that start `from` and before `to`; else from the first, until now.
    """
    outcome = Previewed()
    body = {"changes": changes, **within}
    workers = EveryWorker("/api/v1/preview", body, outcome.note, "Folding anew")
    asyncio.run(workers.ask([worker]))
    outcome.cells.sort(key=_order)
    return outcome


def _order(cell: PreviewedCell) -> tuple[Any, ...]:
    names = (cell.external_customer_id, cell.external_subscription_id, cell.period_from)
    return (*names, cell.metric_code, cell.charge_code, _cell(cell))


def _confirmed(history: bool) -> bool:
    more = " and revise what is published" if history else ""
    return click.confirm(f"Make this change{more}?")


def _apply(
    worker: Remote, changes: list[Json], within: Mapping[str, str], *, history: bool
) -> Json | None:
    """Make the changes; with `history` also append the record, whose answer is given back."""
    codes: list[str] = []
    charge_ids: list[str] = []
    for change in changes:
        ((root, body),) = change.items()
        before, after = _made(worker, root, body)
        if root == "billable_metric":
            codes.append(after["code"])
        else:
            charge_ids += _changed_charges(before, after)
    if not history or not (codes or charge_ids):
        return None
    record = {"billable_metric_codes": codes, "charge_ids": charge_ids, **within}
    answer: Json = worker.post("/api/v1/history", {"history": record})["history"]
    return answer


def _made(worker: Remote, root: str, body: Json) -> tuple[Json | None, Json]:
    """Make the change; return the object before it, if there was one, and after it."""
    path = f"/api/v1/{_ROOTS[root]}"
    own_path = f"{path}/{segment(str(body.get('code', '')))}"
    found = worker.found(own_path)
    if found is None:
        return None, worker.post(path, {root: body})[root]
    return found[root], worker.put(own_path, {root: body})[root]


def _changed_charges(before: Json | None, after: Json) -> list[str]:
    """Return ids of charges that are in one of the two only, or not alike in both."""
    old, new = (
        {c["lago_id"]: c for c in (plan or {}).get("charges", ())} for plan in (before, after)
    )
    return [i for i in {**old, **new} if old.get(i) != new.get(i)]


def _as_json(outcome: Previewed, *, applied: bool, history: Json | None) -> Json:
    return {
        "cells": [_cell_json(cell) for cell in outcome.cells],
        "pairs_folded": outcome.pairs,
        "skipped": [
            {"external_subscription_id": external_id, "billable_metric_code": code}
            for external_id, code in outcome.skipped
        ],
        "applied": applied,
        "history": history,
    }


def _cell_json(cell: PreviewedCell) -> Json:
    shown: Json = msgspec.to_builtins(cell)
    return {**shown, "grouped_by": dict(cell.grouped_by) or None, "delta_units": _delta(cell)}


_COLUMNS = ("customer", "subscription", "period", "metric", "cell", "now", "then", "difference")


def print_preview(outcome: Previewed) -> None:
    """Print which cells would differ, and how many they are: in a pipe on standard error."""
    piped = not sys.stdout.isatty()
    if outcome.cells:
        Output("tsv" if piped else "table").print_rows(Rows(_COLUMNS, map(_row, outcome.cells)))
    for external_id, code in outcome.skipped:
        echo(f"{external_id} {code}: is being refolded, ask again", err=piped)
    echo(
        f"{outcome.pairs} metrics of subscriptions: {len(outcome.cells)} cells would differ, of "
        f"{_count(c.external_subscription_id for c in outcome.cells)} subscriptions and "
        f"{_count(c.external_customer_id for c in outcome.cells)} customers; "
        f"{sum(cell.published for cell in outcome.cells)} of them are published",
        err=piped,
    )


def _row(cell: PreviewedCell) -> tuple[str, ...]:
    period = f"{cell.period_from[:10]} {'published' if cell.published else 'open'}"
    names = (cell.external_customer_id, cell.external_subscription_id, period, cell.metric_code)
    return (*names, _cell(cell), _units(cell.before), _units(cell.after), _delta(cell))


def _count(names: Iterable[str]) -> int:
    return len(set(names))


def _cell(cell: PreviewedCell) -> str:
    parts = [f"{key}: {', '.join(values)}" for key, values in (cell.filters or {}).items()]
    parts += [f"{key} = {value}" for key, value in cell.grouped_by]
    return "; ".join(parts)


def _units(figures: FigureTexts | None) -> str:
    return "-" if figures is None else figures.prorated_units or figures.units


def _delta(cell: PreviewedCell) -> str:
    before, after = (
        Decimal(0) if figures is None else Decimal(_units(figures))
        for figures in (cell.before, cell.after)
    )
    return f"{_EXACT.subtract(after, before):+f}"


_EXACT = Context(prec=200)
