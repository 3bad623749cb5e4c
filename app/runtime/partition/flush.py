"""Flush: everything that changed in a partition, in one transaction (state.md §3).

What a flush acknowledges is durable. One that the brokers do not take is kept as it was packed, and
tried until they have it or somebody else has the partition (bounded-work §2.2).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import repeat
from time import monotonic

import msgspec

from app.bounds.cancellation import asked_to_end, ended, retrieve
from app.bounds.limits import FLUSH_BYTES, FLUSH_CHANGES
from app.bounds.turns import Steps, Work
from app.kafka.clients import NOT_TAKEN
from app.kafka.topics import CELLS_CHANGELOG, FIGURES_CHANGELOG, INDEX_CHANGELOG
from app.kafka.transactions import Fenced, Record
from app.ledger.ledger import Ledger
from app.runtime.context import WorkerContext
from app.runtime.partition.commit import Commits, Committer, MemberChanges, Unsent
from app.runtime.partition.cuts import Cuts
from app.runtime.partition.duplicates import Duplicates
from app.runtime.partition.forwarder import Forwards
from app.runtime.partition.life import Life
from app.runtime.partition.member_sync import MemberSync
from app.runtime.partition.next_flush import NextFlush
from app.runtime.partition.refold_queue import RefoldQueue
from app.runtime.topics.changelogs import (
    ANY_METER_KEY,
    CHANGELOGS,
    CHECKPOINT_BYTES,
    CHECKPOINT_KEY,
    MOST_REFOLDING,
    PLACE_HEADER,
)
from tables.event_index.log import log_records
from tables.partition.partition import Partition

PACKED_IN_TURN_S = 0.25
"""For how long others wait to be packed for a partition whose fold goes on."""

SUSPENDED_AGAIN_S = 5.0
"""A cancellation may be swallowed."""


class FlushPacking:
    """Takes what changed out of the tables of one partition."""

    def __init__(
        self,
        state: Partition,
        context: WorkerContext,
        next_flush: NextFlush,
        refold_queue: RefoldQueue,
        cuts: Cuts,
        forwards: Forwards,
        ledger: Ledger,
    ):
        self._state = state
        self._context = context
        self._next_flush = next_flush
        self._refold_queue = refold_queue
        self._cuts = cuts
        self._forwards = forwards
        self._ledger = ledger
        self._offsets = (state.checkpoint.raw_next, state.checkpoint.rekeyed_next)
        """At the last flush."""
        self._told_ms = state.checkpoint.append_time_ms
        """Append time of the progress that was told last."""

    def begin_at(self, raw_next: int, rekeyed_next: int) -> None:
        """Note where the logs of a partition begin that nothing was ever folded of."""
        checkpoint = self._state.checkpoint
        checkpoint.raw_next, checkpoint.rekeyed_next = raw_next, rekeyed_next
        self._offsets = raw_next, rekeyed_next

    def has_changes(self) -> bool:
        """Return whether there is anything to flush."""
        return not self._next_flush.is_empty()

    def may_wait(self) -> bool:
        """Return whether the next flush had better wait for more events: nobody waits for it."""
        going = self._next_flush
        return self._context.flush_pace.is_slow and not going.leaving and not going.records

    def is_waited_for(self) -> bool:
        """Return whether a cut waits for progress that was not told."""
        told_ms, at_ms = self._told_ms, self._state.checkpoint.append_time_ms
        grid_ms = self._state.definitions.grid_ms(at_ms)
        if told_ms // grid_ms == at_ms // grid_ms:
            # No cut lies in between: nobody has to be asked.
            return False
        own_ms = self._cuts.schedule.next_ms()
        return self._context.progress.next_cut_ms(told_ms, own_ms) < at_ms

    async def tell(self, raw_next: int) -> None:
        """Tell how far the partition is forwarded, and durable up to an offset.

        Raises:
            KafkaError, OSError, TimeoutError: the brokers do not take its forwards; call again.
        """
        at_ms = self._state.checkpoint.append_time_ms
        progress = self._cuts.progress(raw_next, at_ms)
        await self._forwards.settle(self._forwards.count)
        self._told_ms = max(self._told_ms, at_ms)
        self._context.reports.tell(progress)

    def is_full(self) -> bool:
        """Return whether the next flush holds as much as one should."""
        size = self._next_flush.size()
        changes = self._state.snapshot.pending_changes() + len(self._next_flush.records)
        full = changes >= FLUSH_CHANGES or size + self._state.index.pending_bytes >= FLUSH_BYTES
        return full or self._ledger.is_full()

    async def take_out(self) -> Unsent:
        """Take out what changed. Whoever is in the middle of it must go on to the end."""
        work = Work("flush", f"partition {self._state.number}")
        self._next_flush.begin()
        records, members = await self._context.turns.run(work, self._taking())
        checkpoint = self._state.checkpoint
        return Unsent(
            records,
            members,
            self._next_flush.take_batches(),
            self._forwards.count,
            self._cuts.progress(checkpoint.raw_next, checkpoint.append_time_ms),
            self._state.members.sum,
        )

    def _taking(self) -> Steps[tuple[list[Record], MemberChanges]]:
        """Return the records of this flush, the checkpoint last."""
        settings, state, number = self._context.settings, self._state, self._state.number
        checkpoint, definitions = state.checkpoint, self._refold_queue.take_definitions()
        checkpoint.definitions_offset, checkpoint.definitions_ms = definitions
        offsets = (checkpoint.raw_next, checkpoint.rekeyed_next)
        if offsets != self._offsets:
            self._offsets, checkpoint.attempt = offsets, 0
        if self._next_flush.leaving:
            # Whoever takes it over need not be careful.
            checkpoint.attempt = -1
        self._told_ms = checkpoint.append_time_ms
        self._context.flush_pace.note(state.snapshot.pending_changes(), monotonic())
        self._ledger.pack()
        records = self._next_flush.take_records()
        if not state.instants.rests and self._context.is_state_read_by_all():
            state.instants.let_rest()
        changes = yield from state.taking_changes()
        topics = {name: settings.topic(full) for name, full in CHANGELOGS.items()}
        for name, keys, values in state.rows_of(changes):
            records += map(Record, repeat(topics[name]), repeat(number), keys, values)
            yield
        topic = settings.topic(INDEX_CHANGELOG)
        for place, part in log_records(state.index.log_place, changes.index_rows):
            records.append(Record(topic, number, b"", part, [(PLACE_HEADER, place.packed())]))
        topic = settings.topic(FIGURES_CHANGELOG)
        for place, part in changes.at_rest:
            records.append(Record(topic, number, b"", part, [(PLACE_HEADER, place.packed())]))
        # Bounded by itself: of more meter keys than it holds it says that any may be refolding.
        topic, packed = settings.topic(CELLS_CHANGELOG), self.packed_checkpoint()
        records.append(Record(topic, number, CHECKPOINT_KEY, packed, []))
        return records, changes.stored

    async def keep_on_disk(self, flush: int) -> None:
        """Let local disk keep what the flush made durable."""
        self._ledger.commit()
        for each in (self._state.index, self._state.instants.at_rest):
            each.seal_flush(flush)
            if each.disk_error is not None:
                each.try_disk_again()
        work = Work("flush", f"partition {self._state.number}")
        # What is left when it is cancelled follows with the next flush.
        await self._context.turns.run(work, self._state.published.storing())

    def packed_checkpoint(self) -> bytes:
        """Return the checkpoint; of too many meter keys it says that any may be refolding."""
        checkpoint = self._state.checkpoint
        meter_keys = self._state.stale.refolding_keys
        many = len(meter_keys) > MOST_REFOLDING
        checkpoint.refolding = (ANY_METER_KEY,) if many else tuple(sorted(meter_keys))
        checkpoint.behind = self._state.standing.behind_since_ms is not None
        packed = msgspec.msgpack.encode(checkpoint)
        if len(packed) > CHECKPOINT_BYTES:
            checkpoint.refolding = (ANY_METER_KEY,)
            packed = msgspec.msgpack.encode(checkpoint)
        return packed


class Flusher:
    """Flushes one partition, one flush at a time."""

    def __init__(
        self,
        life: Life,
        lock: asyncio.Lock,
        packing: FlushPacking,
        commits: Commits,
        committer: Committer,
        duplicates: Duplicates,
        members: MemberSync,
    ):
        """Take `lock`, which is held while the tables change."""
        self._life = life
        self._lock = lock
        self._packing = packing
        self._commits = commits
        self._committer = committer
        self._duplicates = duplicates
        self._members = members
        self._one = asyncio.Lock()
        self._running: set[asyncio.Future[None]] = set()
        """Flushes under way, or waiting for one that is."""
        self._failing = False
        self._durable: int | None = None
        """The raw offset of the last flush; None: there was none here."""

    async def flush(self) -> None:
        """Write everything changed, then acknowledge it. One at a time, tried until it is taken.

        A caller that is cancelled leaves it running: half of a flush cannot be taken back.

        Raises:
            Fenced: somebody else has the partition, or it was given up here.
        """
        running = asyncio.ensure_future(self._flush())
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        running.add_done_callback(retrieve)
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            if running.cancelled() and not asked_to_end():
                number = self._life.number
                raise Fenced(f"the flush of partition {number} was left as it is") from None
            raise

    async def suspend(self) -> None:
        """Leave the flush under way as it is; the next call of `flush` goes on with it."""
        while running := set(self._running):
            for each in running:
                each.cancel()
            await asyncio.wait(running, timeout=SUSPENDED_AGAIN_S)

    def may_wait(self) -> bool:
        """Return whether the next flush had better wait for more events."""
        return self._packing.may_wait()

    async def tell(self) -> None:
        """Tell how far the partition is where a cut waits for it: forwards are all it needs."""
        if self._durable is not None and self._packing.is_waited_for():
            # If they are not taken, the flush finds out and tries again.
            with suppress(*NOT_TAKEN):
                await self._packing.tell(self._durable)

    def is_failing(self) -> bool:
        """Return whether the brokers did not take the flush under way when it was tried last."""
        return self._failing

    async def _flush(self) -> None:
        async with self._one:
            # What an earlier flush has packed goes first.
            await self._send()
            # 1. Take what changed out of the tables.
            await self._patiently(self._pack)
            await self._send()

    async def _pack(self) -> None:
        # Most of it before the fold has to wait.
        await self._duplicates.judge()
        async with self._standing_still():
            self._life.require_ours()
            await self._duplicates.judge()
            if self._packing.has_changes():
                # What is packed half is lost.
                await ended(asyncio.create_task(self._take_out()))

    @asynccontextmanager
    async def _standing_still(self) -> AsyncIterator[None]:
        """Hold the lock, one partition after another.

        Packed by turns, all that are flushed at once would stand still until the last is packed.
        """
        async with AsyncExitStack() as held:
            await held.enter_async_context(self._life.context.packing)
            try:
                async with asyncio.timeout(PACKED_IN_TURN_S):
                    await held.enter_async_context(self._lock)
            except TimeoutError:
                # Its fold may wait for Redis, and the others need not.
                await held.aclose()
                await held.enter_async_context(self._lock)
            yield

    async def _take_out(self) -> None:
        with self._life.change():
            unsent = await self._packing.take_out()
        self._commits.begin(unsent)

    async def _send(self) -> None:
        """Send what is packed, if anything is, and let everything else follow it."""
        unsent, context, number = self._commits.unsent, self._life.context, self._life.number
        if unsent is None:
            return
        began_s = monotonic()
        async with self._commits.committing:
            # 2. Wait for its forwards. 3. Commit it.
            await self._patiently(lambda: self._committer.commit(unsent))
            # 4. Note that it is durable.
            self._commits.done(unsent)
            # Also of one that is given up: who stores an earlier flush yet goes on to this one.
            self._members.add(unsent.members)
            self._commits.forget_unsent()
        # 5. Tell all workers how far the partition is.
        self._durable = unsent.progress.raw_next
        context.reports.tell(unsent.progress)
        tally = context.tally
        tally.flushed_ms[number] = context.clock.now_ms()
        tally.flush_seconds.observe(monotonic() - began_s)
        tally.flush_bytes.observe(unsent.bytes)
        if self._life.is_given_up():
            # Its next owner may be this very worker, and have the local disk by now.
            return
        # 6. Acknowledge its batches. Local disk and Redis follow.
        for batch in unsent.batches:
            context.delivery.acknowledge(batch)
        await self._packing.keep_on_disk(unsent.checkpoint.flush)
        await self._members.follow()

    async def _patiently(self, step: Callable[[], Awaitable[None]]) -> None:
        """Try until the brokers let it be done; they may be away for any time."""
        brokers, number, tries = self._life.context.brokers, self._life.number, 0
        while True:
            try:
                await step()
            except NOT_TAKEN as error:
                if self._life.is_given_up():
                    raise Fenced(f"partition {number} was given up") from error
                self._failing = True
                brokers.note_refused(number, error)
                await brokers.pause(tries)
                tries += 1
            else:
                self._failing = False
                brokers.note_taken(number)
                return
