"""A partition that this worker owns: the asynchronous shell around its tables.

It moves data only: arrivals in, flushes out. Everything that decides is in `tables`. What it does
beside the fold is done by its parts: callers use `owned.cuts`, `owned.refold_queue` and so on.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from operator import itemgetter
from typing import Any, TypeVar
from weakref import WeakMethod

from app.bounds.limits import UNSENT_BYTES
from app.bounds.turns import TURN_S, Steps, Work
from app.kafka.names import TP
from app.kafka.open_batch import UnreadBatch
from app.kafka.record_batch import RawRecord
from app.kafka.topics import EVENTS_REKEYED
from app.runtime.context import WorkerContext
from app.runtime.partition.care import Care
from app.runtime.partition.commit import Commits, Committer, Producer
from app.runtime.partition.cuts import Cuts
from app.runtime.partition.duplicates import Duplicates
from app.runtime.partition.flush import Flusher, FlushPacking
from app.runtime.partition.forwarder import Forwards
from app.runtime.partition.life import Life, State
from app.runtime.partition.local_disk import LocalDisk
from app.runtime.partition.member_sync import MemberSync
from app.runtime.partition.next_flush import NextFlush
from app.runtime.partition.refold_queue import RefoldQueue
from app.runtime.partition.renewal import Renewal
from app.runtime.partition.table_work import TableWork
from app.runtime.partition.verdicts import Verdicts
from app.runtime.progress import Progress
from app.wire.arrivals import CorrectionArrival, MeterKey, Run
from app.wire.refusals import Refusal
from tables.changelogged.members import MemberKey
from tables.partition.intake import WaitForDefinitions
from tables.partition.partition import Partition, Slice, Straight
from tables.partition.route_table import UNIQUE_AS_MANY, RouteTable

_Result = TypeVar("_Result", Slice, Straight)

TURNS_BETWEEN_SLICES = 4
"""Turns of the event loop between two slices: enough to read a request, begin and answer it."""

STRAIGHT_AT_ONCE = 4
"""Slices whose events may be folded straight in one step: each takes a fifth of the time, and what
a step costs whatever it folds is spent once."""

DISK_POLL_S = 0.5


class OwnedPartition:
    """State and traffic of one owned partition."""

    def __init__(
        self,
        state: Partition,
        producer: Producer,
        shared: WorkerContext,
        durable: bytes | None = None,
        *,
        folds_anew: bool = False,
        is_new: bool = False,
    ):
        """Make it of its restored tables.

        `durable`: the newest committed checkpoint; None: there is none.
        `is_new`: no flush of it is known: nothing was ever folded.
        """
        number = state.number
        self.state = state
        self.producer = producer
        self.shared = shared
        self.folds_anew = folds_anew
        """Its logs are folded from their start."""
        self.life = Life(number, shared, State.NEW if is_new else State.RUNNING)
        self.work = TableWork(self.life)
        self.lock = self.work.lock
        self.ledger = shared.ledger_room.of(number, state.checkpoint, shared.raw_lookup.find_many)
        self.next_flush = NextFlush()
        self.forwards = Forwards()
        self._forwarded = (0, -1)
        self.verdicts = Verdicts(number, shared, self.next_flush)
        self.duplicates = Duplicates(number, shared, self.verdicts)
        self.refold_queue = RefoldQueue(state)
        self.cuts = Cuts(state, shared, self.refold_queue)
        self.renewal = Renewal(
            state, shared, self.work, self.refold_queue, self.cuts, self.next_flush
        )
        self.commits = Commits(state, shared)
        self.members = MemberSync(state, self.life, self.commits)
        self._packing = FlushPacking(
            state,
            shared,
            self.next_flush,
            self.refold_queue,
            self.cuts,
            self.forwards,
            self.ledger,
        )
        self.flusher = Flusher(
            self.life,
            self.lock,
            self._packing,
            self.commits,
            Committer(state, producer, self.life, self.forwards, durable),
            self.duplicates,
            self.members,
        )
        self._fold_work = Work("fold", "events", f"partition {number}")
        self.care = Care(state.checkpoint.attempt, shared.delivery.fetched_ends)
        # Without a reference: a partition is let go of without the collector.
        failing = WeakMethod(self.fail)
        state.published.when_lost(lambda error: _failed(failing, error))
        state.instants.at_rest.when_lost(lambda error: _failed(failing, error))
        self.disk = LocalDisk(state, shared)
        self.stalled = asyncio.Event()
        """Set while a batch waits for members that Redis does not give."""
        self.folded_events = 0
        self.advanced = asyncio.Condition()

    @property
    def number(self) -> int:
        """Number of the partition."""
        return self.state.number

    @property
    def abandoned(self) -> bool:
        """Given up with what is not flushed: the next owner folds it again."""
        return self.life.is_given_up()

    @property
    def waits_for_definitions(self) -> bool:
        """The fold stands still, in the middle of a batch."""
        return self.life.state is State.WAITING_FOR_DEFINITIONS

    @property
    def forwarded(self) -> tuple[int, int]:
        """(next raw offset, append time) after the last record whose forwards were sent."""
        checkpoint = self.state.checkpoint
        return max(self._forwarded, (checkpoint.raw_next, checkpoint.append_time_ms))

    def note_forwarded(self, next_offset: int, append_time_ms: int) -> None:
        """Note that everything before is forwarded."""
        self._forwarded = max(self._forwarded, (next_offset, append_time_ms))

    def wants_care(self, tp: TP, first: int) -> bool:
        """Return whether records of a log are tried before they are folded, from this one on."""
        return self.care.wants(tp, first)

    async def find_place(self) -> bool:
        """Return whether it is known from where on something is left to forward; it is."""
        return True

    def reported(self, told: Progress) -> Progress:
        """Return how far it is forwarded now, and folded by what was told before."""
        return self.cuts.progress(told.raw_next, self.forwarded[1])

    def next_offsets(self) -> dict[TP, int]:
        """Return where each of its logs is to be folded on from."""
        settings, checkpoint = self.shared.settings, self.state.checkpoint
        return {
            TP(settings.topic(settings.raw_topic), self.number): checkpoint.raw_next,
            TP(settings.topic(EVENTS_REKEYED), self.number): checkpoint.rekeyed_next,
        }

    def begin_at(self, raw_next: int, rekeyed_next: int) -> None:
        """Begin where the logs do: nothing was ever folded of it, and nobody failed over it."""
        self._packing.begin_at(raw_next, rekeyed_next)
        self.care.end()
        self.life.begin()

    def pass_over_until(self, raw_next: int) -> None:
        """Go on behind raw records that are set aside and no longer there."""
        self.state.checkpoint.raw_next = raw_next

    def hand_over(self) -> None:
        """Let the next flush be the last one here: whoever comes next need not be careful."""
        self.next_flush.leave()

    def take_back(self) -> None:
        """Go on as it was left; batches of before are delivered again."""
        self.next_flush.stay()
        self.state.checkpoint.attempt = 0

    async def leave(self) -> None:
        """Leave it as it is, unsent flush and all."""
        await self.flusher.suspend()
        await self.members.halt()
        await self.ledger.rest()

    def mark_abandoned(self) -> None:
        """Write nothing of it any more."""
        self.life.give_up()

    async def abandon(self) -> None:
        """Give the partition up as it is; a fold that waits for definitions ends."""
        self.life.give_up()
        self.ledger.give_up()
        self.commits.forget_unsent()
        await self.life.wake()

    async def give_up(self) -> None:
        """Write nothing of it any more; a producer that starts later would fence the next owner."""
        try:
            await self.abandon()
            await self.leave()
        finally:
            await self.producer.stop()
        self.shared.brokers.note_taken(self.number)

    async def close(self) -> None:
        """Leave it, and let go of its producer and its files."""
        await self.leave()
        await self.producer.stop()
        self.state.close()

    def fail(self, error: BaseException) -> None:
        """Have the partition given up and restored: something of it failed for good."""
        self.shared.owner.fail(self, error)

    def look_again(self) -> None:
        """Have its closer look again if it waits for other logs."""
        self.cuts.look_again()

    async def fold(
        self,
        runs: Sequence[Run],
        *,
        raw_next: int | None = None,
        rekeyed_next: int | None = None,
        append_time_ms: int = -1,
        marks: dict[int, tuple[int, int]] | None = None,
        refused: Sequence[tuple[Refusal, RawRecord | UnreadBatch]] = (),
        corrections: Sequence[CorrectionArrival] = (),
        plain: bool = False,
    ) -> None:
        """Fold arrivals and move the offsets past the records they came from, unless given up.

        `refused`: what else those raw records hold; it goes with the same flush. `plain`: each
        event is all that its raw record holds.
        """
        await self._room()
        async with self.lock:
            with self.life.change():
                await self._fold(runs, plain)
                if self.life.is_given_up():
                    return
                if corrections:
                    await self.shared.turns.run(self._fold_work, self._correcting(corrections))
                    self.ledger.note_corrections(corrections)
                if refused:
                    refusing = self.verdicts.refusing_raw(refused)
                    await self.shared.turns.run(self._fold_work, refusing)
                checkpoint = self.state.checkpoint
                if raw_next is not None:
                    checkpoint.raw_next = raw_next
                    checkpoint.append_time_ms = max(checkpoint.append_time_ms, append_time_ms)
                if rekeyed_next is not None:
                    checkpoint.rekeyed_next = rekeyed_next
                    checkpoint.marks |= marks or {}
                self.next_flush.note_moved()
                # A fold may bring usage that is told of at an earlier moment.
                self.cuts.look()
        async with self.advanced:
            self.advanced.notify_all()

    async def _room(self) -> None:
        """Stand still while as much as a flush holds waits behind one that is not taken."""
        while not self.life.is_given_up():
            if self.disk.is_lacking():
                await asyncio.sleep(DISK_POLL_S)
                self.disk.try_again()
                continue
            full = self._packing.is_full()
            if full:
                self.next_flush.wanted.set()
            crowded = full or self.shared.unsent_bytes >= UNSENT_BYTES
            if self.commits.unsent is None or not crowded:
                return
            await self.commits.sent.wait()

    async def _fold(self, runs: Sequence[Run], plain: bool) -> None:
        clock, weight_of = self.shared.turns.clock, self.state.packing.weight_of
        begun_s = clock()
        size = self.shared.settings.slice_events
        for part in straight_parts(runs, size, self.state.routes, clock):
            begun_s = await self._after_others(begun_s)
            straight = await self._folded(self._fold_straight, part)
            if straight is None:
                return
            self.folded_events += straight.accepted
            self._tell_ignored()
            self.duplicates.note_copies(straight.copies)
            # What is billed at once waits for its grid cut.
            self.cuts.reschedule(self.state.cuts.take_late_names())
            await self._unpack_many(straight.rest)
            for some in slices_of(straight.rest, size, weight_of, clock):
                begun_s = await self._after_others(begun_s)
                result = await self._folded(self._fold_closely, some)
                if result is None:
                    return
                self._note(result)
            self.refold_queue.want_displaced(part)
            # While the events are in the processor's cache.
            self.ledger.note(part, plain=plain)
        self.shared.tally.recent.note(self.number, runs)

    async def _unpack_many(self, runs: Iterable[Run]) -> None:
        """Unpack by steps whose very many cells the first of their events would unpack in one."""
        packing, at_hand = self.state.packing, self.state.routes.by_key
        for name in dict.fromkeys(key[:2] for key, _ in runs if key not in at_hand):
            if packing.has_many_to_touch(name):
                await self.shared.turns.run(self._fold_work, packing.unpacking(name))

    async def _after_others(self, begun_s: float) -> float:
        """Let others run if a turn is over; return when the present one began."""
        clock = self.shared.turns.clock
        if clock() - begun_s < TURN_S:
            return begun_s
        for _ in range(TURNS_BETWEEN_SLICES):
            await asyncio.sleep(0)
        return clock()

    async def _folded(
        self, fold: Callable[[list[Run]], _Result | list[MemberKey]], part: list[Run]
    ) -> _Result | None:
        """Fold a slice once members and definitions are here; return None if it was given up."""
        while True:
            try:
                found = await self.shared.turns.run(self._fold_work, self._in_one_step(fold, part))
            except WaitForDefinitions as wait:
                # For the first that it meets of the late events; the next may have to wait longer.
                with self.life.waiting(State.WAITING_FOR_DEFINITIONS):
                    await self.life.definitions_past(wait.past_ms)
                continue
            if not isinstance(found, list):
                return found
            await self.members.prefetch(found)

    def _in_one_step(
        self, fold: Callable[[list[Run]], _Result | list[MemberKey]], part: list[Run]
    ) -> Steps[_Result | list[MemberKey] | None]:
        """Fold a slice, or return the members that have to be learnt before."""
        yield from ()
        return None if self.life.is_given_up() else fold(part)

    def _fold_straight(self, part: list[Run]) -> Straight | list[MemberKey]:
        straight = self.state.fold_straight(part)
        return straight.missing or straight

    def _fold_closely(self, part: list[Run]) -> Slice | list[MemberKey]:
        first = self.state.fold_first(part)
        self.folded_events += first.accepted
        self.duplicates.note_copies(first.copies)
        # What waits for members or definitions comes again.
        part[:] = first.rest
        # Another task may have forgotten members since they were learnt.
        return self.state.missing_members(part) or self.state.fold_closely(part)

    def _correcting(self, corrections: Iterable[CorrectionArrival]) -> Steps[None]:
        """Take corrections in; each is refolded for once every cut before it is published."""
        for correction in corrections:
            if correction.correction.event is not None:
                yield from self.state.packing.unpacking(correction.name)
            if self.state.corrected.correct(correction):
                self.cuts.reschedule({correction.name, *self.state.cuts.take_late_names()})
            yield

    def _note(self, result: Slice) -> None:
        self.folded_events += result.accepted
        self._tell_ignored()
        self.verdicts.refuse_arrivals(result.refused)
        self.duplicates.note(result.duplicates)
        self.refold_queue.want_orphaned()
        self.cuts.reschedule(self.state.cuts.take_late_names())

    def _tell_ignored(self) -> None:
        if self.state.ignored:
            self.shared.tally.not_counted.update(self.state.ignored)
            self.state.ignored.clear()

    async def flush(self) -> None:
        """Write everything changed, then acknowledge it; see `Flusher.flush`."""
        await self.flusher.flush()

    def is_failing(self) -> bool:
        """Return whether the brokers did not take the flush under way when it was tried last."""
        return self.flusher.is_failing()

    def is_between_flushes(self) -> bool:
        """Return whether a flush is packed whole, or none is being packed."""
        return self.commits.unsent is not None or not self.lock.locked()

    def can_store_members(self) -> bool:
        """Return whether Redis answers."""
        return self.shared.members.available


def _failed(failing: WeakMethod[Any], error: BaseException) -> None:
    """Have a partition restored, if it is in use yet."""
    fail = failing()
    if fail is not None:
        fail(error)


def straight_parts(
    runs: Sequence[Run], slice_events: int, routes: RouteTable, clock: Callable[[], float]
) -> Iterator[list[Run]]:
    """Return runs by parts that are each folded straight in one step.

    Each run is weighed only where that makes a difference: it takes 0.5 us.
    """
    size = STRAIGHT_AT_ONCE * slice_events
    if routes.heaviest > UNIQUE_AS_MANY:
        return slices_of(runs, size, routes.straight_weight, clock)
    return parts_of(runs, size // routes.heaviest)


def parts_of(runs: Sequence[Run], size: int) -> Iterator[list[Run]]:
    """Return runs by parts of so many events; a longer run is cut."""
    ends = list(accumulate(map(len, map(itemgetter(1), runs))))
    begin, total = 0, ends[-1] if ends else 0
    while begin < total:
        end = min(begin + size, total)
        first, last = bisect_right(ends, begin), bisect_left(ends, end)
        part = list(runs[first : last + 1])
        meter_key, arrivals = part[-1]
        if ends[last] > end:
            part[-1] = meter_key, arrivals[: len(arrivals) - (ends[last] - end)]
        meter_key, arrivals = part[0]
        taken = begin - (ends[first] - len(runs[first][1]))
        if taken:
            part[0] = meter_key, arrivals[taken:]
        yield part
        begin = end


def slices_of(
    runs: Sequence[Run],
    size: int,
    weight_of: Callable[[MeterKey], int],
    clock: Callable[[], float],
) -> Iterator[list[Run]]:
    """Return runs by slices that take as long as so many plain events; a longer run is cut.

    A slice ends as well when a turn is over: who weighs closely compiles the routes of first
    events, and one of many years takes as long as hundreds of events.
    """
    part: list[Run] = []
    room, begun_s = size, clock()
    for run in runs:
        meter_key, arrivals = run
        weight = weight_of(meter_key)
        took = len(arrivals) * weight
        while took > room:
            # One at least, however much it weighs.
            fitting = max(room // weight, not part)
            if fitting:
                part.append((meter_key, arrivals[:fitting]))
                arrivals = arrivals[fitting:]
                run, took = (meter_key, arrivals), len(arrivals) * weight
            yield part
            part, room, begun_s = [], size, clock()
        if took:
            part.append(run)
            room -= took
        if part and clock() - begun_s >= TURN_S:
            yield part
            part, room, begun_s = [], size, clock()
    if part:
        yield part
