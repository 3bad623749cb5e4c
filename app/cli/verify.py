"""`meter verify`: live figures against the raw topic, on every worker."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import click
import msgspec

from app.cli import contexts
from app.cli.every_worker import EveryWorker
from app.cli.exits import DIFFERS, NO_VERDICT
from app.cli.failures import no_verdict
from app.cli.names import require_known
from app.cli.output import echo, print_json
from app.cli.remote import Remote, key_of_settings, local_settings, remote, remote_options
from app.cli.words import TEXT
from app.meter.evidence import Difference, VerifyReport
from app.settings import ApiKey

_WHY = "refolding, Redis silent, or beyond retention"


@dataclass
class _Outcome:
    """What all workers said."""

    pairs: int = 0
    cells: int = 0
    members: int = 0
    repairing: int = 0
    differences: list[Difference] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    proved_from: dict[int, int] = field(default_factory=dict)
    records: Counter[str] = field(default_factory=Counter)
    """Messages compared, by topic."""
    unproved: list[str] = field(default_factory=list)
    """Why published topics could not be compared."""

    @property
    def compares(self) -> bool:
        """Return True if anything at all was compared."""
        return bool(self.pairs + self.records.total() or self.differences)

    @property
    def nothing(self) -> bool:
        """Return True if there was nothing at all to compare."""
        return not (self.compares or self.skipped or self.unproved)

    def note(self, line: bytes) -> bool:
        """Take in one line; whether it is the worker's last."""
        report = msgspec.json.decode(line, type=VerifyReport)
        self.differences += report.differences
        self.skipped += report.skipped
        self.proved_from |= report.proved_from
        if report.done:
            self.pairs += report.pairs_verified
            self.cells += report.cells_verified
            self.members += report.members_verified
            self.repairing += report.repairing
            self.records.update(report.topics.compared)
            if report.topics.unproved and report.topics.unproved not in self.unproved:
                self.unproved.append(report.topics.unproved)
        return report.done


