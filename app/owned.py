"""A partition that this worker owns: the asynchronous shell around its tables.

It moves data only: arrivals in, flushes out. Everything that decides is in `tables`. A flush is one
transaction (state.md §3); what it acknowledges is durable. One that the brokers do not take is kept
as it was packed, and tried until they have it or somebody else has the partition (bounded-work
§2.2).
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, OrderedDict, deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from time import monotonic
from typing import Literal, NamedTuple, TypeVar

import msgspec
from aiokafka import TopicPartition
from faust.types import TP

from app.apart import FirstFailure
from app.brokers import Brokers
from app.cancelled import asked_to_end, ended
from app.clients import NOT_TAKEN
from app.clock import Clock
from app.collecting import pass_over
from app.definitions.judging import Judging
from app.definitions.outcome import Touch
from app.definitions.state import Definitions
from app.failpoints import failpoint
from app.kafka.lenient_fetch import UnreadBatch
from app.kafka.transactions import Conclude, Fenced, PartitionProducer, Record
from app.limits import (
    CAREFUL_RECORDS,
    FLUSH_BYTES,
    FLUSH_CHANGES,
    UNSENT_BYTES,
)
from app.log import facts
from app.redis.errors import MembersLost, MembersSilent
from app.redis.members import MemberStore
from app.runtime.dead_letters import Source, dead_letters, source_of
from app.runtime.followed import FollowedDefinitions
from app.runtime.forwarder import Forwards
from app.runtime.homes import HomePartitions
from app.runtime.progress import Progress
from app.runtime.published_topic import output_mark, output_tp
from app.runtime.raw_lookup import RawPlace
from app.runtime.status import Tally
from app.schedule import Schedule
from app.settings import Settings
from app.topics import (
    CELLS_CHANGELOG,
    CORRECTIONS_CHANGELOG,
    EVENTS_REKEYED,
    INDEX_CHANGELOG,
    MEBIBYTE,
    MEMBERS_CHANGELOG,
    PRESENCE_CHANGELOG,
    PUBLISHED_CHANGELOG,
)
from app.transport import RawRecord, RecordBatch
from app.turns import STEP_ITEMS, TURN_S, Steps, Turns, Work
from app.wire.arrivals import Arrived
from app.wire.identity import comparing_bodies, event_id
from app.wire.raw import message_key
from app.wire.records import envelope_headers
from app.wire.refusals import Refusal, RefusalCode, quoted
from tables.changelog_sum import ChangelogSum
from tables.closing.close import entering_history, next_cut
from tables.corrections import CorrectionArrival
from tables.fold import Arrival, Run
from tables.members import MemberName, SetKey
from tables.partition import (
    Duplicate,
    Pair,
    Partition,
    PartitionRecord,
    Refused,
    Renewed,
    Slice,
    WaitForDefinitions,
)
from tables.presence import SubscriptionName
from tables.routes import Route

log = logging.getLogger(__name__)

_REFILLED = "Members are filled in from their changelog: %s"
_STRAYS_TOLD = 5

PARTITION_RECORD_KEY = b"\xffpartition-record"
"""Key of the partition record in the cell changelog; no cell key begins with this byte."""

PARTITION_RECORD_BYTES = 8 * MEBIBYTE
"""The partition record is written with every flush, and has to fit into the cell changelog."""

_CHANGELOGS = {
    "cells": CELLS_CHANGELOG,
    "members": MEMBERS_CHANGELOG,
    "presence": PRESENCE_CHANGELOG,
    "published": PUBLISHED_CHANGELOG,
    "corrections": CORRECTIONS_CHANGELOG,
}

ANY_PAIR: Pair = ("", "", "")
"""In place of pairs under a refold: too many to be written down. No event has empty names."""

INDEX_RECORD_BYTES = 40 * 16_000
"""Packed index rows of one flush are split into records of at most this size."""

_REMEMBERED_VERDICTS = 20_000

_JUDGED_A_STEP = 64

TURNS_BETWEEN_SLICES = 4
"""Of the event loop, once a turn: in so many a request that has come is read, begun and answered.
"""

STORE_PATIENCE_S = 2.0
"""How long a flush waits for the members store."""

UNSTORED_MEMBERS = 500_000
"""With so many members to be stored flushes wait for the store, however long it takes."""

HEARD_POLL_S = 0.1

DISK_POLL_S = 0.5

SUSPENDED_AGAIN_S = 5.0
"""A cancellation may be swallowed."""

Member = tuple[MemberName, bytes | None]
"""A changed member, packed; None: removed."""


RENEWING = Work("reschedule", "definitions")

STEPS_AT_ONCE = 64
"""Between two chances of a fold or a flush to change the tables."""

PASSED_OVER_EVERY = 4
"""Portions of steps, after which the collector looks at what they made."""

T = TypeVar("T")


class Verdict(NamedTuple):
    """Why an arrival did not count as a new event."""

    refusal: RefusalCode | None
    message: str
    identical: bool


Rebuilt = Literal["partition", "index", "members", "published"]
HeldBy = Literal["raw_behind", "peer_silent", "forwarded_behind", "definitions_behind", "refolding"]


class Blocked(NamedTuple):
    """A cut that is held back."""

    cut_ms: int
    text: str
    """What it waits for."""
    since_ms: int
    held_by: HeldBy


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
    homes: HomePartitions
    members: MemberStore
    url: str
    fail: Callable[[OwnedPartition, BaseException], None]
    """Something of a partition failed, not to be tried again: it is restored or goes elsewhere."""
    report: Callable[[Progress], None]
    """Tell all workers how far a partition is; at once, or when the brokers are back."""
    group_heard_s: Callable[[], float]
    """Monotonic time of the group's last answer that we are in it."""
    brokers: Brokers
    acknowledge: Callable[[RecordBatch], bool]
    refill_members: Callable[[int, int, int, ChangelogSum], Awaitable[None]]
    """Fill the members store anew from the changelog: (partition, epoch, flush, its sum)."""
    find_raw: Callable[[Iterable[RawPlace]], Awaitable[dict[RawPlace, Arrived]]]
    """Elements of raw records, without those that the log has no longer."""
    log_starts: Callable[[int], Awaitable[tuple[int, int]]]
    """The first offsets that events-raw and events-rekeyed of a partition still have."""
    followed: FollowedDefinitions
    first_failure: FirstFailure
    """How events are tried that may end the process."""
    tally: Tally = field(default_factory=Tally)
    turns: Turns = field(default_factory=Turns)
    """Who may hold the event loop now."""
    rebuilds: Counter[Rebuilt] = field(default_factory=Counter)
    """What was torn or lost and made again: partition, index, members or published."""
    unsent_bytes: int = 0
    """Of all flushes that are packed and not committed."""


