"""Restorer: a partition as it is in Kafka, brought to where it may fold.

It tries until the brokers let the state be read; `app.runtime.restoring.restore` reads it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from time import monotonic

from app.bounds.turns import Work
from app.kafka.clients import NOT_TAKEN
from app.kafka.transactions import Fenced, PartitionProducer
from app.kafka.waiting import WaitingPartitions
from app.log import facts
from app.runtime.context import WorkerContext
from app.runtime.partition.ahead import Ahead, RestoringPartition
from app.runtime.partition.life import State
from app.runtime.partition.owned import OwnedPartition
from app.runtime.restoring.restore import restore
from app.runtime.tasks import cancel

log = logging.getLogger(__name__)

RESTORED_AT_ONCE = 8
"""Small ones wait for brokers most of the time; of large ones no more should be in memory twice."""


class Restorer:
    """Makes partitions of what Kafka has of them."""

    def __init__(self, shared: WorkerContext, ahead: Ahead):
        self._shared = shared
        self._ahead = ahead
        self._at_once = asyncio.Semaphore(RESTORED_AT_ONCE)
        self._waiting = WaitingPartitions(log, "to be restored")

    async def restore(self, number: int) -> OwnedPartition:
        """Return the partition as it is in Kafka, tried until the brokers let it be read.

        Others need not wait for it meanwhile: what lies there for them is forwarded.
        """
        coming = RestoringPartition(number, self._shared)
        going = [asyncio.create_task(self._ahead.go(coming))]
        try:
            with self._waiting.while_it_waits(number) as waits:
                owned = await self._restored_at_last(number, waits)
        except BaseException:
            await cancel(going)
            raise
        try:
            await cancel(going)
        except asyncio.CancelledError:
            # A rebalance begins just now: nobody has it yet who would let go of its client.
            await owned.give_up()
            raise
        owned.note_forwarded(*coming.forwarded)
        return owned

    async def _restored_at_last(
        self, number: int, waits: Callable[[BaseException], None]
    ) -> OwnedPartition:
        brokers, tries = self._shared.brokers, 0
        while True:
            producer = PartitionProducer(self._shared.settings, number)
            try:
                # Whoever pauses leaves its place to others: theirs may have leaders.
                async with self._at_once:
                    began_s = monotonic()
                    await producer.start()
                    owned = await self._restored(number, producer)
            except (*NOT_TAKEN, Fenced) as error:
                waits(error)
                await producer.stop()
                await brokers.pause(tries)
                tries += 1
                # Who has a newer owner's partition would fence them.
                since_s = monotonic() if isinstance(error, Fenced) else began_s
                await self._shared.delivery.heard_since(since_s)
            except BaseException:
                # A rebalance may end it: nothing of it may write any more.
                await producer.stop()
                raise
            else:
                brokers.note_restored()
                source, checkpoint = (
                    "raw" if owned.folds_anew else "changelog",
                    owned.state.checkpoint,
                )
                rows = 0 if owned.folds_anew else checkpoint.cells + checkpoint.index_length
                self.tell_restored(number, source, rows, monotonic() - began_s)
                return owned

    def share_memory(self, count: int, at_hand: Iterable[OwnedPartition]) -> None:
        """Divide memory for event indexes and members among so many; some are at hand already."""
        self._shared.divide_memory(count)
        for owned in at_hand:
            owned.state.index.limit_memory(self._shared.index_bytes)
            owned.state.instants.at_rest.limit_memory(self._shared.figures_bytes)
            owned.state.members.keep_at_most(self._shared.members_at_hand)

    def tell_restored(self, number: int, source: str, rows: int, seconds: float) -> None:
        """Note from where a partition was restored, and how long it took."""
        self._shared.tally.restore_seconds.labels(source).observe(seconds)
        log.info(
            "Partition %s is restored from %s: %s rows in %.1f s",
            number,
            source,
            rows,
            seconds,
            extra=facts(
                "restore", partition=number, source=source, rows=rows, seconds=round(seconds, 3)
            ),
        )

    async def _restored(self, number: int, producer: PartitionProducer) -> OwnedPartition:
        epoch = self._shared.progress.epoch(number)
        owned, queueing = await restore(number, producer, self._shared, epoch)
        owned.state.members.keep_at_most(self._shared.members_at_hand)
        try:
            if queueing is not None:
                await self._shared.turns.run(Work("restore"), queueing)
            await self._begin(owned)
        except BaseException:
            await owned.abandon()
            await owned.leave()
            owned.state.close()
            raise
        return owned

    async def _begin(self, owned: OwnedPartition) -> None:
        if owned.life.state is State.NEW:
            # What retention took is not missed. From here on the offsets stand in the checkpoint,
            # and a gap before them is a loss.
            owned.begin_at(*await self._shared.offsets.log_starts(owned.number))
        await self._pass_deleted(owned)
        await self._shared.turns.run(Work("restore"), owned.cuts.scheduling())
        owned.next_flush.note_moved()
        await owned.flush()

    async def _pass_deleted(self, owned: OwnedPartition) -> None:
        """Go on behind records that are set aside and no longer there."""
        aside, checkpoint = (
            self._shared.definitions.set_asides.of(owned.number),
            owned.state.checkpoint,
        )
        if aside is None:
            return
        start, _ = await self._shared.offsets.log_starts(owned.number)
        if checkpoint.raw_next < start <= aside.after(checkpoint.raw_next):
            owned.pass_over_until(start)