@click.command()
@click.option("--subscription", type=TEXT, help="Only this external_subscription_id.")
@click.option("--repair", is_flag=True, help="Refold from the raw topic whatever differs.")
@click.option(
    "--figures-only",
    is_flag=True,
    help="Leave published messages out, which need a fold of all of events-raw.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@remote_options
@no_verdict()
def verify(
    subscription: str | None,
    repair: bool,
    figures_only: bool,
    as_json: bool,
    url: str | None,
    key: str | None,
) -> None:
    """Compare live figures and published messages with a fold of the raw topic.

    With --subscription its figures cost what its events do. Its messages cost a fold from the
    first event of all: --figures-only leaves them out.

    Exit status: 0 all equal, 1 something differs, 3 not everything could be verified, 4 when there
    is no such subscription.
    """
    outcome = _Outcome()
    body = {
        "external_subscription_id": subscription,
        "repair": repair,
        "figures_only": figures_only,
    }
    workers = EveryWorker("/api/v1/verify", body, outcome.note, "Verifying")
    asyncio.run(workers.ask(_asking(url, key), of_all=subscription is None))
    if as_json:
        print_json(_as_json(outcome, figures_only=figures_only))
    else:
        _print(outcome, figures_only=figures_only)
    if outcome.differences:
        sys.exit(DIFFERS)
    if outcome.nothing and subscription is not None:
        require_known(remote(url, key), subscription)
    if outcome.skipped or outcome.unproved or outcome.nothing:
        sys.exit(NO_VERDICT)


def _asking(url: str | None, key: str | None) -> list[Remote]:
    """Return the worker, once for each organization with a key here; one that may write is first.

    A worker of a context is asked with the context's key alone.
    """
    worker = remote(url, key)
    if key is not None or (url is None and contexts.current() is not None):
        return [worker]
    by_organization: dict[str, ApiKey] = {}
    for known in sorted(local_settings().api_keys, key=lambda known: known.access != "write"):
        by_organization.setdefault(known.organization_id, known)
    asking = [Remote(worker.url, key_of_settings(known)) for known in by_organization.values()]
    return asking or [worker]


def _as_json(outcome: _Outcome, *, figures_only: bool) -> dict[str, Any]:
    return {
        "equal": not outcome.differences and outcome.compares,
        "pairs_verified": outcome.pairs,
        "cells_verified": outcome.cells,
        "members_verified": outcome.members,
        "records_verified": outcome.records,
        "records_compared": not figures_only,
        "records_unproved": outcome.unproved,
        "differences": [msgspec.to_builtins(difference) for difference in outcome.differences],
        "skipped": [
            {"external_subscription_id": external_id, "billable_metric_code": code}
            for external_id, code in outcome.skipped
        ],
        "proved_from_offset": {str(q): offset for q, offset in outcome.proved_from.items()},
        "repairing": outcome.repairing,
    }


def _print(outcome: _Outcome, *, figures_only: bool) -> None:
    for difference in outcome.differences:
        echo(_sentence(difference))
    for external_id, code in outcome.skipped:
        echo(f"{external_id} {code}: cannot be proved now ({_WHY})")
    for partition, offset in sorted(outcome.proved_from.items()):
        echo(f"events-raw partition {partition} begins at offset {offset}: proved from there")
    for told in outcome.unproved:
        echo(f"Published topics cannot be proved: {told}")
    if outcome.nothing:
        echo("Nothing compared: nothing is known of it here")
        return
    if not outcome.compares:
        echo("Nothing compared")
        return
    verdict = f"{len(outcome.differences)} differences" if outcome.differences else "all equal"
    counted = [f"{count} messages of {topic}" for topic, count in outcome.records.items() if count]
    figures = f"{outcome.pairs} metrics of subscriptions, {outcome.cells} cells"
    members = f"{outcome.members} members of unique counts"
    echo(f"{', '.join([figures, members, *counted])}: {verdict}")
    if figures_only:
        echo("Published messages were not compared")
    if outcome.repairing:
        echo(f"{outcome.repairing} are being refolded from the raw topic")


def _sentence(difference: Difference) -> str:
    where = f"{difference.external_subscription_id} {difference.metric_code}"
    if difference.kind == "event":
        found = difference.refolded
        return f"{where}: event {found['transaction_id']} at {found['place']} was never folded"
    if difference.kind == "correction":
        found, external_id = difference.refolded, difference.external_subscription_id
        correction = f"correction {found['correction_id']} of event {found['transaction_id']}"
        return f"{external_id}: {correction} at {found['place']} was never taken"
    if difference.kind == "record":
        return _record_sentence(where, difference)
    cell = " ".join(
        part
        for part in (
            difference.period_from or "history",
            f"filter {difference.filter_id}" if difference.filter_id else "",
            f"group {'/'.join(text or '-' for text in difference.groups)}"
            if difference.groups
            else "",
        )
        if part
    )
    what = "published" if difference.kind == "published" else "live"
    live, refolded = difference.live, difference.refolded
    names = [name for name in {**live, **refolded} if live.get(name) != refolded.get(name)]
    # The state says more than people want to read, unless nothing else shows that it differs.
    names = [name for name in names if name != "state"] or names
    return f"{where} {cell}: {what} {_figures(difference, names)}"


def _record_sentence(where: str, difference: Difference) -> str:
    live, refolded = difference.live, difference.refolded
    what = f"{where}: {difference.topic} {difference.record_id}"
    if "place" not in live:
        return f"{what} is missing"
    what += f" at {live['place']}"
    if "first_place" in live:
        return f"{what} is at {live['first_place']} already"
    if not refolded:
        return f"{what} follows from no event"
    return f"{what}: {_figures(difference, [name for name in live if name != 'place'])}"


def _figures(difference: Difference, names: Iterable[str]) -> str:
    live, refolded = difference.live, difference.refolded
    return ", ".join(f"{n} {live.get(n, '-')} is {refolded.get(n, '-')} in raw" for n in names)