class Unsent:
    """A flush as it was packed, until the brokers have it."""

    def __init__(
        self,
        records: list[Record],
        members: list[Member],
        gone: list[SetKey],
        batches: list[RecordBatch],
        forwards: int,
        progress: Progress,
        members_sum: ChangelogSum,
    ):
        self.records = records
        """The partition record is the last one."""
        self.members = members
        self.gone = gone
        self.batches = batches
        self.forwards = forwards
        """How many forwards of the partition are acknowledged before it is committed."""
        self.progress = progress
        self.members_sum = members_sum
        self.record = msgspec.msgpack.decode(records[-1].value or b"", type=PartitionRecord)
        self.bytes = sum(len(each.key or b"") + len(each.value or b"") for each in records)
        self.tried: set[bytes] = set()
        """Digests of the partition records that it may have been committed with."""
        self.newest = b""
        """The digest of the last try."""
        self.doubtful_s: float | None = None
        """Since when a commit of it has no answer; None: nothing of it is written."""


class OwnedPartition:
    """State and traffic of one owned partition."""

    def __init__(
        self,
        table: Partition,
        producer: PartitionProducer,
        shared: Shared,
        durable: bytes | None = None,
    ):
        """`durable`: the newest committed partition record; None: there is none."""
        self.table = table
        self.producer = producer
        self.shared = shared
        self.shaping = asyncio.Lock()
        """Held while a cut is taken, definitions are looked at or a refold is swapped in: one of
        them at a time, each in many turns. Taken before `lock`."""
        self.lock = asyncio.Lock()
        """Held while arrivals and offsets move together, while a flush is taken, while cells are
        swapped; never while the flush is sent."""
        self.flushing = asyncio.Lock()
        self.committing = asyncio.Lock()
        """Held while the changelogs change, and while one is read to fill the members store."""
        self.storing = asyncio.Lock()
        """Held while the members store is written."""
        self.unsent: Unsent | None = None
        """A flush that is packed and not committed, as far as we know."""
        self._durable = None if durable is None else _digest(durable)
        self._sent = asyncio.Event()
        """Set while no flush is unsent."""
        self._sent.set()
        self._flushes: set[asyncio.Future[None]] = set()
        """Under way, or waiting for one that is."""
        self._failing = False
        self._work = Work("fold", "events", f"partition {table.number}")
        self.committed = table.record.flush
        """Number of the last flush that is durable."""
        self.folds_anew = False
        """Its logs are folded from their start."""
        self.unheard_of = False
        """No flush of it is known: nothing was ever folded."""
        self.committed_members = table.members.sum
        """Sum of the member changelog at that flush."""
        self.attempt = table.record.attempt
        """At the take-over: how many, this one included, since a flush moved an offset."""
        self.careful_records = CAREFUL_RECORDS if self.attempt > 0 else 0
        """So many records are tried before they are folded: nobody handed the partition over."""
        self.leaving = False
        """The next flush hands the partition over."""
        self._offsets = (table.record.raw_next, table.record.rekeyed_next)
        self._stored = table.record.flush
        """Number of the last flush that the members store reflects."""
        self._unstored = Unstored()
        self._storer: asyncio.Task[None] | None = None
        self.abandoned = False
        """Given up with what is not flushed: the next owner folds it again."""
        self.waits_for_definitions = False
        """The fold stands still, in the middle of a batch."""
        self.outbox: list[Record] = []
        self._outbox_measured = (0, 0)
        """(records, bytes) of the outbox."""
        self.forwards = Forwards()
        self._forwarded = (0, -1)
        self.disk_full: tuple[int, str] | None = None
        """(since when, what is wanted): the fold stands until local disk takes more."""
        self.stalled = asyncio.Event()
        """Set while a batch waits for members that Redis does not give."""
        self.asking = False
        """Redis is being asked for members."""
        self.batches: list[RecordBatch] = []
        self.suspects: deque[Duplicate] = deque()
        self._firsts: dict[RawPlace, Arrived | None] = {}
        self.refolds: dict[Pair, None] = {}
        self.recorrecting: dict[SubscriptionName, None] = {}
        """Subscriptions whose queued refold puts other corrections in force."""
        self.refold_most = 0
        """So many subscriptions at a time, for a refold of more has failed; 0: all of them."""
        self.refold_since_ms: int | None = None
        """Append time of the earliest definition whose refold is not swapped in."""
        self.definitions_taken = (0, -1)
        """(next offset, append time) of the definitions that the cells stand under."""
        self.definitions_seen = shared.followed.last[0]
        """Next offset of the definitions log: everything before has been taken over or queued."""
        self.schedule = Schedule(table, ())
        self.unscheduled: dict[SubscriptionName, None] = {}
        """Those of the cut that is being taken: their next cuts are looked for when it is whole."""
        self.moved = False
        """Offsets or progress moved since the last flush."""
        self.folded_events = 0
        self.blocked: Blocked | None = None
        """(cut, what it waits for, since when) of the cut that is held back."""
        self.woken = asyncio.Event()
        """The closer should look again."""
        self.flush_wanted = asyncio.Event()
        self.refold_wanted = asyncio.Event()
        self.renew_wanted = asyncio.Event()
        self.advanced = asyncio.Condition()
        self.verdicts: OrderedDict[tuple[int, int], Verdict] = OrderedDict()

    @property
    def unstored_members(self) -> int:
        """Members that are flushed and that the store has yet to be given."""
        return len(self._unstored)

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

    def next_offsets(self) -> dict[TP, int]:
        """Return where each of its logs is to be folded on from."""
        settings, record = self.shared.settings, self.table.record
        return {
            TP(settings.topic(settings.raw_topic), self.number): record.raw_next,
            TP(settings.topic(EVENTS_REKEYED), self.number): record.rekeyed_next,
        }

    def begin_at(self, raw_next: int, rekeyed_next: int) -> None:
        """Begin where the logs do: nothing was ever folded of it, and nobody failed over it."""
        self.table.record.raw_next, self.table.record.rekeyed_next = raw_next, rekeyed_next
        self._offsets = raw_next, rekeyed_next
        self.careful_records = 0

    def pass_over_until(self, raw_next: int) -> None:
        """Go on behind raw records that are set aside and no longer there."""
        self.table.record.raw_next = raw_next

    def note_moved(self) -> None:
        """Let the next flush write the partition record, whatever else has changed."""
        self.moved = True

    # Coming and going

    def hand_over(self) -> None:
        """Let the next flush be the last one here: whoever comes next need not be careful."""
        self.leaving = self.moved = True

    def take_back(self) -> None:
        """Go on as it was left; batches of before are delivered again."""
        self.batches.clear()
        self.leaving, self.table.record.attempt = False, 0
        self.moved = True

    async def leave(self) -> None:
        """Leave it as it is, unsent flush and all."""
        await self.suspend()
        await self.halt()

    def mark_abandoned(self) -> None:
        """Write nothing of it any more."""
        self.abandoned = True

    async def give_up(self) -> None:
        """Write nothing of it from here on, wherever it is in use yet."""
        await self.abandon()
        # Nor begun: a producer that starts later would fence the next owner's.
        await self.leave()
        await self.producer.stop()
        self.shared.brokers.note_taken(self.number)

    async def close(self) -> None:
        """Leave it, and let go of its producer and its files."""
        await self.leave()
        await self.producer.stop()
        self.table.index.close()

    def is_between_flushes(self) -> bool:
        """Whether a flush is packed whole, or none is being packed."""
        return self.unsent is not None or not self.lock.locked()

    def can_store_members(self) -> bool:
        """Whether Redis answers."""
        return self.shared.members.available

    # Arrivals

    async def take(
        self,
        runs: Sequence[Run],
        *,
        raw_next: int | None = None,
        rekeyed_next: int | None = None,
        append_time_ms: int = -1,
        marks: dict[int, tuple[int, int]] | None = None,
        refused: Sequence[tuple[Refusal, RawRecord | UnreadBatch]] = (),
        corrections: Sequence[CorrectionArrival] = (),
    ) -> None:
        """Fold arrivals and move the offsets past the records they came from.

        `refused`: what else those raw records hold; it goes with the same flush.
        """
        await self._room()
        async with self.lock:
            with self.change():
                await self._fold(runs)
                if corrections:
                    await self.shared.turns.run(self._work, self._correcting(corrections))
                await self._refuse_raw(refused)
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

    async def _room(self) -> None:
        """Stand still while as much as a flush holds waits behind one that is not taken."""
        while not self._is_given_up():
            if self._lacks_disk():
                await asyncio.sleep(DISK_POLL_S)
                self.table.index.try_disk_again()
                continue
            full = self._is_full()
            if full:
                self.flush_wanted.set()
            if self.unsent is None or not (full or self.shared.unsent_bytes >= UNSENT_BYTES):
                return
            await self._sent.wait()

    def _lacks_disk(self) -> bool:
        """Whether memory is used up by what local disk does not take."""
        index, directory = self.table.index, self.shared.settings.state_dir
        wanted = index.wanted_disk_bytes
        if not wanted:
            self.disk_full = None
        elif self.disk_full is None:
            text = (
                f"METER_STATE_DIR ({directory}) takes no more ({index.disk_error}): the event "
                f"index of partition {self.number} wants {wanted} bytes; until then it stands"
            )
            self.disk_full = self.shared.clock.now_ms(), text
        return bool(wanted)

    def _is_full(self) -> bool:
        """Whether the next flush holds as much as one should."""
        count, size = self._outbox_measured
        size += sum(len(record.value or b"") for record in self.outbox[count:])
        self._outbox_measured = len(self.outbox), size
        changes = self.table.pending_changes() + len(self.outbox)
        return changes >= FLUSH_CHANGES or size + self.table.index.pending_bytes >= FLUSH_BYTES

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
        clock = self.shared.turns.clock
        begun_s = clock()
        size = self.shared.settings.slice_events
        for part in _slices(runs, size, self.table.route_of, clock):
            if clock() - begun_s >= TURN_S:
                for _ in range(TURNS_BETWEEN_SLICES):
                    await asyncio.sleep(0)
                begun_s = clock()
            result = await self._folded(part)
            if result is None:
                return
            self._note(result)

    async def _folded(self, part: Sequence[Run]) -> Slice | None:
        """Fold a slice, once its members and definitions are here; None if that is for nobody."""
        while True:
            try:
                found = await self.shared.turns.run(self._work, self._fold_slice(part))
            except WaitForDefinitions as wait:
                # For the first that it meets of the late events; the next may have to wait longer.
                self.waits_for_definitions = True
                try:
                    await self.definitions_past(wait.past_ms)
                finally:
                    self.waits_for_definitions = False
                continue
            if not isinstance(found, list):
                return found
            await self._learn_members(found)

    def _fold_slice(self, part: Sequence[Run]) -> Steps[Slice | list[MemberName] | None]:
        """In one step: fold it, or tell which members have to be learnt before."""
        yield from ()
        if self._is_given_up():
            return None
        # Another task may have forgotten members since they were learnt.
        return self.table.unknown_members(part) or self.table.fold(part)

    def _correcting(self, corrections: Iterable[CorrectionArrival]) -> Steps[None]:
        """Take corrections in; each is refolded for once every cut before it is published."""
        for correction in corrections:
            if self.table.correct(correction):
                self.reschedule({correction.name, *self.table.take_late_names()})
            yield

    def reschedule(self, names: Iterable[SubscriptionName]) -> None:
        """The next cuts of subscriptions may be others now, and so which corrections they show."""
        for name in sorted(names):
            if self._schedule(name) and self.table.corrections.touches(name):
                wrong_ms = self.table.corrections.wrong_since(name, next_cut(self.table, name))
                if wrong_ms is not None:
                    self.recorrect([name], wrong_ms)

    def _schedule(self, name: SubscriptionName) -> bool:
        """Note when its next cut is, if that can be told; the others' go on without it."""
        try:
            self.schedule.update(name)
        except MemoryError:
            raise
        except Exception as error:
            log.exception("It cannot be told when the next cut of %s is", name)
            self.schedule.drop(name)
            self.table.parked[name] = repr(error)
            return False
        return True

    def recorrect(self, names: Iterable[SubscriptionName], since_ms: int) -> None:
        """Queue a refold under the corrections that the next cuts show; those cuts wait for it."""
        for name in names:
            self.recorrecting[name] = None
            self.want_refold(self.table.pairs_of_name(name), since_ms)

    async def _learn_members(self, unknown: list[MemberName]) -> None:
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
            log.warning(_REFILLED, lost, extra=facts("note", partition=self.number))
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
            log.warning(_REFILLED, lost, extra=facts("note", partition=self.number))
        async with self.storing:
            await self._refill_members()
        return await self.stored_members(keys)

    async def _refill_members(self) -> None:
        number, epoch = self.number, self.table.record.epoch
        self.shared.rebuilds["members"] += 1
        while True:
            async with self.committing:
                if self.unsent is None or self.unsent.doubtful_s is None:
                    flush, expected = self.committed, self.committed_members
                    try:
                        await self.shared.refill_members(number, epoch, flush, expected)
                    except NOT_TAKEN as error:
                        text, extra = (
                            "Members are filled in when Kafka is back: %r",
                            facts("note", partition=self.number),
                        )
                        log.warning(text, error, extra=extra)
                        await self.shared.brokers.pause(0)
                        continue
                    self._stored = flush
                    return
            # What the changelog stands at is known again when the flush is sent or given up.
            await self._sent.wait()

    async def reads_beyond_retention(self, correction: CorrectionArrival) -> bool:
        """Whether a correction needs events read again that are deleted."""
        identity = event_id(*correction.name, correction.correction.transaction_id)
        table = self.table
        if table.index.find(identity) is None:
            return False
        pairs = table.pairs_of_name(correction.name)
        return bool(table.names_before(pairs, *await self.shared.log_starts(self.number)))

    async def definitions_past(self, past_ms: int) -> None:
        """Wait until definitions are applied past a time; whoever can lets the log go on."""
        shared, followed = self.shared, self.shared.followed
        followed.want(past_ms)
        async with followed.changed:
            await followed.changed.wait_for(
                lambda: self.abandoned or shared.definitions.append_time_ms > past_ms
            )

    async def abandon(self) -> None:
        """Give the partition up as it is; a fold that waits for definitions ends."""
        self.abandoned = True
        self._forget_unsent()
        async with self.shared.followed.changed:
            self.shared.followed.changed.notify_all()

    def is_failing(self) -> bool:
        """The brokers did not take the flush under way when it was tried last."""
        return self._failing

    def _is_given_up(self) -> bool:
        return self.abandoned

    def _note(self, result: Slice) -> None:
        self.folded_events += result.accepted
        if self.table.ignored:
            self.shared.tally.not_counted.update(self.table.ignored)
            self.table.ignored.clear()
        self.note_refused(result.refused)
        for duplicate in result.duplicates:
            if duplicate.identical is None:
                self.suspects.append(duplicate)
            else:
                self.shared.tally.duplicates["identical"] += 1
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
            named, text = sorted(strays), "Cells of %s pairs lead nowhere and are refolded: %s"
            extra = facts("note", partition=self.number)
            log.error(text, len(named), named[:_STRAYS_TOLD], extra=extra)
            # Every cut to come waits: what they held is missing until then.
            self.want_refold(strays, self.table.record.cut_ms)

    def note_refused(self, refused: Iterable[Refused]) -> None:
        """Events that are not taken, or turned out not to be: dead letters of the next flush."""
        self.refuse(
            (_refusal(arrival, code, message), _source(self, arrival))
            for arrival, code, message in refused
        )

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

    def refuse(self, refused: Iterable[tuple[Refusal, Source]]) -> None:
        """Put what is refused into the next flush."""
        settings = self.shared.settings
        topic, now_ms = settings.topic(settings.dead_letter_topic), self.shared.clock.now_ms()
        raw_topic = settings.topic(settings.raw_topic)
        records: dict[tuple[object, ...], tuple[Source, list[Refusal]]] = {}
        for refusal, source in refused:
            self.shared.tally.refused[refusal.code] += 1
            if source.topic == raw_topic:
                verdict = Verdict(refusal.code, refusal.message, identical=False)
                self._remember_at((source.partition, source.offset, refusal.index), verdict)
            name = (*source[:3], source.organization_id)
            records.setdefault(name, (source, []))[1].append(refusal)
        for source, refusals in records.values():
            self.outbox += dead_letters(topic, self.number, refusals, source, now_ms)
            failpoint("mid-dead-letters")

    async def _refuse_raw(self, refused: Sequence[tuple[Refusal, RawRecord | UnreadBatch]]) -> None:
        """Refuse what records of the raw topic hold, in their order, a record at a turn."""
        topic = self.shared.settings.topic(self.shared.settings.raw_topic)
        judging = Judging.by(self.shared.definitions)
        records: dict[int, list[tuple[Refusal, RawRecord | UnreadBatch]]] = {}
        for each in refused:
            records.setdefault(each[1].offset, []).append(each)
        for together in records.values():
            source = source_of(topic, self.number, together[0][1], judging)
            self.refuse((refusal, source) for refusal, _ in together)
            await asyncio.sleep(0)

    async def _judge_suspects(self) -> None:
        """Compare repeated ids with other bytes to the events they repeat, a turn at a time."""
        while self.suspects:
            places: set[RawPlace] = {duplicate.known[1:4] for duplicate in self.suspects}
            if missing := places - self._firsts.keys():
                found = await self.shared.find_raw(missing)
                self._firsts |= {place: found.get(place) for place in missing}
            await self.shared.turns.run(
                Work(
                    "duplicates",
                    f"partition {self.number}",
                    self.suspects[0].arrival.organization_id,
                ),
                self._judging(),
            )
        self._firsts.clear()

    def _judging(self) -> Steps[None]:
        """Suspects whose first arrivals are read already; each is judged once, or left."""
        refused: list[tuple[Refusal, Source]] = []
        try:
            while self.suspects and self.suspects[0].known[1:4] in self._firsts:
                duplicate = self.suspects[0]
                arrival, first = duplicate.arrival, self._firsts[duplicate.known[1:4]]
                identical = False
                if isinstance(first, Arrival):
                    identical = yield from comparing_bodies(first.event, arrival.event)
                self.suspects.popleft()
                if identical:
                    self.shared.tally.duplicates["identical"] += 1
                    self._remember(arrival, Verdict(None, "", identical=True))
                else:
                    loser = first if duplicate.replaced and isinstance(first, Arrival) else arrival
                    refused.append(self._refuse_repeated(arrival, loser))
                    if len(refused) == _JUDGED_A_STEP:
                        self.refuse(refused)
                        refused.clear()
                yield
        finally:
            self.refuse(refused)

    def _refuse_repeated(self, arrival: Arrival, loser: Arrival) -> tuple[Refusal, Source]:
        message = (
            f"transaction_id {quoted(arrival.event.transaction_id)} was sent before with "
            "another body; the first one counts. Send a correction to change it"
        )
        code = RefusalCode.CONFLICTING_DUPLICATE
        self.shared.tally.duplicates["conflicting"] += 1
        self._remember(arrival, Verdict(code, message, identical=False))
        return _refusal(loser, code, message), _source(self, loser)

    # Definitions

    def define(self, touch: Touch | None, offset: int, append_time_ms: int) -> None:
        """Take note of one definition that was applied; `renew` looks at whom it concerns."""
        if touch is not None:
            self.table.tell(touch, append_time_ms)
            self.renew_wanted.set()
        self.definitions_seen = offset + 1
        self.note_definitions(offset + 1, append_time_ms)
        self.moved = True
        self.woken.set()

    def note_definitions(self, offset: int, append_time_ms: int) -> None:
        """The cells stand under all definitions until then, unless something is left to do."""
        if self.refold_since_ms is None and self.table.behind_since_ms is None:
            self.definitions_taken = (offset, append_time_ms)

    async def renew(self) -> None:
        """Look at whom definitions concern, in turns; cuts at or after them wait for that."""
        async with self.shaping:
            while (since_ms := self.table.behind_since_ms) is not None:
                with closing(self.table.renewing()) as looking:
                    await self.work_on(RENEWING, self._take_over(looking, since_ms))
                self.note_definitions(*self.shared.followed.last)
                self.moved = True
        self.woken.set()

    async def enter_history(self) -> None:
        """Put the next history records in force; every cut before them is published."""
        since_ms = self.table.next_history_ms()
        with closing(entering_history(self.table)) as looking:
            await self.work_on(RENEWING, self._take_over(looking, since_ms))
        self.moved = True

    def _take_over(self, looking: Iterator[Renewed | None], since_ms: int) -> Steps[None]:
        """Queue what has to be refolded for it, and the cuts that are others now."""
        for renewed in looking:
            if renewed is not None:
                self.want_refold(renewed.refold, since_ms)
                if renewed.cut_moved and self._is_home(renewed.name):
                    self.reschedule([renewed.name])
                self.table.spare(renewed.name)
            yield
        self.refold_strays()
        self.reschedule(self.table.take_late_names())

    async def work_on(self, work: Work, steps: Generator[None, None, T]) -> T:
        """Change the tables in small steps, each whole; a flush or a fold may come between them."""
        turns, urgent, portions = self.shared.turns, work._replace(urgent=True), 0
        while True:
            # It waits for its share of time first: meanwhile the fold need not.
            await turns.wait(work)
            async with self.lock:
                ended = await turns.run(urgent, self._portion(steps))
            if ended is not None:
                return ended[0]
            portions += 1
            if portions % PASSED_OVER_EVERY == 0:
                with turns.holding(work):
                    pass_over()

    def _portion(self, steps: Generator[None, None, T]) -> Steps[tuple[T] | None]:
        """Some steps; what they come to if these were the last ones."""
        for _ in range(STEPS_AT_ONCE):
            with self.change():
                try:
                    next(steps)
                except StopIteration as end:
                    return (end.value,)
            yield
        return None

    def _is_home(self, name: SubscriptionName) -> bool:
        return self.shared.homes.of(*name) == self.number

    def rescheduling(self) -> Steps[None]:
        """When the next cuts are of those whose cut was taken."""
        while self.unscheduled:
            name, _ = self.unscheduled.popitem()
            self.reschedule([name])
            yield

    def scheduling(self) -> Steps[None]:
        """Learn of a restored partition when its cuts are, and pack what need not be at hand."""
        for name in list(self.shared.definitions.all_subscription_keys()):
            if self._is_home(name) and self._schedule(name):
                self.table.cool(name)
            yield

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
        """Write everything changed, then acknowledge it. One at a time, tried until it is taken.

        A caller that is cancelled leaves it running: half of a flush cannot be taken back.

        Raises:
            Fenced: somebody else has the partition, or it was given up here.
        """
        running = asyncio.ensure_future(self._flush())
        self._flushes.add(running)
        running.add_done_callback(self._flushes.discard)
        running.add_done_callback(_retrieve)
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            if running.cancelled() and not asked_to_end():
                raise Fenced(f"the flush of partition {self.number} was left as it is") from None
            raise

    async def suspend(self) -> None:
        """Leave the flush under way as it is; the next call of `flush` goes on with it."""
        while running := set(self._flushes):
            for each in running:
                each.cancel()
            await asyncio.wait(running, timeout=SUSPENDED_AGAIN_S)

    async def _flush(self) -> None:
        async with self.flushing:
            if self.unsent is not None:
                await self._deliver(self.unsent)
            await self._patiently(self._pack)
            if self.unsent is not None:
                await self._deliver(self.unsent)

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> None:
        """Try until the brokers let it be done; they may be away for any time."""
        brokers, tries = self.shared.brokers, 0
        while True:
            try:
                await step()
            except NOT_TAKEN as error:
                if self._is_given_up():
                    raise Fenced(f"partition {self.number} was given up") from error
                self._failing = True
                brokers.note_refused(self.number, error)
                await brokers.pause(tries)
                tries += 1
            else:
                self._failing = False
                brokers.note_taken(self.number)
                return

    async def _pack(self) -> None:
        """Take what has changed out of the tables, if anything has."""
        # Most of it before the fold has to wait.
        await self._judge_suspects()
        async with self.lock:
            if self._is_given_up():
                raise Fenced(f"partition {self.number} was given up")
            await self._judge_suspects()
            if self._has_changes():
                # What is packed half is lost.
                await ended(asyncio.create_task(self._take_out()))

    async def _take_out(self) -> None:
        # What moves from here on goes with the next flush.
        self.moved = False
        work = Work("flush", f"partition {self.number}")
        with self.change():
            records, members, gone = await self.shared.turns.run(work, self._taking())
        batches, self.batches = self.batches, []
        record = self.table.record
        progress = self.progress(record.raw_next, record.append_time_ms)
        unsent = Unsent(
            records,
            members,
            gone,
            batches,
            self.forwards.count,
            progress,
            self.table.members.sum,
        )
        self.unsent = unsent
        self.shared.unsent_bytes += unsent.bytes
        self._sent.clear()

    async def _deliver(self, unsent: Unsent) -> None:
        began_s = monotonic()
        async with self.committing:
            await self._patiently(lambda: self._commit(unsent))
            self.committed, self.committed_members = unsent.record.flush, unsent.members_sum
            # Also of one that is given up: who stores an earlier flush yet goes on to this one.
            self._unstored.add(unsent.gone, unsent.members)
            self._forget_unsent()
        self.shared.report(unsent.progress)
        tally = self.shared.tally
        tally.flushed_ms[self.number] = self.shared.clock.now_ms()
        tally.flush_seconds.observe(monotonic() - began_s)
        tally.flush_bytes.observe(unsent.bytes)
        if self._is_given_up():
            # Its next owner may be this very worker, and have the local disk by now.
            return
        for batch in unsent.batches:
            self.shared.acknowledge(batch)
        self.table.index.seal_flush(unsent.record.flush)
        if self.table.index.disk_error is not None:
            self.table.index.try_disk_again()
        await self._store()

    def _forget_unsent(self) -> None:
        if self.unsent is not None:
            self.shared.unsent_bytes -= self.unsent.bytes
        self.unsent = None
        self._sent.set()

    async def _commit(self, unsent: Unsent) -> None:
        """Commit the flush, unless a try before has done so.

        Raises:
            Fenced: another owner has committed something since.
        """
        if self._is_given_up():
            raise Fenced(f"partition {self.number} was given up")
        if unsent.doubtful_s is not None and await self._is_committed(unsent):
            return
        await self.forwards.settle(unsent.forwards)
        failpoint("before-commit")
        unsent.doubtful_s = monotonic()
        try:
            with self.shared.brokers.awaited(self.number):
                await self.producer.commit(*self._output_noted(unsent))
            self.shared.brokers.note_answer("commit", monotonic() - unsent.doubtful_s)
        except BaseException:
            unsent.doubtful_s = monotonic()
            raise
        failpoint("after-commit")
        self._durable = unsent.newest

    async def _is_committed(self, unsent: Unsent) -> bool:
        """Whether a try whose answer is not known was carried out; nothing of it is open then."""
        while self.shared.group_heard_s() <= (unsent.doubtful_s or 0.0):
            # The partition may be somebody else's by now, and a new producer would fence them.
            await asyncio.sleep(HEARD_POLL_S)
            if self._is_given_up():
                raise Fenced(f"partition {self.number} was given up")
        await self.producer.replace()
        topic = self.shared.settings.topic(CELLS_CHANGELOG)
        newest = await self.producer.newest(topic, PARTITION_RECORD_KEY)
        found = None if newest is None else _digest(newest)
        if newest is not None and found in unsent.tried:
            self._durable = found
            self.table.record.output = msgspec.msgpack.decode(newest, type=PartitionRecord).output
            return True
        if found != self._durable:
            raise Fenced(f"another worker has flushed partition {self.number}")
        self.shared.brokers.sent_again += 1
        unsent.doubtful_s = None
        unsent.tried.clear()
        return False

    def _output_noted(self, unsent: Unsent) -> tuple[list[Record], Conclude | None]:
        """Let the partition record, the last one, say where the newest usage record comes to stand.

        A flush that publishes nothing needs no second round for it.
        """
        tp = output_tp(self.shared.settings, self.number)
        published = [record.value or b"" for record in unsent.records if record.topic == tp.topic]
        packed = unsent.records[-1]

        def conclude(offsets: Mapping[TopicPartition, int]) -> list[Record]:
            record = msgspec.msgpack.decode(packed.value or b"", type=PartitionRecord)
            offset, known = offsets[tp], record.output
            if known is not None and 0 <= offset < known[0] + len(published):
                found = f"{len(published)} more would end at {offset}"
                raise OutputLost(tp, known[0], found)
            if offset >= 0:
                record.output = self.table.record.output = output_mark(offset, published[-1])
            return [self._tried(unsent, packed._replace(value=msgspec.msgpack.encode(record)))]

        if not published:
            self._tried(unsent, packed)
            return unsent.records, None
        return unsent.records[:-1], conclude

    def _tried(self, unsent: Unsent, packed: Record) -> Record:
        """Note what a commit that succeeds leaves as the newest partition record."""
        unsent.newest = _digest(packed.value or b"")
        unsent.tried.add(unsent.newest)
        return packed

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
                    log.warning(_REFILLED, lost, extra=facts("note", partition=self.number))
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
        record.behind = self.table.behind_since_ms is not None
        packed = msgspec.msgpack.encode(record)
        if len(packed) > PARTITION_RECORD_BYTES:
            record.refolding = (ANY_PAIR,)
            packed = msgspec.msgpack.encode(record)
        return packed

    def _has_changes(self) -> bool:
        return self.moved or bool(self.outbox or self.batches)

    def _taking(self) -> Steps[tuple[list[Record], list[Member], list[SetKey]]]:
        """Records of this flush, the partition record last."""
        settings, table, number = self.shared.settings, self.table, self.number
        table.record.definitions_offset, table.record.definitions_ms = self.definitions_taken
        offsets = (table.record.raw_next, table.record.rekeyed_next)
        if offsets != self._offsets:
            self._offsets, table.record.attempt = offsets, 0
        if self.leaving:
            # Whoever takes it over need not be careful.
            table.record.attempt = -1
        gone = table.members.take_gone()
        records, self.outbox = self.outbox, []
        self._outbox_measured = (0, 0)
        changes = yield from table.taking_changes()
        topics = {name: settings.topic(full) for name, full in _CHANGELOGS.items()}
        for name, key, value in table.rows_of(changes):
            records.append(Record(topics[name], number, key, value, []))
            if len(records) % STEP_ITEMS == 0:
                yield
        rows, topic = changes.index_rows, settings.topic(INDEX_CHANGELOG)
        for first in range(0, len(rows), INDEX_RECORD_BYTES):
            records.append(Record(topic, number, b"", rows[first : first + INDEX_RECORD_BYTES], []))
        # Bounded by itself: of more pairs than it holds it says that any may be refolding.
        topic, packed = settings.topic(CELLS_CHANGELOG), self.packed_record()
        records.append(Record(topic, number, PARTITION_RECORD_KEY, packed, []))
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


