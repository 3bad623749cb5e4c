"""Verify: live cells against the raw topic (state §7).

Of a whole organization `events-raw` alone is read, all its partitions once for all partitions owned
here, so that forwarding is checked as well; of single subscriptions what lies on their home. Memory
is bounded by taking some subscriptions at a time. For the last stretch and while some pairs are
compared, a partition's live fold waits; queries do not.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Container,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from app.clients import Consumer
from app.definitions.judging import Judging
from app.meter.evidence import Difference, VerifyReport
from app.owned import OwnedPartition
from app.runtime.homes import HomePartitions
from app.runtime.scans import FAR_RECORDS, Scanner, Turn, feeding
from app.runtime.status import VerifyTally
from app.settings import Settings
from app.topics import RAW_MESSAGE_BYTES
from app.turns import STEP_ITEMS, Steps, T, in_steps
from app.wire.arrivals import arrivals_of
from app.wire.refusals import Refusal
from tables.close import next_cut
from tables.corrections import CorrectionArrival
from tables.fold import Arrival
from tables.partition import Pair
from tables.presence import SubscriptionName
from tables.verification import Verification

log = logging.getLogger(__name__)

PAIRS_AT_ONCE = 20_000
"""Pairs whose shadow cells are in memory together."""

MAX_RECORDS = 5_000
READ_TIMEOUT_MS = 200
_PAIRS_AT_ONCE = 100
"""Compared while the live fold waits; then it goes on."""
_NAMES_AT_ONCE = 20
_SETS_AT_ONCE = 500
_MEMBERS_A_TURN = 1_000

Jobs = dict[int, tuple[OwnedPartition, Verification]]
Taken = Arrival | CorrectionArrival


@dataclass
class _Progress:
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
    skipped: list[Pair] = field(default_factory=list)
    proved_from: dict[int, int] = field(default_factory=dict)

    def report(self, *, done: bool = False) -> VerifyReport:
        """One line; what it names is not named again."""
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
    turn: Turn,
    *,
    repair: bool = False,
    pairs_at_once: int = PAIRS_AT_ONCE,
) -> AsyncGenerator[VerifyReport, None]:
    """Every subscription of an organization on the partitions owned here, from events-raw."""
    partitions = dict(owned)
    counted = {
        number: await turn.run(counting(part, organization_id))
        for number, part in partitions.items()
    }
    chunks = list(chunked(counted, pairs_at_once))
    pairs_total = sum(pairs for names in counted.values() for _, pairs in names)
    progress = _Progress(tally, repair, tuple(sorted(partitions)), of_partitions, pairs_total)
    for number, chunk in enumerate(chunks):
        jobs: Jobs = {}
        for home, names in chunk.items():
            job = Verification(partitions[home].table, names, begins=False)
            await turn.run(job.beginning())
            jobs[home] = partitions[home], job
        strangers = number == 0
        async for report in _pass(jobs, progress, turn, len(chunks), organization_id, strangers):
            yield report
        for _, job in jobs.values():
            job.drop()
    yield progress.report(done=True)


def counting(
    owned: OwnedPartition, organization_id: str, codes: Container[str] | None = None
) -> Steps[list[tuple[SubscriptionName, int]]]:
    """An organization's subscriptions with events, and how many pairs each has; of some codes."""
    counted: list[tuple[SubscriptionName, int]] = []
    for number, (name, known) in enumerate(list(owned.table.presence.codes.items()), 1):
        if name[0] == organization_id:
            pairs = len(known) if codes is None else sum(code in codes for code in known)
            if pairs or codes is None:
                counted.append((name, pairs))
        if number % STEP_ITEMS == 0:
            yield
    return counted


