"""Ingest: batches of events-raw and events-rekeyed into the tables of their partition.

Delivery: a batch is acknowledged by the flush that made its effects durable. Records that the
checkpoint says are folded are passed over, so redelivery changes nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import faust

from app.bounds.cancellation import asked_to_end
from app.bounds.turns import Turns
from app.definitions.judging import Judging
from app.failpoints import failpoint
from app.kafka.clients import NOT_TAKEN
from app.kafka.faust_app import MeterApp
from app.kafka.placing import DeliveryBroken
from app.kafka.record_batch import RecordBatch
from app.kafka.waiting import WaitingPartitions
from app.runtime.partition.careful import examine, needs_examining, without_lost
from app.runtime.partition.forwarder import Forwarder
from app.runtime.partition.life import State
from app.runtime.partition.owned import OwnedPartition
from app.runtime.partition.portion import Portion, RekeyedPortion, decoding_of

log = logging.getLogger(__name__)


JOINED_RECORDS = 1_000
"""Batches are folded together up to this: of few records one costs more than they do."""

TURN_S = 0.25
"""A portion of cheap events takes no longer; for one of costly events, or one that waits for
something, other partitions need not wait."""


def add_ingest(
    app: MeterApp,
    owned: Callable[[int], OwnedPartition | None],
    forwarder: Forwarder,
    turns: Turns,
) -> None:
    """Register the agent."""

    async def ingest(stream: faust.StreamT[Any]) -> None:
        lanes = _Lanes(app, owned, forwarder, turns)
        try:
            async for batches in stream:
                for batch in batches:
                    lanes.put(batch)
        finally:
            lanes.close()

    app.agent(app.batch_topic(), name="ingest", concurrency=1)(ingest)


class _Lanes:
    """A lane for each partition.

    Portions of batches are taken one at a time, the partitions in turn, so that little is decoded
    at once. A partition that waits for Redis or for definitions lets the others go on.
    """

    def __init__(
        self,
        app: MeterApp,
        owned: Callable[[int], OwnedPartition | None],
        forwarder: Forwarder,
        turns: Turns,
    ):
        self._app = app
        self._owned = owned
        self._forwarder = forwarder
        self._turns = turns
        self._turn = asyncio.Lock()
        self._waiting: dict[int, asyncio.Queue[RecordBatch]] = {}
        self._held = WaitingPartitions(log, "to be folded")
        self._tasks: list[asyncio.Task[None]] = []

    def put(self, batch: RecordBatch) -> None:
        """Queue a batch; the transport delivers no more of a partition than may wait."""
        number = batch.tp.partition
        waiting = self._waiting.get(number)
        if waiting is None:
            waiting = self._waiting[number] = asyncio.Queue()
            self._tasks.append(asyncio.create_task(self._run(waiting)))
        waiting.put_nowait(batch)

    def close(self) -> None:
        """Take no more."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, waiting: asyncio.Queue[RecordBatch]) -> None:
        while True:
            batches = [await waiting.get()]
            while not waiting.empty() and sum(map(len, batches)) < JOINED_RECORDS:
                batches.append(waiting.get_nowait())
            try:
                for tp in dict.fromkeys(batch.tp for batch in batches):
                    await self._taken([batch for batch in batches if batch.tp == tp])
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and asked_to_end():
                    raise
                # An agent that raises has its batch acknowledged: crash instead of going on.
                await self._app.crash(error)
                return

    async def _taken(self, batches: list[RecordBatch]) -> None:
        turn = _Turn(self._turn, self._turns)
        try:
            await turn.begin()
            partition = self._owned(batches[0].tp.partition)
            batches = [batch for batch in batches if self._app.batches.take(batch)]
            if batches and partition is not None:
                await self._folded(batches, partition, turn)
        finally:
            turn.end()

    async def _folded(
        self, batches: list[RecordBatch], partition: OwnedPartition, turn: _Turn
    ) -> None:
        batch = _joined(batches)
        try:
            # After each portion it is the others' turn.
            while await self._patiently_taken(batch, partition, turn):
                if self._owned(batch.tp.partition) is not partition:
                    return
        except Exception as error:
            # What is read of it from here on is void.
            partition.fail(error)
            return
        # Only how far it goes is wanted still; let go of now, its memory is soon used again.
        batch.clear()
        partition.next_flush.keep(batches)

    async def _patiently_taken(
        self, batch: RecordBatch, partition: OwnedPartition, turn: _Turn
    ) -> bool:
        """Tell whether more is left; try until there are the files, disk and brokers it needs."""
        tries = 0
        with self._held.while_it_waits(batch.tp.partition) as waits:
            while True:
                try:
                    return await self._portion_taken(batch, partition, turn)
                except NOT_TAKEN as error:
                    if partition.abandoned:
                        # Half of it is folded.
                        raise
                    waits(error)
                    await partition.shared.brokers.pause(tries)
                    tries += 1
                    if self._owned(partition.number) is not partition:
                        return True

    async def _portion_taken(
        self, batch: RecordBatch, partition: OwnedPartition, turn: _Turn
    ) -> bool:
        """Take a portion within the turn, or one that begins; it ends then, or when it is over."""
        if needs_examining(partition, batch):
            # Others fold while a copy of the process tries its records.
            turn.end()
            await examine(partition, batch)
        await turn.begin()
        late = _Late(partition, turn)
        try:
            return await self._take(batch, partition)
        finally:
            late.end()
            turn.end()

    async def _take(self, batch: RecordBatch, partition: OwnedPartition) -> bool:
        if batch.tp.topic == self._app.raw_topic:
            return await take_raw(partition, batch, self._forwarder)
        return await take_rekeyed(partition, batch)


