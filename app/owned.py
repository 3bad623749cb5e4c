"""A partition that this worker owns: the asynchronous shell around its tables.

It moves data only: arrivals in, flushes out. Everything that decides is in `tables`. A flush is one
transaction (state.md §3); what it acknowledges is durable, and a worker that cannot flush crashes
rather than going on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from aiokafka import TopicPartition

from app.clock import Clock
from app.dead_letters import Source, dead_letter
from app.definitions.outcome import Touch
from app.definitions.state import Definitions
from app.failpoints import failpoint
from app.home import Homes
from app.republished import output_mark, output_tp
from app.schedule import Schedule
from app.settings import Settings
from app.topics import (
    CELLS_CHANGELOG,
    CORRECTIONS_CHANGELOG,
    INDEX_CHANGELOG,
    MEBIBYTE,
    MEMBERS_CHANGELOG,
    METER_PROGRESS,
    PRESENCE_CHANGELOG,
    PUBLISHED_CHANGELOG,
)
from app.transport import RawRecord, RecordBatch
from app.wire.arrivals import Arrived
from app.wire.identity import same_body
from app.wire.raw import message_key
from app.wire.records import envelope_headers
from app.wire.refusals import Refusal, RefusalCode, quoted
from tables.changelog_sum import ChangelogSum
from tables.close import enter_history, next_cut
from tables.corrections import CorrectionArrival
from tables.fold import Arrival, Run
from tables.members import MemberName, SetKey, member_key
from tables.partition import (
    Duplicate,
    Pair,
    Partition,
    PartitionRecord,
    Refused,
    Slice,
    WaitForDefinitions,
)
from tables.presence import SubscriptionName
from tables.stores.changelog import Conclude, Fenced, PartitionProducer, Record
from tables.stores.members import MembersLost, MembersSilent, MemberStore

log = logging.getLogger(__name__)

PARTITION_RECORD_KEY = b"\xffpartition-record"
"""Key of the partition record in the cell changelog; no cell key begins with this byte."""

PARTITION_RECORD_BYTES = 8 * MEBIBYTE
"""The partition record is written with every flush, and has to fit into the cell changelog."""

ANY_PAIR: Pair = ("", "", "")
"""In place of pairs under a refold: too many to be written down. No event has empty names."""

INDEX_RECORD_BYTES = 40 * 16_000
"""Packed index rows of one flush are split into records of at most this size."""

_REMEMBERED_VERDICTS = 20_000

TURNS_BETWEEN_SLICES = 4
"""Of the event loop: in so many a request that has come is read, begun and answered."""

STORE_PATIENCE_S = 2.0
"""How long a flush waits for the members store."""

UNSTORED_MEMBERS = 500_000
"""With so many members to be stored flushes wait for the store, however long it takes."""

Member = tuple[MemberName, bytes | None]
"""A changed member, packed; None: removed."""


class Verdict(NamedTuple):
    """Why an arrival did not count as a new event."""

    refusal: RefusalCode | None
    message: str
    identical: bool


RawPlace = tuple[int, int, int]
"""(raw partition, offset, array index)"""


class OutputLost(RuntimeError):
    """usage-records is not the topic any more that was published to, or was cut."""

    def __init__(self, tp: TopicPartition, offset: int, found: str):
        super().__init__(
            f"{tp.topic} partition {tp.partition} has lost records: the newest stood at offset "
            f"{offset}, {found}. Started again, the worker publishes what the topic lacks"
        )


@dataclass
class Shared:
    """What all partitions of a worker share."""

    settings: Settings
    clock: Clock
    definitions: Definitions
    homes: Homes
    members: MemberStore
    url: str
    crash: Callable[[BaseException], Awaitable[None]]
    acknowledge: Callable[[RecordBatch], bool]
    refill_members: Callable[[int, int, int, ChangelogSum], Awaitable[None]]
    """Fill the members store anew from the changelog: (partition, epoch, flush, its sum)."""
    find_raw: Callable[[Iterable[RawPlace]], Awaitable[dict[RawPlace, Arrived]]]
    """Elements of raw records, without those that the log has no longer."""
    definitions_end: Callable[[], Awaitable[int]]
    """Offset after the last record of the definitions log, applied here or not."""
    last_definition: tuple[int, int] = (0, -1)
    """(next offset, append time) after the last record of the definitions log that is no tick."""
    definitions_changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    definitions_wanted_ms: int = -1
    """Somebody waits for definitions later than this."""


class OwnedPartition:
    """State and traffic of one owned partition."""

    def __init__(self, table: Partition, producer: PartitionProducer, shared: Shared):
        self.table = table
        self.producer = producer
        self.shared = shared
        self.lock = asyncio.Lock()
        """Held while arrivals and offsets move together, while a flush is taken, while cells are
        swapped; never while the flush is sent."""
        self.flushing = asyncio.Lock()
        self.committing = asyncio.Lock()
        """Held while the changelogs change, and while one is read to fill the members store."""
        self.storing = asyncio.Lock()
        """Held while the members store is written."""
        self.committed = table.record.flush
        """Number of the last flush that is durable."""
        self.unheard_of = False
        """No flush of it is known: nothing was ever folded."""
        self.committed_members = table.members.sum
        """Sum of the member changelog at that flush."""
        self._stored = table.record.flush
        """Number of the last flush that the members store reflects."""
        self._unstored = Unstored()
        self._storer: asyncio.Task[None] | None = None
        self.abandoned = False
        """Given up with what is not flushed: the next owner folds it again."""
        self.waits_for_definitions = False
        """The fold stands still, in the middle of a batch."""
        self.outbox: list[Record] = []
        self.forwards: list[Awaitable[object]] = []
        self._forwarded = (0, -1)
        self.stalled = asyncio.Event()
        """Set while a batch waits for members that Redis does not give."""
        self.asking = False
        """Redis is being asked for members."""
        self.batches: list[RecordBatch] = []
        self.suspects: list[Duplicate] = []
        self._firsts: dict[RawPlace, Arrived | None] = {}
        self.refolds: dict[Pair, None] = {}
        self.recorrecting: dict[SubscriptionName, None] = {}
        """Subscriptions whose queued refold puts other corrections in force."""
        self.refold_since_ms: int | None = None
        """Append time of the earliest definition whose refold is not swapped in."""
        self.definitions_taken = (0, -1)
        """(next offset, append time) of the definitions that the cells stand under."""
        self.definitions_seen = shared.last_definition[0]
        """Next offset of the definitions log: everything before has been taken over or queued."""
        self.schedule = Schedule(table, ())
        self.moved = False
        """Offsets or progress moved since the last flush."""
        self.flushed_ms = -1
        """Append time that the last durable flush covers."""
        self.folded_events = 0
        self.refused_events = 0
        self.blocked: tuple[int, str, int] | None = None
        """(cut, what it waits for, since when) of the cut that is held back."""
        self.woken = asyncio.Event()
        """The closer should look again."""
        self.flush_wanted = asyncio.Event()
        self.refold_wanted = asyncio.Event()
        self.advanced = asyncio.Condition()
        self.verdicts: OrderedDict[tuple[int, int], Verdict] = OrderedDict()

    @property
    def number(self) -> int:
        """Number of the partition."""
        return self.table.number

    @property
    def forwarded(self) -> tuple[int, int]:
        """(next raw offset, append time) after the last record whose forwards were sent."""
        record = self.table.record
        return max(self._forwarded, (record.raw_next, record.append_time_ms))

    @forwarded.setter
    def forwarded(self, reached: tuple[int, int]) -> None:
        self._forwarded = max(self._forwarded, reached)

    def progress(self, raw_next: int, append_time_ms: int) -> Progress:
        """What to tell all workers when everything before is forwarded and acknowledged."""
        return Progress(
            self.number,
            append_time_ms,
            self.schedule.next_ms(),
            self.table.record.epoch,
            self.shared.url,
            raw_next,
        )

    # Arrivals

    async def take(
        self,
        runs: Sequence[Run],
        *,
        raw_next: int | None = None,
        rekeyed_next: int | None = None,
        append_time_ms: int = -1,
        marks: dict[int, tuple[int, int]] | None = None,
        refused: Sequence[tuple[Refusal, RawRecord]] = (),
        corrections: Sequence[CorrectionArrival] = (),
    ) -> None:
        """Fold arrivals and move the offsets past the records they came from.

        `refused`: what else those raw records hold; it goes with the same flush.
        """
        async with self.lock:
            with self.change():
                await self._fold(runs)
                for correction in corrections:
                    self._correct(correction)
                self._refuse_raw(refused)
                record = self.table.record
                if raw_next is not None:
                    record.raw_next = raw_next
                    record.append_time_ms = max(record.append_time_ms, append_time_ms)
                if rekeyed_next is not None:
                    record.rekeyed_next = rekeyed_next
                    record.marks |= marks or {}
                self.moved = True
        async with self.advanced:
            self.advanced.notify_all()

    @contextmanager
    def change(self) -> Iterator[None]:
        """A change of the tables that is taken whole or not at all.

        What failed half-way, for want of memory or disk, is in no flush: the next owner begins at
        the last one.
        """
        try:
            yield
        except BaseException:
            self.abandoned = True
            raise

    async def _fold(self, runs: Sequence[Run]) -> None:
        for part in _slices(runs, self.shared.settings.slice_events):
            result = await self._folded(part)
            if result is None:
                return
            self._note(result)
            for _ in range(TURNS_BETWEEN_SLICES):
                await asyncio.sleep(0)

    async def _folded(self, part: Sequence[Run]) -> Slice | None:
        """Fold a slice, once its members and definitions are here; None if that is for nobody."""
        while True:
            await self._learn_members(part)
            if self._is_given_up():
                return None
            try:
                return self.table.fold(part)
            except WaitForDefinitions as wait:
                # For the first that it meets of the late events; the next may have to wait longer.
                self.waits_for_definitions = True
                try:
                    await self.definitions_past(wait.past_ms)
                finally:
                    self.waits_for_definitions = False

    def _correct(self, correction: CorrectionArrival) -> None:
        """Take a correction in; it is refolded for once every cut before it is published."""
        if self.table.correct(correction):
            self.reschedule({correction.name, *self.table.take_late_names()})

    def reschedule(self, names: Iterable[SubscriptionName]) -> None:
        """The next cuts of subscriptions may be others now, and so which corrections they show."""
        for name in sorted(names):
            self.schedule.update(name)
            if self.table.corrections.touches(name):
                wrong_ms = self.table.corrections.wrong_since(name, next_cut(self.table, name))
                if wrong_ms is not None:
                    self.recorrect([name], wrong_ms)

    def recorrect(self, names: Iterable[SubscriptionName], since_ms: int) -> None:
        """Queue a refold under the corrections that the next cuts show; those cuts wait for it."""
        for name in names:
            self.recorrecting[name] = None
            self.want_refold(self.table.pairs_of_name(name), since_ms)

    async def _learn_members(self, runs: Sequence[Run]) -> None:
        # Another task may forget members while the store is asked, hence until none is unknown.
        while unknown := self.table.unknown_members(runs):
            self.asking = True
            try:
                packed = await self._load_members(unknown)
            finally:
                self.asking = False
            for name, value in zip(unknown, packed, strict=True):
                self.table.members.learn(name, value)

    async def _load_members(self, names: list[MemberName]) -> list[bytes | None]:
        store = self.shared.members
        try:
            return await store.load_many(self.number, names)
        except MembersLost as lost:
            if self._is_given_up():
                # A newer owner fills them in, and nothing of what is folded here will be flushed.
                return [None] * len(names)
            log.warning("Members are filled in from their changelog: %s", lost)
        # What is not flushed, or not stored yet, is at hand in the table and not asked for.
        async with self.storing:
            await self._refill_members()
        return await self._load_members(names)

    async def stored_members(self, keys: Sequence[SetKey]) -> list[dict[str, bytes]] | None:
        """All packed members that the store has of sets; None while it does not answer.

        What it has lost it is given again first.
        """
        try:
            return await self.shared.members.load_sets(self.number, keys)
        except MembersSilent:
            return None
        except MembersLost as lost:
            log.warning("Members are filled in from their changelog: %s", lost)
        async with self.storing:
            await self._refill_members()
        return await self.stored_members(keys)

    async def _refill_members(self) -> None:
        number, epoch = self.number, self.table.record.epoch
        async with self.committing:
            flush, expected = self.committed, self.committed_members
            await self.shared.refill_members(number, epoch, flush, expected)
            self._stored = flush

    async def definitions_past(self, past_ms: int) -> None:
        """Wait until definitions are applied past a time; whoever can lets the log go on."""
        shared = self.shared
        shared.definitions_wanted_ms = max(shared.definitions_wanted_ms, past_ms)
        async with shared.definitions_changed:
            await shared.definitions_changed.wait_for(
                lambda: self.abandoned or shared.definitions.append_time_ms > past_ms
            )

    async def abandon(self) -> None:
        """Give the partition up as it is; a fold that waits for definitions ends."""
        self.abandoned = True
        async with self.shared.definitions_changed:
            self.shared.definitions_changed.notify_all()

    def _is_given_up(self) -> bool:
        return self.abandoned

    def _note(self, result: Slice) -> None:
        self.folded_events += result.accepted
        self.note_refused(result.refused)
        for duplicate in result.duplicates:
            if duplicate.identical is None:
                self.suspects.append(duplicate)
            else:
                self._remember(duplicate.arrival, Verdict(None, "", duplicate.identical))
        smaller, self.table.smaller_positions = self.table.smaller_positions, set()
        if smaller:
            # Whose cuts to come it changes is not worth finding out.
            self.want_refold(smaller, self.table.record.cut_ms)
        self.refold_strays()
        self.reschedule(self.table.take_late_names())

    def refold_strays(self) -> None:
        """Queue what the table has found cells of that nothing leads to."""
        strays, self.table.strays = self.table.strays, set()
        if strays:
            log.error("Cells that nothing leads to are refolded: %s", sorted(strays))
            # Every cut to come waits: what they held is missing until then.
            self.want_refold(strays, self.table.record.cut_ms)

    def note_refused(self, refused: Iterable[Refused]) -> None:
        """Events that are not taken, or turned out not to be: dead letters of the next flush."""
        for arrival, code, message in refused:
            self.refuse(_refusal(arrival, code, message), _source(self, arrival))

    def _remember(self, arrival: Arrival, verdict: Verdict) -> None:
        place = arrival.raw_partition, arrival.raw_offset, arrival.array_index
        self._remember_at(place, verdict)

    def _remember_at(self, place: RawPlace, verdict: Verdict) -> None:
        number, offset, index = place
        if number != self.number:
            # Nobody waits here for what was forwarded; an event of ours may have that offset.
            return
        self.verdicts[offset, index] = verdict
        if len(self.verdicts) > _REMEMBERED_VERDICTS:
            self.verdicts.popitem(last=False)

    # Dead letters

    def refuse(self, refusal: Refusal, source: Source, *, first: bool = True) -> None:
        """Put what is refused into the next flush.

        `first`: nothing of this raw record was refused before.
        """
        self.refused_events += 1
        settings = self.shared.settings
        topic, now_ms = settings.topic(settings.dead_letter_topic), self.shared.clock.now_ms()
        letter = dead_letter(topic, self.number, refusal, source, now_ms, first=first)
        self.outbox.append(letter)
        if source.topic == settings.topic(settings.raw_topic):
            verdict = Verdict(refusal.code, refusal.message, identical=False)
            self._remember_at((source.partition, source.offset, refusal.index), verdict)

    def _refuse_raw(self, refused: Iterable[tuple[Refusal, RawRecord]]) -> None:
        """Refuse what records of the raw topic hold, in their order."""
        topic = self.shared.settings.topic(self.shared.settings.raw_topic)
        before = -1
        for refusal, raw in refused:
            source = Source(topic, self.number, raw.offset, raw.key, raw.headers)
            self.refuse(refusal, source, first=raw.offset != before)
            before = raw.offset
            failpoint("mid-dead-letters")

    async def _read_firsts(self) -> None:
        """Read again what the suspects repeat."""
        places: set[RawPlace] = {duplicate.known[1:4] for duplicate in self.suspects}
        if missing := places - self._firsts.keys():
            found = await self.shared.find_raw(missing)
            self._firsts |= {place: found.get(place) for place in missing}

    def _judge_suspects(self) -> None:
        """Compare repeated ids with other bytes to the events they repeat."""
        suspects, self.suspects = self.suspects, []
        firsts, self._firsts = self._firsts, {}
        for duplicate in suspects:
            arrival, first = duplicate.arrival, firsts[duplicate.known[1:4]]
            identical = isinstance(first, Arrival) and same_body(first.event, arrival.event)
            loser = first if duplicate.replaced and isinstance(first, Arrival) else arrival
            if identical:
                self.table.identical_duplicates += 1
                self._remember(arrival, Verdict(None, "", identical=True))
                continue
            message = (
                f"transaction_id {quoted(arrival.event.transaction_id)} was sent before with "
                "another body; the first one counts. Send a correction to change it"
            )
            code = RefusalCode.CONFLICTING_DUPLICATE
            self.refuse(_refusal(loser, code, message), _source(self, loser))
            self._remember(arrival, Verdict(code, message, identical=False))

    # Definitions

    def define(self, touch: Touch | None, offset: int, append_time_ms: int) -> None:
        """Take over one definition that was applied."""
        if touch is not None:
            with self.change():
                pairs = self.table.touched(touch, at_ms=append_time_ms)
                if pairs:
                    self.want_refold(pairs, append_time_ms)
                self.refold_strays()
                self.reschedule({*self._names_of(touch), *self.table.take_late_names()})
        self.definitions_seen = offset + 1
        if self.refold_since_ms is None:
            self.definitions_taken = (offset + 1, append_time_ms)
        self.moved = True
        self.woken.set()

    def enter_history(self) -> None:
        """Put the next history records in force; every cut before them is published."""
        since_ms = self.table.next_history_ms()
        with self.change():
            self.want_refold(enter_history(self.table), since_ms)
            self.refold_strays()
            self.reschedule(self.table.take_late_names())
        self.moved = True

    def _names_of(self, touch: Touch) -> Iterable[SubscriptionName]:
        homes, org = self.shared.homes, touch.organization_id
        if org is not None and touch.external_subscription_ids is not None:
            names: Iterable[SubscriptionName] = (
                (org, external_id) for external_id in touch.external_subscription_ids
            )
        else:
            names = self.shared.definitions.all_subscription_keys()
        return [
            name
            for name in names
            if (org is None or name[0] == org) and homes.of(*name) == self.number
        ]

    def want_refold(self, pairs: Iterable[Pair], since_ms: int) -> None:
        """Queue pairs; cuts later than `since_ms` wait until they are swapped in."""
        wanted = dict.fromkeys(pairs)
        if not wanted:
            return
        self.refolds.update(wanted)
        self.table.refolding_pairs.update(wanted)
        self.table.stale.update((org, external_id) for org, external_id, _ in wanted)
        if self.refold_since_ms is None or since_ms < self.refold_since_ms:
            self.refold_since_ms = since_ms
        self.refold_wanted.set()

    # Flushing

    async def flush(self) -> None:
        """Write everything changed, then acknowledge it. One at a time; failing crashes.

        A caller that is cancelled leaves it running: half of a flush cannot be taken back.
        """
        running = asyncio.ensure_future(self._flush())
        running.add_done_callback(_retrieve)
        await asyncio.shield(running)

    async def _flush(self) -> None:
        async with self.flushing:
            # Most of it before the fold has to wait.
            await self._read_firsts()
            async with self.lock:
                if self._is_given_up():
                    raise Fenced(f"partition {self.number} was given up")
                await self._read_firsts()
                with self.change():
                    self._judge_suspects()
                    if not self._has_changes():
                        return
                    records, members, gone = self._taken()
                forwards = list(self.forwards)
                batches, self.batches = self.batches, []
                append_time_ms, flush = self.table.record.append_time_ms, self.table.record.flush
                members_sum = self.table.members.sum
                self.moved = False
            for forward in forwards:
                await forward
            del self.forwards[: len(forwards)]
            failpoint("before-commit")
            async with self.committing:
                await self.producer.commit(records, self._output_noted(records))
                failpoint("after-commit")
                self.committed, self.committed_members = flush, members_sum
            # Also of one that is given up: who stores an earlier flush yet goes on to this one.
            self._unstored.add(gone, members)
            if self._is_given_up():
                # Its next owner may be this very worker, and have the local disk by now.
                return
            self.flushed_ms = append_time_ms
            for batch in batches:
                self.shared.acknowledge(batch)
            self.table.index.seal_flush(flush)
            await self._store()

    def _output_noted(self, records: list[Record]) -> Conclude | None:
        """Let the partition record, the last one, say where the newest usage record comes to stand.

        A flush that publishes nothing needs no second round for it.
        """
        tp = output_tp(self.shared.settings, self.number)
        published = [record.value or b"" for record in records if record.topic == tp.topic]
        if not published:
            return None
        packed = records.pop()
        record = msgspec.msgpack.decode(packed.value or b"", type=PartitionRecord)

        def conclude(offsets: Mapping[TopicPartition, int]) -> list[Record]:
            offset, known = offsets[tp], record.output
            if known is not None and 0 <= offset < known[0] + len(published):
                found = f"{len(published)} more would end at {offset}"
                raise OutputLost(tp, known[0], found)
            if offset >= 0:
                record.output = self.table.record.output = output_mark(offset, published[-1])
            return [packed._replace(value=msgspec.msgpack.encode(record))]

        return conclude

    async def _store(self) -> None:
        """Let the members store follow; while Redis does not answer, later flushes need not wait.

        What is not stored yet stays at hand in the table, and a restart fills it in from the
        changelog.
        """
        if self._storer is None:
            self._storer = asyncio.create_task(self._store_members())
        patience_s: float | None = STORE_PATIENCE_S if self.shared.members.available else 0
        if len(self._unstored) > UNSTORED_MEMBERS:
            patience_s = None
        await asyncio.wait([self._storer], timeout=patience_s)
        if self._storer.done():
            storer, self._storer = self._storer, None
            storer.result()

    async def _store_members(self) -> None:
        number, epoch = self.number, self.table.record.epoch
        async with self.storing:
            while self._stored < self.committed:
                flush, (gone, members) = self.committed, self._unstored.all()
                try:
                    await self.shared.members.write(number, epoch, flush, gone, members)
                    self._stored = flush
                except MembersLost as lost:
                    log.warning("Members are filled in from their changelog: %s", lost)
                    await self._refill_members()
                self.table.members.written(self._unstored.remove(gone, members))

    async def halt(self) -> None:
        """Leave the members store alone from here on; the next flush would go on with it."""
        storer, self._storer = self._storer, None
        if storer is not None:
            storer.cancel()
            await asyncio.wait([storer])

    def packed_record(self) -> bytes:
        """The partition record; of more pairs than it holds it says that any may be refolding."""
        record = self.table.record
        record.refolding = tuple(sorted(self.table.refolding_pairs))
        packed = msgspec.msgpack.encode(record)
        if len(packed) > PARTITION_RECORD_BYTES:
            record.refolding = (ANY_PAIR,)
            packed = msgspec.msgpack.encode(record)
        return packed

    def _has_changes(self) -> bool:
        return self.moved or bool(self.outbox or self.forwards or self.batches)

    def _taken(self) -> tuple[list[Record], list[tuple[MemberName, bytes | None]], list[bytes]]:
        """Records of this flush, the partition record last."""
        settings, table, number = self.shared.settings, self.table, self.number
        table.record.definitions_offset, table.record.definitions_ms = self.definitions_taken
        gone = table.members.take_gone()
        changes = table.take_changes()
        records, self.outbox = self.outbox, []

        def changelog(name: str, rows: Iterable[tuple[bytes, bytes | None]]) -> None:
            topic = settings.topic(name)
            records.extend(Record(topic, number, key, value, []) for key, value in rows)

        changelog(CELLS_CHANGELOG, changes.cells)
        changelog(MEMBERS_CHANGELOG, ((member_key(name), value) for name, value in changes.members))
        changelog(PRESENCE_CHANGELOG, changes.presence)
        changelog(PUBLISHED_CHANGELOG, changes.published)
        changelog(CORRECTIONS_CHANGELOG, changes.corrections)
        rows = changes.index_rows
        chunks = range(0, len(rows), INDEX_RECORD_BYTES)
        changelog(INDEX_CHANGELOG, ((b"", rows[i : i + INDEX_RECORD_BYTES]) for i in chunks))
        progress = self.progress(table.record.raw_next, table.record.append_time_ms)
        records.append(
            Record(settings.topic(METER_PROGRESS), 0, str(number).encode(), progress.encode(), [])
        )
        changelog(CELLS_CHANGELOG, [(PARTITION_RECORD_KEY, self.packed_record())])
        return records, changes.members, gone


class Unstored:
    """Members that flushes have changed and the members store does not have yet."""

    def __init__(self) -> None:
        self._gone: list[SetKey] = []
        self._members: dict[MemberName, bytes | None] = {}

    def __len__(self) -> int:
        return len(self._members)

    def add(self, gone: Sequence[SetKey], members: Iterable[Member]) -> None:
        """What one more flush changed."""
        if gone:
            void = set(gone)
            self._gone += gone
            self._members = {n: v for n, v in self._members.items() if n[0] not in void}
        self._members.update(members)

    def all(self) -> tuple[list[SetKey], list[Member]]:
        """Sets that go, and then the members as they are to be."""
        return list(self._gone), list(self._members.items())

    def remove(self, gone: Sequence[SetKey], members: Iterable[Member]) -> list[MemberName]:
        """They are stored; those that were not changed again meanwhile."""
        del self._gone[: len(gone)]
        stored = [name for name, value in members if self._members.get(name, b"") is value]
        for name in stored:
            del self._members[name]
        return stored


class Progress(NamedTuple):
    """What a partition's owner tells all workers with every flush."""

    partition: int
    append_time_ms: int
    """Forwards of everything appended until then are acknowledged."""
    next_cut_ms: int
    """The earliest cut that waits for time to pass, on whatever partition."""
    epoch: int
    url: str
    raw_next: int

    def encode(self) -> bytes:
        """JSON with the field names, for operators who read the topic."""
        return msgspec.json.encode(self._asdict())

    @staticmethod
    def decode(value: bytes) -> Progress:
        """The progress that `encode` wrote; a newer program may say more."""
        told = msgspec.json.decode(value)
        return Progress(*(told[name] for name in Progress._fields))


def _retrieve(flush: asyncio.Future[None]) -> None:
    """Whoever asked may be gone; that it failed, the next flush says again."""
    if not flush.cancelled():
        flush.exception()


def _slices(runs: Sequence[Run], size: int) -> Iterator[list[Run]]:
    """Runs by slices of at most so many events; a longer run is cut."""
    part: list[Run] = []
    room = size
    for pair, arrivals in runs:
        while len(arrivals) > room:
            part.append((pair, arrivals[:room]))
            arrivals = arrivals[room:]
            yield part
            part, room = [], size
        part.append((pair, arrivals))
        room -= len(arrivals)
    if part:
        yield part


def _refusal(arrival: Arrival, code: RefusalCode, message: str) -> Refusal:
    return Refusal(code, message, arrival.event.body, arrival.array_index)


def _source(owned: OwnedPartition, arrival: Arrival) -> Source:
    settings, event = owned.shared.settings, arrival.event
    return Source(
        settings.topic(settings.raw_topic),
        arrival.raw_partition,
        arrival.raw_offset,
        message_key(arrival.organization_id, event.external_subscription_id),
        envelope_headers(event.envelope),
    )