def chunked(
    counted: Mapping[int, Sequence[tuple[SubscriptionName, int]]], most: int
) -> Iterator[dict[int, list[SubscriptionName]]]:
    """Names by partition, so many that their pairs are about `most`; at least one chunk.

    Every chunk but the first leaves out the partitions that are done.
    """
    chunk: dict[int, list[SubscriptionName]] = {number: [] for number in counted}
    chunk_pairs = 0
    for number, names in counted.items():
        for name, pairs in names:
            if chunk_pairs >= most:
                yield chunk
                chunk, chunk_pairs = {}, 0
            chunk.setdefault(number, []).append(name)
            chunk_pairs += pairs
    yield chunk


async def _pass(
    jobs: Jobs,
    progress: _Progress,
    turn: Turn,
    passes: int,
    organization_id: str,
    strangers: bool,
) -> AsyncGenerator[VerifyReport, None]:
    """Read events-raw once and compare what the jobs are about."""
    if not jobs:
        return
    shared = next(iter(jobs.values()))[0].shared
    async with _RawReplay(shared.settings, shared.homes, jobs, organization_id, turn) as replay:
        replay.strangers = strangers
        progress.proved_from = {q: start for q, start in replay.starts.items() if start > 0}
        before = progress.records_read
        progress.records_total = passes * replay.behind()
        while replay.behind() > FAR_RECORDS:
            await replay.read()
            progress.records_read = before + replay.read_records
            yield progress.report()
        for number, (owned, job) in jobs.items():
            catch_up = partial(replay.catch_up, number)
            await _compare(owned, job, progress, turn, catch_up, replay.starts)
            progress.records_read = before + replay.read_records
            yield progress.report()


async def verify_names(
    owned: OwnedPartition,
    names: Sequence[SubscriptionName],
    scanner: Scanner,
    tally: VerifyTally,
    turn: Turn,
    *,
    repair: bool = False,
    rest_s: float = 0.0,
) -> AsyncGenerator[VerifyReport, None]:
    """Some subscriptions of one partition, from where presence says that their events lie.

    `rest_s`: pause after every stretch that is read, for verification in the background.
    """
    job, settings = Verification(owned.table, names, begins=False), owned.shared.settings
    await turn.run(job.beginning())
    progress = _Progress(tally, repair, (owned.number,), settings.raw_partitions, len(job.pairs))
    record, feed = owned.table.record, feeding(job.feed)
    async with scanner(owned) as scan:
        scan.on_corrections = job.check_corrections
        scan.seek_only(names)
        scan.start(record, *job.start_offsets())
        progress.records_total = scan.behind(record)
        async for read in turn.stretches(scan, record, feed):
            progress.records_read += read
            yield progress.report()
            await asyncio.sleep(rest_s)

        async def catch_up() -> None:
            progress.records_read += scan.behind(record)
            await turn.rest(scan, record, feed)

        await _compare(owned, job, progress, turn, catch_up, {})
    job.drop()
    yield progress.report(done=True)


async def _compare(
    owned: OwnedPartition,
    job: Verification,
    progress: _Progress,
    turn: Turn,
    catch_up: Callable[[], Awaitable[None]],
    starts: Mapping[int, int],
) -> None:
    """Compare everything; queues what is to be repaired.

    Some pairs at a time: for those the live fold stands still, exactly where `catch_up` has read.
    """
    differing: dict[Pair, None] = {}
    found: list[Difference] = []
    pairs, published = job.compare(), job.compare_published()
    whole = False
    while not whole:
        async with owned.lock:
            await catch_up()
            compared = await turn.run(some_of(pairs, _PAIRS_AT_ONCE), urgent=True)
            same: list[Pair] = []
            for one in compared:
                progress.pairs += 1
                if one.skipped or _beyond_retention(owned, one.pair, starts):
                    progress.skipped.append(one.pair)
                    continue
                progress.tally.pairs += 1
                progress.cells += one.cells
                if one.differences:
                    differing[one.pair] = None
                    found += one.differences
                else:
                    same.append(one.pair)
            for pair, difference in await _compare_members(owned, job, same, progress):
                differing[pair] = None
                found.append(difference)
            whole = len(compared) < _PAIRS_AT_ONCE
    whole = False
    while not whole:
        async with owned.lock:
            await catch_up()
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
        owned.want_refold(differing, owned.table.record.cut_ms)
        progress.repairing += len(differing)


