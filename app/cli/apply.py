"""`meter apply`: definitions kept as files, created or updated, with what they would make."""

from __future__ import annotations

import sys
from typing import Any, Final, NamedTuple

import click

from app.cli.json_files import read_json
from app.cli.output import echo
from app.cli.preview import previewed, print_preview
from app.cli.remote import Json, Remote, remote, remote_options, segment
from app.cli.rows import Output, Rows, output_options


class _Root(NamedTuple):
    """Objects of one kind: where they are, and the field that names one."""

    path: str
    name: str
    is_previewed: bool = False


_ROOTS: Final = {
    "billable_metric": _Root("/api/v1/billable_metrics", "code", is_previewed=True),
    "plan": _Root("/api/v1/plans", "code", is_previewed=True),
    "customer": _Root("/api/v1/customers", "external_id"),
    "subscription": _Root("/api/v1/subscriptions", "external_id"),
}
"""In the order in which they are made: each names only what stands before it."""


class _Step(NamedTuple):
    """One object of the file, and what is done about it."""

    root: str
    name: str
    action: str
    """create, update or unchanged."""
    body: Json


@click.command()
@click.option(
    "-f",
    "--file",
    "files",
    required=True,
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help="JSON; - is standard input. Repeat it for several.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before.")
@output_options
@remote_options
def apply(
    files: tuple[str, ...],
    dry_run: bool,
    yes: bool,
    output: Output,
    url: str | None,
    key: str | None,
) -> None:
    """Create or update what FILE defines, and leave alone what is so already.

    A file holds objects as the API takes them, {"plan": {...}}, or a list of such: of
    billable_metric, plan, customer and subscription. Charges are known by their codes. What changed
    metrics and plans make of usage is shown first. Nothing is deleted.
    """
    worker = remote(url, key)
    steps = [_step(worker, *one) for one in _read(files)]
    steps.sort(key=lambda step: list(_ROOTS).index(step.root))
    done = [step for step in steps if step.action != "unchanged"]
    changes = [{step.root: step.body} for step in done if _ROOTS[step.root].is_previewed]
    if changes and output.form == "table":
        print_preview(previewed(worker, changes, {}))
    columns = ("kind", "name", "action")
    output.show(
        lambda: [dict(zip(columns, step, strict=False)) for step in steps],
        lambda: Rows(columns, (step[:3] for step in steps)),
    )
    if dry_run or not done:
        return
    if not yes:
        if not sys.stdin.isatty() and "-" in files:
            raise click.UsageError("Standard input holds the file: give --yes.")
        click.confirm(f"Do this to {len(done)} objects?", abort=True, err=True)
    for step in done:
        _do(worker, step)
    echo(f"{len(done)} of {len(steps)} objects were created or updated.", err=True)


def _read(files: tuple[str, ...]) -> list[tuple[str, Json]]:
    found = []
    for file in files:
        given = read_json(file, "--file")
        for one in given if isinstance(given, list) else [given]:
            if not isinstance(one, dict) or len(one) != 1 or not one.keys() <= _ROOTS.keys():
                told = ", ".join(_ROOTS)
                raise click.BadParameter(
                    f"{file}: each object has one field of {told}", param_hint="--file"
                )
            ((root, body),) = one.items()
            if not isinstance(body, dict) or not isinstance(body.get(_ROOTS[root].name), str):
                raise click.BadParameter(
                    f"{file}: a {root} needs `{_ROOTS[root].name}`", param_hint="--file"
                )
            found.append((root, body))
    return found


def _step(worker: Remote, root: str, body: Json) -> _Step:
    name = body[_ROOTS[root].name]
    found = worker.found(f"{_ROOTS[root].path}/{segment(name)}")
    if found is None:
        return _Step(root, name, "create", body)
    before = found[root]
    body = _with_ids(body, before)
    return _Step(root, name, "unchanged" if _holds(before, body) else "update", body)


def _with_ids(body: Json, before: Json) -> Json:
    """Return a plan whose charges name those of the same code: else they would be other charges."""
    charges = body.get("charges")
    if not isinstance(charges, list):
        return body
    ids = {charge["code"]: charge["lago_id"] for charge in before.get("charges", ())}

    def known(charge: Json) -> Json:
        code = charge.get("code") or charge.get("billable_metric_code")
        return {"id": ids[code], **charge} if code in ids and "id" not in charge else charge

    return {**body, "charges": [known(charge) for charge in charges]}


_ELSEWHERE: Final = {"id": "lago_id", "billable_metric_id": "lago_billable_metric_id"}
"""Fields that an answer calls otherwise."""


def _holds(before: Any, wanted: Any) -> bool:
    """Return True if an object is already as it is wanted; it may have more fields."""
    if isinstance(wanted, dict):
        return isinstance(before, dict) and all(
            _holds(before.get(_ELSEWHERE.get(name, name), before.get(name)), value)
            for name, value in wanted.items()
        )
    if isinstance(wanted, list):
        same_length = isinstance(before, list) and len(before) == len(wanted)
        return same_length and all(map(_holds, before, wanted))
    return bool(before == wanted) or (before is not None and str(before) == str(wanted))


def _do(worker: Remote, step: _Step) -> None:
    root = _ROOTS[step.root]
    # A customer that is posted again is updated, as in Lago.
    if step.action == "create" or step.root == "customer":
        worker.post(root.path, {step.root: step.body})
    else:
        worker.put(f"{root.path}/{segment(step.name)}", {step.root: step.body})