def _digest(packed_record: bytes) -> bytes:
    return blake2b(packed_record, digest_size=16).digest()


def _retrieve(flush: asyncio.Future[None]) -> None:
    """Whoever asked may be gone; that it failed, the next flush says again."""
    if not flush.cancelled():
        flush.exception()


def _slices(
    runs: Sequence[Run],
    size: int,
    route_of: Callable[[Pair], Route],
    clock: Callable[[], float],
) -> Iterator[list[Run]]:
    """Runs by slices that take as long as so many plain events; a longer run is cut.

    A slice ends as well when a turn is over: first events have their routes compiled here, and one
    of many years takes as long as hundreds of events.
    """
    part: list[Run] = []
    room, begun_s = size, clock()
    for pair, arrivals in runs:
        weight = route_of(pair).weight
        while len(arrivals) * weight > room:
            # One at least, however much it weighs.
            fitting = max(room // weight, not part)
            if fitting:
                part.append((pair, arrivals[:fitting]))
                arrivals = arrivals[fitting:]
            yield part
            part, room, begun_s = [], size, clock()
        if arrivals:
            part.append((pair, arrivals))
            room -= len(arrivals) * weight
        if part and clock() - begun_s >= TURN_S:
            yield part
            part, room, begun_s = [], size, clock()
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
        arrival.organization_id,
    )