def some_of(more: Iterator[T], most: int) -> Steps[list[T]]:
    """The next of many, each a step."""
    found: list[T] = []
    for one in islice(more, most):
        found.append(one)
        yield
    return found


async def _compare_members(
    owned: OwnedPartition, job: Verification, pairs: Sequence[Pair], progress: _Progress
) -> list[tuple[Pair, Difference]]:
    """What differs of the members of pairs; while the store is silent, the pairs are skipped."""
    table, found = owned.table, list[tuple[Pair, Difference]]()
    sets = job.member_sets(pairs)
    # Before the store is read: it may follow meanwhile, which brings it nothing else than this.
    at_hand = table.members.at_hand({each.key for each in sets})
    for start in range(0, len(sets), _SETS_AT_ONCE):
        part = sets[start : start + _SETS_AT_ONCE]
        stored = await owned.stored_members([each.key for each in part])
        if stored is None:
            progress.skipped += dict.fromkeys(each.pair for each in sets[start:])
            break
        for each, members in zip(part, stored, strict=True):
            if len(members) > _MEMBERS_A_TURN:
                await asyncio.sleep(0)
            known = at_hand.get(each.key, {})
            next_cut_ms = next_cut(table, each.pair[:2])
            difference = each.difference(table.number, members, known, next_cut_ms)
            progress.members += len(each.expected)
            if difference is not None:
                found.append((each.pair, difference))
    return found


def _beyond_retention(owned: OwnedPartition, pair: Pair, starts: Mapping[int, int]) -> bool:
    """Whether events of a pair may have been deleted from events-raw, so that none can prove it."""
    entry = owned.table.presence.find(pair[:2], pair[2])
    if entry is None:
        return False
    forwarded = entry.rekeyed_first >= 0 and any(starts.values())
    return forwarded or 0 <= entry.raw_first < starts.get(owned.number, 0)


