"""`python -m tests.conformance`: run a directory of vectors and print every difference."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from app.cli.failures import told_plainly
from app.cli.output import echo
from tests.conformance.api_server import ApiServer, check_api_file
from tests.conformance.comparison import Difference
from tests.conformance.directory import FileOutcome, Outcome, check_file, is_api_file, vector_files
from tests.conformance.files import VECTORS, InvalidVectors
from tests.conformance.live import check_live

_NAMED = 5
"""So many vectors are named for a reason; all of them with --json."""


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument(
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="DIR",
    default=VECTORS,
)
@click.option(
    "--live",
    is_flag=True,
    help="Run those that real servers can run on them as well, and tell why not the others.",
)
@click.option("--base-url", help="Run api.json against the worker at this URL.")
@click.option(
    "--api-key",
    "api_keys",
    multiple=True,
    help="Key of an empty organization, one for each vector of api.json; repeat it.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
def conformance(
    directory: Path, live: bool, base_url: str | None, api_keys: tuple[str, ...], as_json: bool
) -> None:
    """Run the conformance vectors of DIR, or of this repository, through the product's code.

    Prints how many pass, file by file, and every difference: vector, field, expected and got. Exits
    with 1 when anything differs. What was not run is named with its reason.

    For api.json a Kafka, a Redis and a worker are started, unless --base-url names one. With --live
    also for the vectors whose period a plan has: they are defined by REST, sent by Kafka or REST,
    and compared with usage and usage records.
    """
    server = None if base_url is None else ApiServer(base_url, api_keys)
    files = vector_files(directory)
    if not files:
        raise click.ClickException(f"{directory} holds no vectors (aggregation/*.json, *.json)")
    by_worker = [path for path in files if server is None and is_api_file(path)]
    checked = [_checked(path, server) for path in files if path not in by_worker]
    try:
        if live or by_worker:
            with told_plainly():
                checked += _checked_live(files if live else by_worker)
    finally:
        # Servers that do not start hide nothing of what was checked without them.
        if as_json:
            echo(json.dumps([_as_json(file) for file in checked], indent=2))
        else:
            _print(checked)
    if any(file.failed for file in checked):
        raise SystemExit(1)


def _checked(path: Path, server: ApiServer | None) -> FileOutcome:
    try:
        if is_api_file(path) and server is not None:
            return check_api_file(path, server)
        return check_file(path)
    except InvalidVectors as error:
        return _unreadable(path.name, error)


def _checked_live(files: Sequence[Path]) -> list[FileOutcome]:
    try:
        return check_live(files)
    except InvalidVectors as error:
        return [_unreadable("live", error)]


def _unreadable(name: str, error: InvalidVectors) -> FileOutcome:
    """One unreadable file must not hide what the others say."""
    difference = Difference("file", "a list of vectors", str(error))
    return FileOutcome(name, [Outcome(name, [difference])])


def _print(checked: Iterable[FileOutcome]) -> None:
    total = passed = skipped = 0
    for file in checked:
        total, passed = total + len(file.outcomes), passed + file.passed
        skipped += file.skipped
        note = f", {file.skipped} not run" if file.skipped else ""
        echo(f"{file.name}: {file.passed} of {len(file.outcomes)} pass{note}")
        for outcome in file.failed:
            _print_failure(outcome)
        for reason, ids in _reasons(file).items():
            echo(f"  {len(ids)} not run: {reason} ({_named(ids)})")
        for key, ids in _unread(file).items():
            echo(f"  {len(ids)} have {key}, which nothing here reads ({_named(ids)})")
    note = f", {skipped} not run" if skipped else ""
    echo(f"{passed} of {total} pass{note}")


def _print_failure(outcome: Outcome) -> None:
    for difference in outcome.differences:
        echo(
            f"  {outcome.vector_id}: {difference.field}: expected {difference.expected}, "
            f"got {difference.got}"
        )


def _reasons(file: FileOutcome) -> dict[str, list[str]]:
    """Why vectors were not run, and which."""
    reasons: dict[str, list[str]] = {}
    for outcome in file.outcomes:
        if outcome.skipped is not None:
            reasons.setdefault(outcome.skipped, []).append(outcome.vector_id)
    return reasons


def _unread(file: FileOutcome) -> dict[str, list[str]]:
    """Keys that no check reads, and which vectors have them."""
    keys: dict[str, list[str]] = {}
    for outcome in file.outcomes:
        for key in outcome.unread:
            keys.setdefault(key, []).append(outcome.vector_id)
    return keys


def _named(ids: Sequence[str]) -> str:
    return ", ".join(ids[:_NAMED]) + (", …" if len(ids) > _NAMED else "")


def _as_json(file: FileOutcome) -> dict[str, Any]:
    return {
        "file": file.name,
        "vectors": len(file.outcomes),
        "passed": file.passed,
        "failed": [
            {"id": outcome.vector_id, "differences": [d._asdict() for d in outcome.differences]}
            for outcome in file.failed
        ],
        "not_run": [{"reason": why, "vectors": ids} for why, ids in _reasons(file).items()],
        "unread": [{"key": key, "vectors": ids} for key, ids in _unread(file).items()],
    }


if __name__ == "__main__":
    conformance()
