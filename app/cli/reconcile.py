"""`meter reconcile`: a producer's own list of events against what counted."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import IO

import click

from app.cli.event_rows import mapping, read_rows
from app.cli.exits import DIFFERS, NO_VERDICT
from app.cli.listed_events import listed_events
from app.cli.outcomes import COUNTED, SentOutcome, batches, outcome_of, told, verdicts
from app.cli.output import Terminal, echo, table_of
from app.cli.remote import Json, Remote, remote, remote_options
from app.cli.rows import Output, Rows, output_options
from app.cli.words import TEXT


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option(
    "--map",
    "columns",
    type=TEXT,
    multiple=True,
    callback=mapping,
    help="FIELD=COLUMN,…: as `meter send`.",
)
@click.option("--extra", is_flag=True, help="Also list what the worker has and FILE has not.")
@output_options
@remote_options
def reconcile(
    file: IO[bytes],
    columns: dict[str, str],
    extra: bool,
    output: Output,
    url: str | None,
    key: str | None,
) -> None:
    """Compare FILE, a list of what was sent, with what counted.

    A line (JSON lines, .csv or .parquet) names transaction_id and external_subscription_id; code,
    timestamp, properties and value are compared where they are given. Rows (-o tsv, csv) are those
    that did not count. Exit status: 1 unless every
    event of FILE counted, and with --extra no other is there; 3 when FILE names no event.
    """
    worker, found = remote(url, key), _Reconciled()
    for batch in batches(read_rows(file, file.name, columns)):
        answers = verdicts(worker, batch, compare=True)
        for (number, row), verdict in zip(batch, answers, strict=True):
            found.add(outcome_of(number, row, verdict), keeps_ids=extra)
    if extra:
        found.differing += _others(worker, found.ids)
    output.show(
        found.as_json,
        lambda: Rows.of(SentOutcome._fields, (one._asdict() for one in found.differing)),
        lambda: _print(found),
    )
    if output.form not in ("table", "json"):
        echo(_summary(found), err=True)
    if not found.listed:
        echo("FILE names no event: nothing was compared.", err=True)
        sys.exit(NO_VERDICT)
    sys.exit(DIFFERS if found.differing else 0)


class _Reconciled:
    """What a list came to; only what differs is kept line by line."""

    def __init__(self) -> None:
        self.listed = 0
        self.counts: Counter[tuple[str, str]] = Counter()
        """By outcome and reason."""
        self.days: dict[tuple[str, str], Counter[str]] = {}
        """By day and code, events by outcome."""
        self.differing: list[SentOutcome] = []
        self.ids: defaultdict[str, set[str]] = defaultdict(set)
        """transaction_ids by subscription, where somebody asks what the list lacks."""

    def add(self, outcome: SentOutcome, *, keeps_ids: bool) -> None:
        self.listed += 1
        self.counts[outcome.outcome, outcome.reason] += 1
        self.days.setdefault((outcome.day, outcome.code), Counter())[outcome.outcome] += 1
        if keeps_ids:
            self.ids[outcome.subscription].add(outcome.transaction_id)
        if outcome.outcome != COUNTED:
            self.differing.append(outcome)

    def as_json(self) -> Json:
        return {
            "listed": self.listed,
            "counted": self.counts[COUNTED, ""],
            "by_day_and_code": [
                {"day": day, "code": code, **dict(sorted(counts.items()))}
                for (day, code), counts in sorted(self.days.items())
            ],
            "differing": [outcome._asdict() for outcome in self.differing],
        }


def _others(worker: Remote, listed: dict[str, set[str]]) -> Iterator[SentOutcome]:
    """Yield events of the listed subscriptions that the list lacks."""
    for subscription in sorted(listed):
        for event in listed_events(worker, {"external_subscription_id": subscription}):
            transaction_id = event["transaction_id"]
            if transaction_id not in listed[subscription]:
                day, code = event["timestamp"][:10], event["code"]
                yield SentOutcome(0, subscription, transaction_id, code, day, "extra", "", "")


def _print(found: _Reconciled) -> None:
    names = ("Line", "Subscription", "Transaction", "Code", "Outcome", "Reason", "Position")
    if found.differing:
        Terminal().print(table_of(names, map(_cells, found.differing)))
    if found.listed:
        days = (
            (
                day or "not there",
                code,
                ", ".join(f"{n} {_words(name)}" for name, n in counts.items()),
            )
            for (day, code), counts in sorted(found.days.items())
        )
        Terminal().print(table_of(("Day", "Code", "Events"), days))
    echo(_summary(found))


def _cells(one: SentOutcome) -> tuple[str, ...]:
    names = (str(one.line or ""), one.subscription, one.transaction_id, one.code)
    return (*names, _words(one.outcome), one.reason, one.place)


def _words(outcome: str) -> str:
    return outcome.replace("_", " ")


def _summary(found: _Reconciled) -> str:
    extra = sum(one.outcome == "extra" for one in found.differing)
    others = f"; {extra:,} not listed" if extra else ""
    return f"{found.listed:,} listed: {told(found.counts)}{others}"