def _joined(batches: Sequence[RecordBatch]) -> RecordBatch:
    """Join the batches of one topic."""
    first = batches[0]
    if len(batches) == 1:
        return first
    parts = [part for batch in batches for part in batch.parts]
    joined = RecordBatch(parts, first.tp, first.start, batches[-1].next, first.era)
    for batch in batches:
        batch.clear()
    return joined


class _Turn:
    """One lane goes on at a time: the one whose turn has begun, until it ends."""

    def __init__(self, lock: asyncio.Lock, turns: Turns):
        self._lock = lock
        self._turns = turns
        self._held: ExitStack | None = None

    async def begin(self) -> None:
        """Wait for it, unless it has begun."""
        if self._held is not None:
            return
        with ExitStack() as held:
            # From here on, there is something to fold.
            held.enter_context(self._turns.folding())
            await self._lock.acquire()
            held.callback(self._lock.release)
            self._held = held.pop_all()

    def end(self) -> None:
        """Let others go on, if it has begun."""
        held, self._held = self._held, None
        if held is not None:
            held.close()


class _Late:
    """Looks after a portion that takes longer than a turn lasts."""

    def __init__(self, partition: OwnedPartition, turn: _Turn):
        self._partition = partition
        self._turn = turn
        self._loop = asyncio.get_running_loop()
        self._looks = self._loop.call_later(TURN_S, self._look)

    def _look(self) -> None:
        """Let others go on; who waits for Redis has its forwards sent meanwhile."""
        self._turn.end()
        stalled = self._partition.stalled
        waits = self._partition.life.state is State.WAITING_FOR_MEMBERS
        (stalled.set if waits else stalled.clear)()
        self._looks = self._loop.call_later(TURN_S, self._look)

    def end(self) -> None:
        """Look no more."""
        self._looks.cancel()
        self._partition.stalled.clear()


async def take_raw(owned: OwnedPartition, batch: RecordBatch, forwarder: Forwarder) -> bool:
    """Fold one portion's events at home here, forward the rest; return True if more is left.

    Events of one route are folded together, because the order of events does not matter. The cells
    of a route are then looked up once.
    """
    checkpoint = owned.state.checkpoint
    _require_next(batch, checkpoint.raw_next)
    turns, work = owned.shared.turns, decoding_of(owned.number)
    failpoint("after-fetch")
    portion = Portion(batch, checkpoint.raw_next, checkpoint.append_time_ms)
    judging = Judging.by(owned.shared.definitions)
    await turns.run(work, portion.decode(owned.shared, owned.number, judging))
    runs = portion.runs(owned.shared.homes, owned.number)
    forwarding = portion.forward(forwarder, owned.forwards, owned.forwarded[0])
    await turns.watched(work, forwarding)
    corrections = portion.corrections
    if corrections:
        corrections = await without_lost(owned, corrections)
    owned.note_forwarded(portion.next_offset, portion.append_time_ms)
    await owned.fold(
        runs,
        raw_next=portion.next_offset,
        append_time_ms=portion.append_time_ms,
        refused=portion.refused,
        corrections=corrections,
        plain=portion.plain,
    )
    failpoint("after-fold")
    return await _is_more(owned, portion)


async def _is_more(owned: OwnedPartition, portion: Portion | RekeyedPortion) -> bool:
    """Return whether the batch goes on after a portion, once what comes next can be judged."""
    if portion.waits_past_ms is not None:
        await owned.life.definitions_past(portion.waits_past_ms)
    return not portion.whole and not owned.abandoned


def _require_next(batch: RecordBatch, next_offset: int) -> None:
    """Raise DeliveryBroken at a gap: offsets would move past it and lose it in silence."""
    if batch.start > next_offset:
        raise DeliveryBroken(
            f"{batch.tp} is folded up to {next_offset}, the batch begins at {batch.start}"
        )


async def take_rekeyed(owned: OwnedPartition, batch: RecordBatch) -> bool:
    """Fold forwarded events, each once, at the position of its raw record, as `take_raw` does."""
    checkpoint = owned.state.checkpoint
    _require_next(batch, checkpoint.rekeyed_next)
    definitions = owned.shared.definitions
    portion = RekeyedPortion(batch, checkpoint.rekeyed_next, dict(checkpoint.marks))
    judging = Judging.by(definitions).of_forwards()
    steps = portion.decode(judging, definitions.set_asides)
    await owned.shared.turns.run(decoding_of(owned.number), steps)
    corrections = portion.corrections
    if corrections:
        corrections = await without_lost(owned, corrections)
    await owned.fold(
        portion.runs,
        rekeyed_next=portion.next_offset,
        marks=portion.marks,
        corrections=corrections,
    )
    return await _is_more(owned, portion)
