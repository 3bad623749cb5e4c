"""Preview: what published and open periods would be under a change, from the raw topic.

Some subscriptions at a time are folded under a branch of the definitions from what lies on their
home, and compared with the live cells; for the last stretch and while some are compared, a
partition's live fold waits. Nothing is changed.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass

from app.bounds.turns import STEP_ITEMS, Steps
from app.definitions.what_if import Branch
from app.meter.evidence import PreviewedCell, PreviewReport
from app.queries.chunks import chunked, counting, some_of
from app.queries.replay import Replay
from app.runtime.partition.owned import OwnedPartition
from app.runtime.scanning.scans import Scanner, ScanTurn, feeding
from app.wire.arrivals import SubscriptionKey
from tables.reading.preview import Preview, PreviewScope

CELLS_A_LINE = 500
_NAMES_AT_ONCE = 50
"""Compared while the live fold waits; then it goes on."""


class Overtaken(RuntimeError):
    """Something was defined meanwhile: what was previewed is not what there is."""


@dataclass
class _PreviewProgress:
    """Running figures of one preview."""

    partitions: tuple[int, ...]
    of_partitions: int
    records_total: int = 0
    records_read: int = 0
    pairs: int = 0

    def report(
        self,
        cells: tuple[PreviewedCell, ...] = (),
        skipped: tuple[tuple[str, str], ...] = (),
        *,
        done: bool = False,
    ) -> PreviewReport:
        return PreviewReport(
            partitions=self.partitions,
            of_partitions=self.of_partitions,
            records_read=self.records_read,
            records_total=max(self.records_total, self.records_read),
            pairs=self.pairs,
            cells=cells,
            skipped=skipped,
            done=done,
        )


async def preview_organization(
    owned: Mapping[int, OwnedPartition],
    of_partitions: int,
    organization_id: str,
    branch: Branch,
    scope: PreviewScope,
    scanner: Scanner,
    turn: ScanTurn,
) -> AsyncGenerator[PreviewReport, None]:
    """Preview every subscription of an organization on the partitions owned here.

    Raises:
        Overtaken: a definition was applied after the branch was made.
    """
    partitions = dict(owned)
    progress = _PreviewProgress(tuple(sorted(partitions)), of_partitions)
    for part in partitions.values():
        counted = await turn.run(concerned(part, organization_id, branch))
        for chunk in chunked({part.number: counted}):
            names = chunk[part.number]
            if not names:
                continue
            _check_not_overtaken(part, branch)
            job = Preview(part.state, branch, names, scope)
            await turn.run(job.beginning())
            replay = Replay(part, scanner, turn)
            async with aclosing(_previewed(replay, job, branch, progress)) as reports:
                async for report in reports:
                    yield report
    yield progress.report(done=True)


def concerned(
    owned: OwnedPartition, organization_id: str, branch: Branch
) -> Steps[list[tuple[SubscriptionKey, int]]]:
    """List what `counting` does of the metrics concerned, without who never had a changed plan."""
    counted = yield from counting(owned, organization_id, branch.codes)
    found: list[tuple[SubscriptionKey, int]] = []
    known = owned.state.definitions
    plan_ids_of = known.subscription_index.plan_ids_of
    for number, each in enumerate(counted, 1):
        if branch.changes_any(plan_ids_of(each[0]), known):
            found.append(each)
        if number % STEP_ITEMS == 0:
            yield
    return found


def _check_not_overtaken(owned: OwnedPartition, branch: Branch) -> None:
    if owned.shared.definitions.records_applied != branch.records_applied:
        raise Overtaken("something was defined meanwhile: preview again")


async def _previewed(
    replay: Replay, job: Preview, branch: Branch, progress: _PreviewProgress
) -> AsyncGenerator[PreviewReport, None]:
    owned, refold, whole = replay.owned, job.refold, False
    feed = feeding(refold.feed)
    while not whole:
        starts = refold.start_offsets(await replay.since(refold.appended_from_ms))
        _, codes = refold.sought()
        async with replay.reading(feed, job.names, starts, codes=codes) as reading:
            progress.records_total += reading.behind()
            async for read in reading.stretches():
                progress.records_read += read
                yield progress.report()
            cells: list[PreviewedCell] = []
            differences, done = job.differences(), False
            while not done:
                # The live fold goes on between some subscriptions and the next ones.
                async with reading.caught_up() as read:
                    progress.records_read += read
                    _check_not_overtaken(owned, branch)
                    whole = await replay.turn.run(refold.admitted(), urgent=True)
                    if not whole:
                        break
                    found = await replay.turn.run(some_of(differences, _NAMES_AT_ONCE), urgent=True)
                    _check_not_overtaken(owned, branch)
                cells += [cell for each in found for cell in each]
                done = len(found) < _NAMES_AT_ONCE
    refold.drop()
    progress.pairs += len(job.meter_keys)
    skipped = tuple((external_id, code) for _, external_id, code in job.skipped)
    yield progress.report((), skipped)
    for first in range(0, len(cells), CELLS_A_LINE):
        yield progress.report(tuple(cells[first : first + CELLS_A_LINE]))
