"""Verify: live cells against the raw topic (state §7).

Of a whole organization `events-raw` alone is read, all its partitions once for all partitions owned
here, so that forwarding is checked as well; of single subscriptions what lies on their home. Memory
is bounded by taking some subscriptions at a time. For the last stretch and while some meter keys
are compared, a partition's live fold waits; queries do not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from app.meter.evidence import Difference, VerifyReport
from app.queries.chunks import chunked, counting, some_of
from app.queries.raw_replay import Jobs, RawReplay
from app.queries.replay import ReadAgain, Replay
from app.runtime.partition.owned import OwnedPartition
from app.runtime.scanning.scans import FAR_RECORDS, ScanTurn, feeding
from app.runtime.status import VerifyTally
from app.wire.arrivals import MeterKey, SubscriptionKey
from tables.closing.close import next_cut
from tables.reading.verification import Verification

log = logging.getLogger(__name__)

_PAIRS_AT_ONCE = 100
"""Compared while the live fold waits; then it goes on."""
_NAMES_AT_ONCE = 20
_SETS_AT_ONCE = 500
_MEMBERS_A_TURN = 1_000


@dataclass
class _VerifyProgress:
    """Running figures of one verification, and what the next report will name."""

    tally: VerifyTally
    repair: bool
    partitions: tuple[int, ...]
    of_partitions: int
    pairs_total: int
    records_total: int = 0
    records_read: int = 0
    pairs: int = 0
    cells: int = 0
    members: int = 0
    repairing: int = 0
    differences: list[Difference] = field(default_factory=list)
    skipped: list[MeterKey] = field(default_factory=list)
    proved_from: dict[int, int] = field(default_factory=dict)

    def report(self, *, done: bool = False) -> VerifyReport:
        """Return one line; what it names is not named again."""
        differences, self.differences = self.differences, []
        skipped, self.skipped = self.skipped, []
        return VerifyReport(
            partitions=self.partitions,
            of_partitions=self.of_partitions,
            records_read=self.records_read,
            records_total=max(self.records_total, self.records_read),
            pairs_verified=self.pairs,
            pairs_total=self.pairs_total,
            cells_verified=self.cells,
            members_verified=self.members,
            differences=tuple(differences),
            skipped=tuple((external_id, code) for _, external_id, code in skipped),
            repairing=self.repairing,
            proved_from=self.proved_from,
            done=done,
        )


async def verify_organization(
    owned: Mapping[int, OwnedPartition],
    of_partitions: int,
    organization_id: str,
    tally: VerifyTally,
    turn: ScanTurn,
    *,
    repair: bool,
) -> AsyncGenerator[VerifyReport, None]:
    """Verify an organization on the partitions owned here, from events-raw."""
    partitions = dict(owned)
    counted = {
        number: await turn.run(counting(part, organization_id))
        for number, part in partitions.items()
    }
    chunks = list(chunked(counted))
    pairs_total = sum(pairs for names in counted.values() for _, pairs in names)
    progress = _VerifyProgress(tally, repair, tuple(sorted(partitions)), of_partitions, pairs_total)
    for number, chunk in enumerate(chunks):
        jobs: Jobs = {}
        for home, names in chunk.items():
            job = Verification(partitions[home].state, names)
            await turn.run(job.beginning())
            jobs[home] = partitions[home], job
        strangers = number == 0
        while jobs:
            reports = _pass(jobs, progress, turn, len(chunks), organization_id, strangers)
            async with aclosing(reports):
                async for report in reports:
                    yield report
            left = [(home, owned, await _again(job, turn)) for home, (owned, job) in jobs.items()]
            jobs = {home: (owned, job) for home, owned, job in left if job is not None}
            strangers = False
    yield progress.report(done=True)


async def _again(job: Verification, turn: ScanTurn) -> Verification | None:
    """Drop a job that was compared; return one of what has to be read once more; None: nothing."""
    again = await turn.run(job.again())
    job.drop()
    return again


async def _pass(
    jobs: Jobs,
    progress: _VerifyProgress,
    turn: ScanTurn,
    passes: int,
    organization_id: str,
    strangers: bool,
) -> AsyncGenerator[VerifyReport, None]:
    """Read events-raw once and compare what the jobs are about."""
    shared = next(iter(jobs.values()))[0].shared
    async with RawReplay(shared.settings, shared.homes, jobs, organization_id, turn) as replay:
        replay.strangers = strangers
        progress.proved_from = {q: start for q, start in replay.starts.items() if start > 0}
        before = progress.records_read
        # What is read once more comes on top.
        progress.records_total = max(passes * replay.behind(), before + replay.behind())
        while replay.behind() > FAR_RECORDS:
            await replay.read()
            progress.records_read = before + replay.read_records
            yield progress.report()
        for number, (owned, job) in jobs.items():
            job.read_from(replay.starts)
            caught_up = partial(replay.caught_up, number)
            await _compare(owned, job, progress, turn, caught_up)
            progress.records_read = before + replay.read_records
            yield progress.report()


async def verify_names(
    replay: Replay,
    names: Sequence[SubscriptionKey],
    tally: VerifyTally,
    *,
    repair: bool = False,
    recent: bool = False,
    rest_s: float = 0.0,
) -> AsyncGenerator[VerifyReport, None]:
    """Verify some subscriptions of one partition, from where presence says their events lie.

    `recent`: only periods whose cells are kept. `rest_s`: pause after every stretch that is read,
    for verification in the background.
    """
    owned, turn = replay.owned, replay.turn
    first = Verification(owned.state, names, recent=recent)
    settings = owned.shared.settings
    await turn.run(first.beginning())
    progress = _VerifyProgress(
        tally, repair, (owned.number,), settings.raw_partitions, len(first.meter_keys)
    )
    job: Verification | None = first
    while job is not None:
        since = await replay.since(job.refold.appended_from_ms)
        feed, begins = feeding(job.feed), job.refold.start_offsets(since)
        async with replay.reading(feed, job.names, begins, job.check_corrections) as reading:
            progress.records_total += reading.behind()
            async for read in reading.stretches():
                progress.records_read += read
                yield progress.report()
                await asyncio.sleep(rest_s)

            @asynccontextmanager
            async def caught_up(reading: ReadAgain = reading) -> AsyncIterator[None]:
                async with reading.caught_up() as read:
                    progress.records_read += read
                    yield

            await _compare(owned, job, progress, turn, caught_up)
        job = await _again(job, turn)
    yield progress.report(done=True)


async def _compare(
    owned: OwnedPartition,
    job: Verification,
    progress: _VerifyProgress,
    turn: ScanTurn,
    caught_up: Callable[[], AbstractAsyncContextManager[None]],
) -> None:
    """Compare everything; queue what is to be repaired.

    Some meter keys at a time: for those `caught_up` has the live fold stand still.
    """
    differing: dict[MeterKey, None] = {}
    found: list[Difference] = []
    results, published = job.compare(), job.compare_published()
    whole = False
    while not whole:
        async with _held(owned, caught_up):
            compared = await turn.run(some_of(results, _PAIRS_AT_ONCE), urgent=True)
            same: list[MeterKey] = []
            for one in compared:
                if one.again:
                    continue
                if one.skipped:
                    progress.skipped.append(one.meter_key)
                    continue
                progress.pairs += 1
                progress.tally.pairs += 1
                progress.cells += one.cells
                if one.differences:
                    differing[one.meter_key] = None
                    found += one.differences
                else:
                    same.append(one.meter_key)
            for meter_key, difference in await _compare_members(owned, job, same, progress):
                differing[meter_key] = None
                found.append(difference)
            whole = len(compared) < _PAIRS_AT_ONCE
    whole = False
    while not whole:
        async with _held(owned, caught_up):
            told = await turn.run(some_of(published, _NAMES_AT_ONCE), urgent=True)
            found += [difference for differences in told for difference in differences]
            whole = len(told) < _NAMES_AT_ONCE
    found = job.lost + found
    progress.tally.differing += len(differing)
    progress.differences += found
    for difference in found:
        log.error("Verification: %s differs: %s", difference.kind, difference)
    if progress.repair and differing:
        # Every cut to come waits: what it would show is wrong until then.
        owned.refold_queue.want(differing, owned.state.checkpoint.cut_ms)
        progress.repairing += len(differing)


@asynccontextmanager
async def _held(
    owned: OwnedPartition, caught_up: Callable[[], AbstractAsyncContextManager[None]]
) -> AsyncIterator[None]:
    """Hold the live fold exactly where the last arrival was read.

    Raises Fenced if the partition was given up: its last fold may have ended half-way.
    """
    async with caught_up():
        owned.life.require_ours()
        yield


async def _compare_members(
    owned: OwnedPartition,
    job: Verification,
    meter_keys: Sequence[MeterKey],
    progress: _VerifyProgress,
) -> list[tuple[MeterKey, Difference]]:
    """Return how members of meter keys differ; while the store is silent, skip these."""
    state, found = owned.state, list[tuple[MeterKey, Difference]]()
    sets = job.member_sets(meter_keys)
    # Before the store is read: it may follow meanwhile, which brings it nothing else than this.
    at_hand = state.members.at_hand({each.key for each in sets})
    for start in range(0, len(sets), _SETS_AT_ONCE):
        part = sets[start : start + _SETS_AT_ONCE]
        stored = await owned.members.stored([each.key for each in part])
        if stored is None:
            progress.skipped += dict.fromkeys(each.meter_key for each in sets[start:])
            break
        for each, members in zip(part, stored, strict=True):
            if len(members) > _MEMBERS_A_TURN:
                await asyncio.sleep(0)
            known = at_hand.get(each.key, {})
            next_cut_ms = next_cut(state, each.meter_key[:2])
            difference = each.difference(state.number, members, known, next_cut_ms)
            progress.members += len(each.expected)
            if difference is not None:
                found.append((each.meter_key, difference))
    return found
