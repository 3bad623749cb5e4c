"""The group consumer: it delivers by batch, and lets the owner of the state seek and commit.

Source: stream-engine.md §2 (what stock Faust does, and why each override is here), state.md §3-§4.
What Faust acknowledges by itself never moves an offset: only `acknowledge` does.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from time import monotonic
from typing import Any, Final, cast

import faust
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import ConsumerStoppedError
from faust.tables.recovery import RebalanceAgain
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode import Service

from app.bounds.cancellation import CancelledUnderneath, asked_to_end
from app.kafka.assignor import assignors
from app.kafka.clients import FETCHER_LOOKS_MS, Consumer, is_of_brokers
from app.kafka.joined import Joined
from app.kafka.placing import (
    DeliveryBroken,
    PartitionOwner,
    checked,
    common_partitions,
    require_all,
)
from app.kafka.quiet import QuietConsumer, QuietThread
from app.kafka.record_batch import RecordBatch, drain
from app.settings import Settings

FETCH_MAX_WAIT_MS: Final = 500
REQUEST_TIMEOUT_MS: Final = 40_000
# Faust's own limit on what waits for an agent lets everything through here. The partitions have
# equal shares, so that one that stands still leaves the others theirs.
QUEUED_BATCHES: Final = 8
ROOM_POLL_S: Final = 0.05
WATCH_S: Final = 1.0
LEADER_MOVES_WITHIN_S: Final = 5.0
"""Seconds that a leader needs to move. Who has none after them leaves its turn and asks again."""


class OwningApp(faust.App):
    """The app as its consumer and its producer see it."""

    settings: Settings
    partition_owner: PartitionOwner
    batch_topics: frozenset[str]


class _BatchThread(QuietThread):
    """Owns the aiokafka consumer, in a thread of its own."""

    consumer: BatchConsumer

    def _create_worker_consumer(self, transport: Any) -> Consumer:
        app, conf = self.consumer.app, self.consumer.app.conf
        return Consumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            partition_assignment_strategy=assignors(app.settings, app.partition_owner.loads),
            enable_auto_commit=False,
            # A reset would pass silently over what retention took.
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1_000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS,
            keeps_sessions=True,
            consumer_timeout_ms=FETCHER_LOOKS_MS,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
            check_crcs=conf.broker_check_crcs,
            session_timeout_ms=int(conf.broker_session_timeout * 1_000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1_000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1_000),
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
            **app.settings.kafka_options(),
        )

    @Service.task
    async def _watch_coordination(self) -> None:
        """Crash when the coordination of this consumer with its group has ended, or its fetching.

        aiokafka tells the end only to a caller that asks for records, and stands still until then.
        In a rebalance nobody asks. That nothing is fetched any more it tells nobody.
        """
        app = self.consumer.app
        while not self.should_stop:
            await self.sleep(WATCH_S)
            if self._consumer is None or self.should_stop or app.should_stop:
                continue
            try:
                self._consumer._coordinator.check_errors()
                self._consumer._fetcher.check_fetching()
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and asked_to_end():
                    raise
                routine = self._consumer._coordinator._coordination_task
                if is_of_brokers(error) and not routine.done():
                    self.log.warning("The group could not be asked: %r", error)
                    continue
                asyncio.run_coroutine_threadsafe(app.crash(error), self.parent_loop)
                return

    async def _fetch_records(  # type: ignore[override]  # a batch has more than a list
        self,
        consumer: AIOKafkaConsumer,
        active_partitions: set[TP] | None,
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> dict[Any, RecordBatch]:
        """Fetch like stock code, but read positions right before and after the drain."""
        fetcher = consumer._fetcher
        deadline_s = monotonic() + (timeout or 0.0)
        with fetcher._subscriptions.fetch_context():
            while True:
                if consumer._closed or fetcher._closed:
                    raise ConsumerStoppedError
                if fetcher._subscriptions.reassignment_in_progress:
                    await asyncio.sleep(0.05)
                    return {}
                eras = self.consumer.eras()
                full = self.consumer.full | self.consumer.held
                wanted = (active_partitions or set()) - full
                # To aiokafka an empty set of partitions means all of them.
                if not self.consumer.flow_active or not wanted:
                    await asyncio.sleep(ROOM_POLL_S if full else 0)
                    return {}
                inflating = fetcher.inflating(wanted)
                batches = await drain(consumer, wanted, max_records, eras)
                remaining_s = deadline_s - monotonic()
                if batches or remaining_s <= 0:
                    return batches
                if full:
                    # There may be room soon, and the data is here already.
                    remaining_s = min(remaining_s, ROOM_POLL_S)
                # Other partitions go on meanwhile.
                await fetcher.wait_for_data(remaining_s, inflating or fetcher.inflating(wanted))


class BatchConsumer(QuietConsumer):
    """The group consumer of the app: every topic it reads is delivered by batch."""

    app: OwningApp

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.era = 0
        """Grows with every seek; a batch of an earlier era is void."""
        self._eras: Counter[TP] = Counter()
        """Additional eras of each partition: one for each time it was held."""
        self.held: frozenset[TP] = frozenset()
        """Partitions from which nothing is fetched until `deliver_from`."""
        self._released = False
        """True: all delivered batches are void, though their era is not over yet."""
        self._queued: Counter[TP] = Counter()
        self.full: frozenset[TP] = frozenset()
        """Partitions with as many waiting batches as allowed; nothing more is fetched from them."""
        self._room = asyncio.Event()
        self._turn = 0
        self._owned: frozenset[int] = frozenset()
        self._ownership = asyncio.Lock()
        self._ends = Joined(self._told_ends)
        self._taking: asyncio.Task[None] | None = None
        self._next: dict[TP, int] = {}
        self._unacknowledged: defaultdict[TP, deque[int]] = defaultdict(deque)
        self._acknowledged: defaultdict[TP, set[int]] = defaultdict(set)
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> _BatchThread:
        return _BatchThread(self, loop=self.loop, beacon=self.beacon)

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Yield one message for all fetched batches; full partitions are not fetched from.

        Faust makes tasks of each message. With one a partition they took longer than many folds.
        """
        if self._next and self.full >= self._next.keys() and self.flow_active:
            self._room.clear()
            await self.wait_first(self._room.wait(), self.suspend_flow.wait(), timeout=timeout)
            return
        async with self._loudly():
            fetched, _ = await self._wait_next_records(timeout)
        # What is passed over here is read again: the seek follows, or has been.
        if fetched is None or self.should_stop or not self.flow_active:
            return
        batches = [
            batch
            for batch in cast(Mapping[TP, RecordBatch], fetched).values()
            if batch.tp not in self.held and batch.era == self._era_of(batch.tp)
        ]
        for batch in batches:
            self._note_delivered(batch)
        if batches:
            yield batches[0].tp, self._message(batches)

    def _note_delivered(self, batch: RecordBatch) -> None:
        tp, expected = batch.tp, self._next.get(batch.tp)
        if batch.start != expected:
            raise DeliveryBroken(f"{tp} was to go on at {expected}, the batch is at {batch.start}")
        self._next[tp] = batch.next
        self._queued[tp] += 1
        if self._queued[tp] >= max(1, QUEUED_BATCHES // len(self._owned or (tp,))):
            self.full |= {tp}
        self._unacknowledged[tp].append(batch.next)
        # Stock drops what lies before the last delivery, which a seek may have gone back from.
        self._read_offset[tp] = None
        self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))

    def _message(self, batches: list[RecordBatch]) -> ConsumerMessage:
        """Return batches as a message of the first one's partition: one agent reads all of them."""
        batch = batches[0]
        timestamp_ms = batch[-1].timestamp if batch else 0
        timestamp_type = batch[-1].timestamp_type if batch else 0
        return ConsumerMessage(
            topic=batch.tp.topic,
            partition=batch.tp.partition,
            offset=batch.next - 1,
            timestamp=timestamp_ms / 1_000,
            timestamp_type=timestamp_type,
            headers=None,
            key=None,
            value=batches,  # type: ignore[arg-type]  # the raw codec passes any object through
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=0,
            tp=batch.tp,
            generation_id=self.app.consumer_generation_id,
        )

    def eras(self) -> Callable[[TP], int]:
        """Return a look-up of the partitions' eras as they are now, for another thread."""
        era, more = self.era, dict(self._eras)
        return lambda tp: era + more.get(tp, 0)

    def _era_of(self, tp: TP) -> int:
        return self.era + self._eras[tp]

    @property
    def group_heard_s(self) -> float:
        """Monotonic seconds of the group's last answer that this consumer is a member; -1: none."""
        consumer = getattr(self._thread, "_consumer", None)
        return -1.0 if consumer is None else float(consumer.heard_s)

    def fetched_ends(self, tp: TP) -> tuple[int, int] | None:
        """Return `Consumer.fetched_ends`."""
        consumer = getattr(self._thread, "_consumer", None)
        return None if consumer is None else cast(Consumer, consumer).fetched_ends(tp)

    def hold(self, partition: int) -> None:
        """Fetch nothing from a partition; batches on their way are void."""
        tps = self._of(partition)
        # In this order: who fetches looks at the era first.
        self.held |= tps
        self._eras.update(tps)
        self._forget(tps)

    def _of(self, partition: int) -> frozenset[TP]:
        return frozenset(TP(topic, partition) for topic in self.app.batch_topics)

    def _forget(self, tps: Iterable[TP]) -> None:
        for tp in tps:
            del self._queued[tp]
            self._unacknowledged.pop(tp, None)
            self._acknowledged.pop(tp, None)
        self.full -= frozenset(tps)
        self._room.set()

    async def deliver_from(self, partition: int, offsets: Mapping[TP, int]) -> bool:
        """Deliver a held partition from these offsets on; return False if a rebalance has begun.

        Raises:
            OffsetsLost: the log has no such offset.
            DeliveryBroken: the offsets are not of all of its logs.
            KafkaError: a log has no leader now, or no broker answers.
        """
        require_all(self._of(partition), offsets)
        # Before its turn: partitions that wait for theirs ask together.
        ends = await self._ends.all_answers(offsets, LEADER_MOVES_WITHIN_S)
        async with self._ownership:
            if self._released or partition not in self._owned:
                return False
            turn = self._turn
            # Also what was held before a rebalance that is over.
            self.hold(partition)
            offsets = {tp: checked(tp, at, *ends[tp]) for tp, at in offsets.items()}
            await self.seek_wait(offsets)
            if turn != self._turn or self._released:
                return False
            self._next |= offsets
            self.held -= frozenset(offsets)
            return True

    def take(self, batch: RecordBatch) -> bool:
        """Count `batch` as taken by the agent; return False if a rebalance has made it void.

        Batches are void from the release on. Otherwise an agent could skip one while the partition
        was away, take the next one after its return, and so lose the first.
        """
        if self._released or batch.era != self._era_of(batch.tp):
            return False
        self._queued[batch.tp] -= 1
        self.full -= {batch.tp}
        self._room.set()
        return True

    def acknowledge(self, batch: RecordBatch) -> bool:
        """Let the group's offset pass `batch`; return False if a rebalance has made it void."""
        if batch.era != self._era_of(batch.tp):
            return False
        self._acknowledged[batch.tp].add(batch.next)
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        return (
            tp
            for tp, acknowledged in self._acknowledged.items()
            if acknowledged and (topics is None or tp in topics or tp.topic in topics)
        )

    def _new_offset(self, tp: TP) -> int | None:
        """Return the offset up to which batches are acknowledged without gaps; None: no new one."""
        waiting, acknowledged = self._unacknowledged[tp], self._acknowledged[tp]
        offset = None
        while waiting and waiting[0] in acknowledged:
            offset = waiting.popleft()
            acknowledged.discard(offset)
        return offset

    def _should_commit(self, tp: TP, offset: int) -> bool:
        # Where the group had been before says nothing: the state decides.
        return True

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Do nothing: offsets without records are inside the batches."""

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """Release before stock code runs, since that forgets uncommitted offsets."""
        async with self._loudly():
            await self._release()
            await super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        """Tell the owner of an empty assignment, too; Faust does not seek for one."""
        async with self._loudly():
            await super().on_partitions_assigned(assigned, generation_id)
            if not assigned:
                with suppress(RebalanceAgain):
                    await self.perform_seek()

    @asynccontextmanager
    async def _loudly(self) -> AsyncIterator[None]:
        """Crash the app when a foreign cancellation ends a rebalance or a read.

        Without this the task would end silently, and all would wait for ever.
        """
        try:
            yield
        except asyncio.CancelledError as error:
            if asked_to_end():
                raise
            lost = CancelledUnderneath("what the consumer waited for was cancelled")
            await self.app.crash(lost)
            raise lost from error

    async def wait_empty(self) -> None:
        """Release on revoke and on stop; do not wait for Faust's own acks."""
        await self._release()
        self._unacked_messages.clear()
        # A crash ends the consumer's thread, on which a commit would wait.
        if not self.app.crashed:
            await super().wait_empty()

    async def _release(self) -> None:
        """Stop the delivery, let the owner flush, commit."""
        self._turn += 1
        self._released = True
        self.stop_flow()
        self.app.flow_control.suspend()
        self.app.flow_control.clear()
        if self._taking is not None:
            self._taking.cancel()
        if self.app.crashed:
            # Its thread ends: who has the lock may wait for it for ever.
            return
        async with self._ownership:
            owned, self._owned = self._owned, frozenset()
            if not owned or self.app.crashed:
                return
            try:
                await self.app.partition_owner.release(owned)
            except Exception as error:
                await self.app.crash(error)
                return
        # A commit under way may have begun before the owner acknowledged.
        await self.maybe_wait_for_commit_to_finish()
        await self.commit()

    async def perform_seek(self) -> None:
        """Let the owner take over the assigned partitions: it has each delivered from its state."""
        async with self._loudly():
            await self._begin_taking()

    async def _begin_taking(self) -> None:
        self._turn += 1
        turn = self._turn
        try:
            async with self._ownership:
                await self._take_over(turn)
                self._begin_era()
        except RebalanceAgain:
            raise
        except Exception as error:
            if turn != self._turn:
                raise RebalanceAgain from error
            await self.app.crash(error)
            raise

    def _begin_era(self) -> None:
        # In this order: who fetches looks at the era first.
        self.held = frozenset(tp for number in self._owned for tp in self._of(number))
        self.era += 1
        self._released = False
        self._queued.clear()
        self.full = frozenset()
        self._unacknowledged.clear()
        self._acknowledged.clear()
        self._next.clear()

    async def _take_over(self, turn: int) -> None:
        if turn != self._turn:
            raise RebalanceAgain
        taking = self._taking = asyncio.ensure_future(self._take())
        try:
            await asyncio.wait([taking])
        finally:
            self._taking = None
            if not taking.done():
                taking.cancel()
                await asyncio.wait([taking])
        if turn != self._turn:
            if not taking.cancelled() and (error := taking.exception()):
                self.log.warning("Taking over failed in a rebalance: %r", error)
            raise RebalanceAgain
        taking.result()

    async def _take(self) -> None:
        assigned = {TP(tp.topic, tp.partition) for tp in self.assignment()}
        self._owned = common_partitions(assigned, self.app.batch_topics)
        await self.app.partition_owner.assign(self._owned)

    async def _told_ends(self, tps: Collection[TP]) -> dict[TP, tuple[int, int]]:
        """Return where logs begin and end; those whose leader does not answer are left out.

        aiokafka waits for a leader, and with it all that is asked of the consumer's thread.
        """
        consumer = cast(Consumer, self._thread._ensure_consumer())
        told = await self._thread.call_thread(consumer.led_bounds, tps)
        return cast(dict[TP, tuple[int, int]], told)
