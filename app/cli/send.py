"""`meter send`: events of a file, and what became of each."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Final

import click
import msgspec

from app.cli.ending import named_in_failures
from app.cli.event_rows import Row, as_sent, mapping, named, read_rows
from app.cli.exits import not_installed
from app.cli.outcomes import (
    COUNTED,
    WELL,
    SentOutcome,
    batches,
    exit_code,
    outcome_of,
    told,
    verdicts,
)
from app.cli.output import echo, print_json
from app.cli.remote import Json, Remote, RequestRefused, remote, remote_options, told_fields
from app.cli.words import TEXT, WAIT_S

_AGAIN_S: Final = 0.3
_TAKEN: Final = "value_already_exist"
_BUSY: Final = (429, 503)
_TRIES: Final = 8
_WAITING: Final = "waiting"


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--map",
    "columns",
    type=TEXT,
    multiple=True,
    callback=mapping,
    help="FIELD=COLUMN,…: for example timestamp=ts,properties.gb=size.",
)
@click.option(
    "--wait",
    "wait_s",
    type=WAIT_S,
    default=10.0,
    show_default=True,
    help="Seconds for events to be folded.",
)
@click.option(
    "--report", type=click.File("wb"), help="Write what does not count there, as JSON lines."
)
@click.option(
    "--kafka",
    "to_kafka",
    is_flag=True,
    help="Append to the raw topic itself (METER_KAFKA_BOOTSTRAP_SERVERS); the worker is asked what "
    "became of them.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object with the counts.")
@remote_options
def send(
    file: IO[bytes],
    columns: dict[str, str],
    wait_s: float,
    report: IO[bytes] | None,
    to_kafka: bool,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Send the events of FILE: JSON lines, .csv or .parquet; - is standard input.

    A line has Lago's fields or is a CloudEvent; columns are named as the fields, `properties.NAME`
    for properties, or by --map. To send a file twice is harmless. Exit status: 1 when an event does
    not count, 3 when that is not known yet.
    """
    worker, sent = remote(url, key), 0
    counts: Counter[tuple[str, str]] = Counter()
    with _posting(worker, to_kafka=to_kafka) as post:
        for batch in batches(read_rows(file, file.name, columns)):
            sent += len(batch)
            for outcome in _sent(worker, post, batch, wait_s):
                counts[outcome.outcome, outcome.reason] += 1
                if report is not None and outcome.outcome not in WELL:
                    with named_in_failures(report):
                        report.write(msgspec.json.encode(outcome._asdict()) + b"\n")
    if as_json:
        print_json({"sent": sent, "outcomes": _nested(counts)})
    else:
        echo(f"{sent:,} sent: {told(counts)}")
        if report is None and any(outcome not in WELL for outcome, _ in counts):
            echo("--report FILE tells which ones; to send a file twice is harmless.", err=True)
    sys.exit(exit_code((outcome for outcome, _ in counts), _WAITING))


Post = Callable[[list[Row]], Json]
"""Appends what is valid; returns what is wrong with the others, by index."""


@contextmanager
def _posting(worker: Remote, *, to_kafka: bool) -> Iterator[Post]:
    if not to_kafka:
        yield lambda events: _post(worker, events)
        return
    try:
        from app.cli.send_kafka import direct
    except ModuleNotFoundError as error:
        raise click.UsageError(
            f"--kafka needs {not_installed(str(error.name), 'worker')}"
        ) from error
    organization_id = str(worker.get("/api/v1/organizations")["organization"]["lago_id"])
    with direct(organization_id) as append:

        def post(events: list[Row]) -> Json:
            # What is malformed becomes a dead letter.
            append(events)
            return {}

        yield post


def _nested(counts: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (outcome, reason), count in sorted(counts.items()):
        found.setdefault(outcome, {})[reason] = count
    return found


def _sent(
    worker: Remote, post: Post, batch: list[tuple[int, Row]], wait_s: float
) -> list[SentOutcome]:
    """Send a batch and return the outcome of each line, in order."""
    for number, row in batch:
        named(number, row)
    details = post([as_sent(row) for _, row in batch])
    found: dict[int, SentOutcome] = {}
    again: list[tuple[int, Row]] = []
    duplicates: set[int] = set()
    for index, (number, row) in enumerate(batch):
        problem = details.get(str(index))
        if problem is None or _TAKEN in str(problem):
            again.append((number, row))
            duplicates |= {number} if problem is not None else set()
        else:
            found[number] = refusal_of(number, row, problem)
    for outcome in _judged(worker, again, wait_s):
        if outcome.line in duplicates and outcome.outcome == COUNTED:
            outcome = outcome._replace(outcome="duplicate", reason="")
        found[outcome.line] = outcome
    return [found[number] for number, _ in batch]


def refusal_of(number: int, row: Row, problem: object) -> SentOutcome:
    """Return the outcome of a refused row. `problem`: codes by field, or a text."""
    reason = told_fields(problem) if isinstance(problem, dict) else str(problem)
    subscription, transaction_id = named(number, row)
    code = str(row.get("code") or "")
    return SentOutcome(number, subscription, transaction_id, code, "", "refused", reason, "")


def _post(worker: Remote, events: list[Row]) -> Json:
    """Append what is valid; return what is wrong with the others, by index.

    Raises:
        RequestRefused: the worker refuses the whole of it, for another reason than its events.
    """
    for attempt in range(_TRIES):
        try:
            answer = worker.post("/api/v1/events/batch?partial=true", {"events": events})
        except RequestRefused as refused:
            if refused.status in _BUSY and attempt + 1 < _TRIES:
                time.sleep(_AGAIN_S * 2**attempt)
                continue
            details = refused.details()
            if refused.status == 422 and details.keys() <= {str(i) for i in range(len(events))}:
                return details
            raise
        return answer.get("error_details") or {}
    raise AssertionError("the last attempt returns or raises")


def _judged(worker: Remote, rows: list[tuple[int, Row]], wait_s: float) -> list[SentOutcome]:
    """Return what became of events that are in the log; they may have to be waited for."""
    judged: dict[int, SentOutcome] = {}
    until_s = time.monotonic() + wait_s
    while rows:
        found = verdicts(worker, rows, compare=True)
        waiting = []
        for (number, row), verdict in zip(rows, found, strict=True):
            outcome = outcome_of(number, row, verdict)
            if outcome.outcome == "missing":
                waiting.append((number, row))
                outcome = outcome._replace(outcome=_WAITING, reason="not_folded_yet")
            judged[number] = outcome
        rows = waiting
        if rows and time.monotonic() >= until_s:
            break
        if rows:
            time.sleep(_AGAIN_S)
    return [judged[number] for number in sorted(judged)]
