"""`meter verify`: live figures against the raw topic, on every worker."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import click
import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from app.cli.remote import local_settings, remote, remote_options
from app.proof import Difference, VerifyReport
from app.settings import ApiKey

DIFFERS = 1
UNPROVED = 2

# A worker may read for long between two lines, but not for ever.
_TIMEOUT = ClientTimeout(total=None, sock_connect=10, sock_read=300)


class Unproved(click.ClickException):
    """A worker did not answer, or not to the end."""

    exit_code = UNPROVED


@dataclass(frozen=True)
class _Access:
    """One worker, as one organization."""

    url: str
    key: str


@dataclass
class _Outcome:
    """What all workers said."""

    pairs: int = 0
    cells: int = 0
    repairing: int = 0
    differences: list[Difference] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    proved_from: dict[int, int] = field(default_factory=dict)
    reports: dict[str, VerifyReport] = field(default_factory=dict)
    """The last of each worker and organization."""

    def note(self, worker: str, report: VerifyReport) -> None:
        self.differences += report.differences
        self.skipped += report.skipped
        self.proved_from |= report.proved_from
        if report.done:
            self.pairs += report.pairs_verified
            self.cells += report.cells_verified
            self.repairing += report.repairing
        self.reports[worker] = report

    def check_whole(self, key: str) -> None:
        """Every partition has been verified for the organization of a key, whoever owns it."""
        reports = [report for worker, report in self.reports.items() if worker.endswith(f" {key}")]
        verified = {number for report in reports for number in report.partitions}
        missing = set(range(max(report.of_partitions for report in reports))) - verified
        if missing:
            numbers = ", ".join(map(str, sorted(missing)))
            raise Unproved(f"Partitions {numbers} were changing hands: verify again")


class _Line(msgspec.Struct):
    """The first line of an answer, or an error in the middle of one."""

    peers: list[str] = []
    owner: str | None = None
    error: str | None = None


@click.command()
@click.option("--subscription", help="Only this external_subscription_id.")
@click.option("--repair", is_flag=True, help="Refold from the raw topic whatever differs.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of text.")
@remote_options
def verify(
    subscription: str | None, repair: bool, as_json: bool, url: str | None, key: str | None
) -> None:
    """Compare live and published figures with a fold of the raw topic.

    Exit status: 0 all equal, 1 something differs, 2 not everything could be verified.
    """
    outcome = _Outcome()
    asyncio.run(_verify(_accesses(url, key), subscription, repair, outcome))
    if as_json:
        click.echo(json.dumps(_as_json(outcome), indent=2))
    else:
        _print(outcome)
    if outcome.differences:
        sys.exit(DIFFERS)
    if outcome.skipped:
        sys.exit(UNPROVED)


def _accesses(url: str | None, key: str | None) -> list[_Access]:
    """One for each organization that there is a key of; a key that may write comes first."""
    reached = remote(url, key).url
    if key is not None:
        return [_Access(reached, key)]
    by_organization: dict[str, ApiKey] = {}
    for known in sorted(local_settings().api_keys, key=lambda known: known.access != "write"):
        by_organization.setdefault(known.organization_id, known)
    if not by_organization:
        raise Unproved("There is no API key to ask with: set --key or METER_API_KEYS")
    return [_Access(reached, known.key.get_secret_value()) for known in by_organization.values()]


async def _verify(
    wanted: list[_Access], subscription: str | None, repair: bool, outcome: _Outcome
) -> None:
    body = {"external_subscription_id": subscription, "repair": repair}
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        async with ClientSession(timeout=_TIMEOUT) as opened:
            for access in wanted:
                task = bar.add_task("Verifying")
                await _all_workers(opened, access, body, outcome, _Bar(bar, task, outcome, access))


@dataclass
class _Bar:
    """Records read of those to read, over the workers that were asked for one organization."""

    bar: Progress
    task: TaskID
    outcome: _Outcome
    access: _Access

    def update(self) -> None:
        reports = [
            report
            for worker, report in self.outcome.reports.items()
            if worker.endswith(f" {self.access.key}")
        ]
        self.bar.update(
            self.task,
            completed=sum(report.records_read for report in reports),
            total=sum(report.records_total for report in reports),
        )


async def _all_workers(
    opened: ClientSession, access: _Access, body: dict[str, Any], outcome: _Outcome, bar: _Bar
) -> None:
    """One worker says who the others are; together they own every partition."""
    first = await _one_worker(opened, access, body, outcome, bar)
    others = first.peers if body["external_subscription_id"] is None else []
    if first.owner is not None:
        others = [first.owner]
    await asyncio.gather(
        *(
            _one_worker(opened, _Access(other.rstrip("/"), access.key), body, outcome, bar)
            for other in others
        )
    )
    if body["external_subscription_id"] is None:
        outcome.check_whole(access.key)


async def _one_worker(
    opened: ClientSession, access: _Access, body: dict[str, Any], outcome: _Outcome, bar: _Bar
) -> _Line:
    first: _Line | None = None
    done = False
    async for line in _lines(opened, access, body):
        if first is None:
            first = msgspec.json.decode(line, type=_Line)
            done = first.owner is not None
            continue
        if b'"error"' in line[:10]:
            raise Unproved(f"{access.url}: {msgspec.json.decode(line, type=_Line).error}")
        report = msgspec.json.decode(line, type=VerifyReport)
        outcome.note(f"{access.url} {access.key}", report)
        done = report.done
        bar.update()
    if first is None or not done:
        raise Unproved(f"{access.url} stopped before it was done")
    return first


async def _lines(opened: ClientSession, access: _Access, body: Any) -> AsyncIterator[bytes]:
    headers = {"Authorization": f"Bearer {access.key}"}
    try:
        async with opened.post(f"{access.url}/api/v1/verify", json=body, headers=headers) as answer:
            if answer.status != 200:
                raise Unproved(f"{access.url} answered {answer.status}: {await answer.text()}")
            left = b""
            async for chunk in answer.content.iter_any():
                *lines, left = (left + chunk).split(b"\n")
                for line in lines:
                    yield line
    except (ClientError, TimeoutError) as error:
        raise Unproved(f"{access.url} does not answer: {error or 'timeout'}") from error


def _as_json(outcome: _Outcome) -> dict[str, Any]:
    return {
        "equal": not outcome.differences,
        "pairs_verified": outcome.pairs,
        "cells_verified": outcome.cells,
        "differences": [msgspec.to_builtins(difference) for difference in outcome.differences],
        "skipped": [
            {"external_subscription_id": external_id, "billable_metric_code": code}
            for external_id, code in outcome.skipped
        ],
        "proved_from_offset": {str(q): offset for q, offset in outcome.proved_from.items()},
        "repairing": outcome.repairing,
    }


def _print(outcome: _Outcome) -> None:
    for difference in outcome.differences:
        click.echo(_sentence(difference))
    for external_id, code in outcome.skipped:
        click.echo(f"{external_id} {code}: cannot be proved now (refolding, or beyond retention)")
    for partition, offset in sorted(outcome.proved_from.items()):
        click.echo(f"events-raw partition {partition} begins at offset {offset}: proved from there")
    verdict = f"{len(outcome.differences)} differences" if outcome.differences else "all equal"
    click.echo(f"{outcome.pairs} metrics of subscriptions, {outcome.cells} cells: {verdict}")
    if outcome.repairing:
        click.echo(f"{outcome.repairing} are being refolded from the raw topic")


def _sentence(difference: Difference) -> str:
    where = f"{difference.external_subscription_id} {difference.metric_code}"
    if difference.kind == "event":
        found = difference.refolded
        return f"{where}: event {found['transaction_id']} at {found['place']} was never folded"
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
    figures = ", ".join(f"{n} {live.get(n, '-')} is {refolded.get(n, '-')} in raw" for n in names)
    return f"{where} {cell}: {what} {figures}"