class _RawReplay:
    """Reads all partitions of events-raw and deals the events out to the jobs of their homes."""

    def __init__(
        self,
        settings: Settings,
        homes: HomePartitions,
        jobs: Jobs,
        organization_id: str,
        turn: Turn,
    ):
        self._settings, self._homes, self._jobs, self._turn = settings, homes, jobs, turn
        self._organization_id = organization_id
        self.strangers = False
        self.read_records = 0
        self.starts: dict[int, int] = {}
        topic = settings.topic(settings.raw_topic)
        self._tps = {q: TopicPartition(topic, q) for q in range(settings.raw_partitions)}
        self._next: dict[int, int] = {}
        self._append_time_ms: dict[int, int] = dict.fromkeys(self._tps, -1)
        self._ahead: dict[int, list[Taken]] = {number: [] for number in jobs}
        """Read before the live fold has taken them."""
        self._consumer = Consumer(
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=2 * RAW_MESSAGE_BYTES,
            **settings.kafka_options(),
        )

    async def __aenter__(self) -> _RawReplay:
        try:
            await self._consumer.start()
            self._consumer.assign(list(self._tps.values()))
            starts = await self._consumer.beginning_offsets(list(self._tps.values()))
        except BaseException:
            await self._consumer.stop()
            raise
        for q, tp in self._tps.items():
            self.starts[q] = self._next[q] = starts[tp]
            self._consumer.seek(tp, starts[tp])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    def _end(self, q: int, number: int) -> int:
        """Up to where a partition has taken what lies on raw partition q."""
        record = self._jobs[number][0].table.record
        if q == number:
            return record.raw_next
        mark = record.marks.get(q)
        return 0 if mark is None else mark[0] + 1

    def _behind(self, q: int, numbers: Sequence[int]) -> int:
        return max(0, *(self._end(q, number) - self._next[q] for number in numbers))

    def behind(self) -> int:
        """Records between here and the live folds."""
        return sum(self._behind(q, list(self._jobs)) for q in self._tps)

    async def catch_up(self, number: int) -> None:
        """Feed one partition everything that its live fold, which must wait, has taken."""
        while any(self._behind(q, [number]) for q in self._tps):
            await self._read([q for q in self._tps if self._behind(q, [number])], urgent=True)
        ahead, self._ahead[number] = self._ahead[number], []
        await self._turn.run(in_steps(ahead, lambda some: self._feed(number, some)), urgent=True)

    async def read(self) -> None:
        """Read a stretch of whatever is behind."""
        await self._read([q for q in self._tps if self._behind(q, list(self._jobs))])

    async def _read(self, partitions: Sequence[int], *, urgent: bool = False) -> None:
        fetched = await self._consumer.getmany(
            *(self._tps[q] for q in partitions),
            timeout_ms=READ_TIMEOUT_MS,
            max_records=MAX_RECORDS,
        )
        for tp, records in fetched.items():
            await self._judged(records)
            await self._turn.run(self._dealt(tp.partition, records), urgent=urgent)
        for q in partitions:
            # The position passes transaction markers, which carry no record.
            self._next[q] = await self._consumer.position(self._tps[q])

    async def _judged(self, records: Sequence[ConsumerRecord]) -> None:
        """Wait until it is known what records may do, which live folds may have yet to take."""
        owned, _ = next(iter(self._jobs.values()))
        judging = Judging.by(owned.shared.definitions)
        waits = (judging.waits_past_ms(each.timestamp, each.headers) for each in records)
        if past_ms := max((each for each in waits if each is not None), default=None):
            await owned.definitions_past(past_ms)

    def _dealt(self, q: int, records: Sequence[ConsumerRecord]) -> Steps[None]:
        """Decode records and deal out what they hold."""
        definitions = next(iter(self._jobs.values()))[0].shared.definitions
        judging, aside = Judging.by(definitions), definitions.set_asides.of(q)
        for record in records:
            self.read_records += 1
            reached_ms = max(self._append_time_ms[q], record.timestamp)
            self._append_time_ms[q] = reached_ms
            arrived = arrivals_of(
                record.value, record.headers, reached_ms, q, record.offset, judging, aside
            )
            for start in range(0, len(arrived), STEP_ITEMS):
                dealt: dict[int, list[Taken]] = {}
                for arrival in arrived[start : start + STEP_ITEMS]:
                    if not isinstance(arrival, Refusal):
                        self._deal(arrival, dealt)
                for number, arrivals in dealt.items():
                    self._feed(number, arrivals)
                yield

    def _deal(self, arrival: Taken, dealt: dict[int, list[Taken]]) -> None:
        if arrival.organization_id != self._organization_id:
            return
        home = self._homes.of(*arrival.name)
        if home in self._jobs:
            dealt.setdefault(home, []).append(arrival)

    def _feed(self, number: int, arrivals: Sequence[Taken]) -> None:
        owned, job = self._jobs[number]
        taken = [arrival for arrival in arrivals if _has_taken(owned, arrival)]
        if len(taken) < len(arrivals):
            kept = {arrival.position for arrival in taken}
            self._ahead[number] += [a for a in arrivals if a.position not in kept]
        events = [arrival for arrival in taken if isinstance(arrival, Arrival)]
        corrections = [arrival for arrival in taken if isinstance(arrival, CorrectionArrival)]
        job.feed(events, strangers=self.strangers)
        job.check_corrections(corrections, strangers=self.strangers)


def _has_taken(owned: OwnedPartition, arrival: Taken) -> bool:
    """Whether the live fold has passed an event or correction."""
    record = owned.table.record
    if arrival.raw_partition == owned.number:
        return arrival.raw_offset < record.raw_next
    place = (arrival.raw_offset, arrival.array_index)
    return place <= record.marks.get(arrival.raw_partition, (-1, -1))
