"""The engine of one worker: which partitions it owns, the logs it follows, and who may ask what.

Faust decides who owns a partition (`assign`, `release`); the engine restores its state, runs the
agents beside it, and answers for it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from functools import partial
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import RecordMetadata
from faust.types import TP

from agents.ahead import forward_ahead
from agents.close import close
from agents.flush import flush
from agents.forward import Forwarder
from agents.guard import guard
from agents.observe import Observed, observe
from agents.refold import refold
from agents.show import show
from agents.tick import Ticker
from agents.verify import verify_samples
from app.api.meter import DeadLetterView, RecordView, Unavailable
from app.appender import Appender, producer_options
from app.cancelled import CancelledUnderneath, asked_to_end
from app.clients import Consumer, InOrderProducer
from app.clock import Clock
from app.definitions.outcome import Applied, Rejected, Touch
from app.definitions.state import Definitions
from app.home import Homes
from app.owned import OwnedPartition, Progress, RawPlace, Shared
from app.progress import ProgressTable
from app.republished import output_tp
from app.restore import DefinitionsLost, refill_members, restore
from app.scan import Scan
from app.settings import Settings
from app.topics import CELLS_CHANGELOG, EVENTS_REKEYED, METER_DEFINITIONS, METER_PROGRESS
from app.transport import MeterApp
from app.verify import VerifyTally
from app.wire.arrivals import Arrived, arrivals_of
from app.wire.records import Headers
from tables.stores.changelog import (
    Fenced,
    LogReader,
    PartitionProducer,
    RecordReader,
)
from tables.stores.members import MemberStore

log = logging.getLogger(__name__)

_REMEMBERED_OUTCOMES = 10_000
_SHOWN = 50
_PATIENCE_S = 3.0
_RELEASED_WITHIN_S = 15.0
"""Well within the rebalance timeout: until we have let go, nobody else has anything."""
_CANCEL_AGAIN_S = 5.0
_RESTORED_AT_ONCE = 2
_SCHEDULED_AT_ONCE = 1_000


class Engine:
    """Implements `app.transport.PartitionOwner`."""

    def __init__(self, settings: Settings, clock: Clock, url: str):
        self.settings = settings
        self.clock = clock
        self.url = url
        self.definitions = Definitions()
        self.progress = ProgressTable()
        self.owned: dict[int, OwnedPartition] = {}
        self.parked: dict[int, OwnedPartition] = {}
        """Released, but still ours unless somebody else has taken them."""
        self.restoring: frozenset[int] = frozenset()
        self.touches: list[tuple[int, int, Touch]] = []
        """(offset, append time, touch) of every definition that may change usage."""
        self.failure: BaseException | None = None
        self.failed = asyncio.Event()
        self.offsets_lost = False
        """Whether it failed because retention took what was not folded yet."""
        self.assigned = False
        """Whether Faust has told once which partitions are ours."""
        self._dropped = False
        """Whether a partition was given up since the collector was last told what stays."""
        self.observed: dict[int, Observed] = {}
        self.latest_records: deque[RecordView] = deque(maxlen=_SHOWN)
        self.dead_letters: deque[DeadLetterView] = deque(maxlen=_SHOWN)
        self.outcomes: dict[int, Applied | Rejected] = {}
        self.homes = Homes(self.definitions, settings.raw_partitions)
        self.verified = VerifyTally()
        self.members = MemberStore(settings)
        self.forwarding = InOrderProducer(**producer_options(settings))
        self.forwarder = Forwarder(settings, self.forwarding)
        self.appender = Appender(settings)
        self.ticker = Ticker(settings, clock, self.definitions, self.progress, self.appender)
        self.raw_records = RecordReader(settings)
        self._ends = Consumer(
            enable_auto_commit=False, isolation_level="read_committed", **settings.kafka_options()
        )
        self._written = Consumer(enable_auto_commit=False, **settings.kafka_options())
        self._definitions_log = LogReader(settings, settings.topic(METER_DEFINITIONS))
        self._progress_log = LogReader(settings, settings.topic(METER_PROGRESS))
        self._tasks: list[asyncio.Task[None]] = []
        self._partition_tasks: dict[int, list[asyncio.Task[None]]] = {}
        self._app: MeterApp | None = None
        self.shared = Shared(
            settings=settings,
            clock=clock,
            definitions=self.definitions,
            homes=self.homes,
            members=self.members,
            url=url,
            crash=self.crash,
            acknowledge=lambda batch: self._app is not None and self._app.acknowledge(batch),
            find_raw=self.find_raw_many,
            definitions_end=self._definitions_end,
            refill_members=partial(refill_members, settings, self.members),
        )
        self.ticker.wanted_definitions_ms = lambda: self.shared.definitions_wanted_ms

    # Life

    def set_url(self, url: str) -> None:
        """Where the other workers reach this one."""
        self.url = self.shared.url = url

    def attach(self, app: MeterApp) -> None:
        """The Faust app whose partitions these are."""
        self._app = app

    async def start(self) -> None:
        """Connect, and apply the definitions log to its end."""
        await self.forwarding.start()
        await self.appender.start()
        await self._ends.start()
        await self._written.start()
        await self._check_definitions()
        await self.members.start()
        self._run(lambda: self._follow(self._definitions_log, self._define))
        self._run(lambda: self._follow(self._progress_log, self._note_progress))
        await self._caught_up()
        self._run(lambda: self.ticker.run(lambda: self.owned.values()))
        self._run(lambda: observe(self))
        self._run(lambda: verify_samples(self))
        self._run(lambda: guard(self))
        self._run(lambda: show(self))

    async def _caught_up(self) -> None:
        """Both logs are read to the end that they had. Raises what kept them from it."""
        logs = (self._definitions_log, self._progress_log)
        reading: asyncio.Future[Any] = asyncio.gather(*(log.caught_up.wait() for log in logs))
        failing: asyncio.Future[Any] = asyncio.ensure_future(self.failed.wait())
        try:
            await asyncio.wait([reading, failing], return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            failing.cancel()
        if self.failure is not None:
            raise self.failure

    async def stop(self) -> None:
        """Let go of everything; partitions were released before, unless the worker crashed."""
        for tasks in self._partition_tasks.values():
            await _cancel(tasks)
        await _cancel(self._tasks)
        for owned in [*self.owned.values(), *self.parked.values()]:
            await owned.halt()
            await owned.producer.stop()
            owned.table.index.close()
        self.owned.clear()
        self.parked.clear()
        for part in (self._definitions_log, self._progress_log, self.raw_records, self.members):
            await part.stop()
        await self._written.stop()
        await self._ends.stop()
        await self.forwarding.stop()
        await self.appender.stop()

    async def crash(self, error: BaseException) -> None:
        """Something that must not be passed over failed: end the worker."""
        self.failure = self.failure or error
        self.failed.set()
        log.error("The worker stops: %s", error, exc_info=error)
        if self._app is not None:
            await self._app.crash(error)

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(asyncio.create_task(self._crashing(work)))

    async def _crashing(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """`work` is begun here, for a task may be cancelled before it runs at all."""
        try:
            await work()
        except asyncio.CancelledError as error:
            if asked_to_end():
                raise
            lost = CancelledUnderneath(f"what {work} waited for was cancelled")
            lost.__cause__ = error
            await self.crash(lost)
        except Exception as error:
            await self.crash(error)

    async def append(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int,
        headers: Headers = (),
    ) -> RecordMetadata:
        """Append a record outside the transactions of the partitions; acknowledged by all.

        Raises:
            Unavailable: it was refused, or no broker answers.
        """
        timestamp_ms = self.clock.now_ms() if self.settings.test_clock else None
        try:
            return await self.appender.append(
                topic, key, value, partition, headers, timestamp_ms=timestamp_ms
            )
        except KafkaError as error:
            raise Unavailable(f"{topic} takes no record now: {error!r}") from error

    # The logs that every worker follows

    async def _check_definitions(self) -> None:
        """The log that says what every event counts for must be whole."""
        settings, tp = self.settings, self._definitions_log.tp
        cells = [
            TopicPartition(settings.topic(CELLS_CHANGELOG), number)
            for number in range(settings.raw_partitions)
        ]
        start = (await self._ends.beginning_offsets([tp]))[tp]
        ends = await self._ends.end_offsets([tp, *cells])
        if start > 0:
            raise DefinitionsLost(tp.topic, f"begins at offset {start}")
        if ends[tp] == 0 and any(ends[cell] for cell in cells):
            raise DefinitionsLost(tp.topic, f"is empty, but {cells[0].topic} is not")

    async def _definitions_end(self) -> int:
        tp = self._definitions_log.tp
        end: int = (await self._ends.end_offsets([tp]))[tp]
        return end

    async def _follow(
        self, reader: LogReader, take: Callable[[bytes | None, int, int], Awaitable[None]]
    ) -> None:
        async for batch in reader.batches():
            for record in batch:
                await take(record.value, record.timestamp_ms, record.offset)

    async def _define(self, value: bytes | None, timestamp_ms: int, offset: int) -> None:
        outcome = self.definitions.apply(value, timestamp_ms, offset)
        append_time_ms = self.definitions.append_time_ms
        if outcome is not None:
            self.shared.last_definition = (offset + 1, append_time_ms)
            self.outcomes[offset] = outcome
            if len(self.outcomes) > _REMEMBERED_OUTCOMES:
                del self.outcomes[next(iter(self.outcomes))]
            touch = outcome.touch if isinstance(outcome, Applied) else None
            if touch is not None:
                self.touches.append((offset, append_time_ms, touch))
                if touch.organization_id is None:
                    self.homes.forget()
            for owned in self.owned.values():
                owned.define(touch, offset, append_time_ms)
        else:
            for owned in self.owned.values():
                owned.woken.set()
        async with self.shared.definitions_changed:
            self.shared.definitions_changed.notify_all()

    async def _note_progress(self, value: bytes | None, timestamp_ms: int, offset: int) -> None:
        self.progress.note(value)
        for owned in self.owned.values():
            owned.woken.set()

    # Ownership

    async def assign(self, partitions: frozenset[int]) -> Mapping[TP, int]:
        """Take over partitions: reclaim what nobody else took, restore the rest."""
        await self.release(frozenset(self.owned.keys() - partitions))
        await self._let_go(self.parked.keys() - partitions)
        wanted = [number for number in partitions if number not in self.owned]
        self.restoring = frozenset(wanted)
        # What is restored stays: the collector need not walk a million cells again and again.
        gc.disable()
        try:
            await self._take_over(wanted)
        finally:
            self.restoring = frozenset()
            gc.enable()
        self.assigned = True
        self._settle_memory()
        offsets: dict[TP, int] = {}
        raw, rekeyed = (
            self.settings.topic(self.settings.raw_topic),
            self.settings.topic(EVENTS_REKEYED),
        )
        for number in partitions:
            record = self.owned[number].table.record
            offsets[TP(raw, number)] = record.raw_next
            offsets[TP(rekeyed, number)] = record.rekeyed_next
        return offsets

    async def _let_go(self, numbers: Iterable[int]) -> None:
        """Forget what went to other workers; a batch on its way to the fold ends there.

        At once: they may have it while much else is restored here.
        """
        for owned in [self.parked.pop(number) for number in sorted(numbers)]:
            await self._give_up(owned)

    async def _give_up(self, owned: OwnedPartition) -> None:
        """Nothing of the partition is written from here on, wherever it is in use yet."""
        await owned.abandon()
        await owned.halt()
        await owned.producer.stop()
        self._dropped = True

    def _settle_memory(self) -> None:
        """Let the collector pass over what stays, but not over a partition that was given up."""
        if self._dropped:
            gc.unfreeze()
            self._dropped = False
        gc.collect()
        gc.freeze()

    async def _take_over(self, wanted: list[int]) -> None:
        """Several at a time: one waits for the broker while another decodes."""
        at_once = asyncio.Semaphore(_RESTORED_AT_ONCE)

        async def take(number: int) -> None:
            async with at_once:
                self.owned[number] = await self._reclaim(number) or await self._restore(number)
                self._start_agents(self.owned[number])

        taking = [asyncio.create_task(take(number)) for number in wanted]
        try:
            await asyncio.gather(*taking)
        finally:
            await _cancel(taking)

    async def release(self, partitions: frozenset[int]) -> None:
        """Flush and acknowledge; the state stays at hand in case the partitions come back."""
        until_s = asyncio.get_running_loop().time() + _RELEASED_WITHIN_S
        numbers = sorted(partitions & self.owned.keys())
        parking = [asyncio.create_task(self._park(number, until_s)) for number in numbers]
        try:
            await asyncio.gather(*parking)
        finally:
            await _cancel(parking)

    async def _park(self, number: int, until_s: float) -> None:
        owned = self.owned[number]
        await _cancel(self._partition_tasks.pop(number, []))
        try:
            await self._last_flush(owned, until_s)
        except Fenced:
            log.warning("Partition %s could not be flushed: its next owner goes on", number)
            await self._give_up(owned)
            del self.owned[number]
            return
        await owned.halt()
        self.parked[number] = self.owned.pop(number)

    async def _last_flush(self, owned: OwnedPartition, until_s: float) -> None:
        """Flush; give the partition up if that takes long, which must not hold others up.

        Redis may be away, and a fold that waits for the definitions log stands in the middle of a
        batch: the log may go on only when the rebalance is over.
        """
        flushing = asyncio.ensure_future(owned.flush())
        while not flushing.done():
            await asyncio.wait([flushing], timeout=_PATIENCE_S)
            if flushing.done():
                break
            late = asyncio.get_running_loop().time() >= until_s
            if late or owned.waits_for_definitions or not self.members.available:
                await owned.abandon()
                flushing.cancel()
                raise Fenced(f"partition {owned.number} was given up: its last flush takes long")
        flushing.result()

    async def _reclaim(self, number: int) -> OwnedPartition | None:
        """A parked partition whose producer was not fenced is still exactly as we left it."""
        owned = self.parked.pop(number, None)
        if owned is None:
            return None
        owned.batches.clear()
        owned.moved = True
        try:
            await owned.flush()
        except BaseException as error:
            # Also when another rebalance ends it: nobody has it any more.
            await self._give_up(owned)
            if isinstance(error, Fenced):
                return None
            raise
        self._catch_up(owned)
        return owned

    async def _restore(self, number: int) -> OwnedPartition:
        producer = PartitionProducer(self.settings, number)
        try:
            await producer.start()
            return await self._restored(number, producer)
        except BaseException:
            # A rebalance may end it: nothing of it may write any more.
            await producer.stop()
            raise

    async def _restored(self, number: int, producer: PartitionProducer) -> OwnedPartition:
        told_epoch = self.progress.epoch(number)
        owned = await restore(number, producer, self.shared, self._touches_since, told_epoch)
        if owned.unheard_of:
            await self._begin_at_log_start(owned)
        names = [
            name
            for name in self.definitions.all_subscription_keys()
            if self.homes.of(*name) == number
        ]
        for count, name in enumerate(names):
            owned.schedule.update(name)
            owned.table.cool(name)
            if count % _SCHEDULED_AT_ONCE == 0:
                await asyncio.sleep(0)
        owned.moved = True
        await owned.flush()
        self._catch_up(owned)
        return owned

    async def _begin_at_log_start(self, owned: OwnedPartition) -> None:
        """A partition nothing was ever folded of: what retention took before is not missed.

        From here on the offsets stand in the partition record, and a gap before them is a loss.
        """
        raw = TopicPartition(self.settings.topic(self.settings.raw_topic), owned.number)
        rekeyed = TopicPartition(self.settings.topic(EVENTS_REKEYED), owned.number)
        starts = await self._ends.beginning_offsets([raw, rekeyed])
        record = owned.table.record
        record.raw_next, record.rekeyed_next = starts[raw], starts[rekeyed]

    def _catch_up(self, owned: OwnedPartition) -> None:
        """Take over what was defined while the partition was not among the owned ones."""
        for offset, append_time_ms, touch in self._touches_since(owned.definitions_seen):
            owned.define(touch, offset, append_time_ms)

    def _touches_since(self, offset: int) -> list[tuple[int, int, Touch]]:
        return [entry for entry in self.touches if entry[0] >= offset]

    def _start_agents(self, owned: OwnedPartition) -> None:
        agents: list[Callable[[], Coroutine[Any, Any, None]]] = [
            lambda: flush(owned),
            lambda: close(owned, self.progress, self.rekeyed_end),
            lambda: refold(owned, self.scan),
            lambda: forward_ahead(owned, self.forwarder, self._report),
        ]
        self._partition_tasks[owned.number] = [
            asyncio.create_task(self._crashing(agent)) for agent in agents
        ]

    async def _report(self, progress: Progress) -> None:
        """Tell all workers of progress that no flush goes with."""
        topic, key = self.settings.topic(METER_PROGRESS), str(progress.partition).encode()
        await self.append(topic, key, progress.encode(), 0)

    # Reading the logs again

    def scan(self, owned: OwnedPartition) -> Scan:
        """A reader of all events of a partition."""
        default = self.definitions.settings_at().default_organization_id
        return Scan(self.settings, owned.number, self.homes, default)

    async def rekeyed_end(self, number: int) -> int:
        """The end of a partition of events-rekeyed."""
        tp = TopicPartition(self.settings.topic(EVENTS_REKEYED), number)
        return int((await self._ends.end_offsets([tp]))[tp])

    async def raw_end(self, number: int) -> int:
        """The end of a partition of events-raw."""
        tp = TopicPartition(self.settings.topic(self.settings.raw_topic), number)
        return int((await self._ends.end_offsets([tp]))[tp])

    async def output_ends(self, numbers: Iterable[int]) -> dict[int, int]:
        """The ends of partitions of usage-records; 0 when there is no such topic any more.

        Not where readers of what is committed end: before a transaction whose markers are not
        written yet, which may take as long as a partition has no leader.
        """
        tps = [output_tp(self.settings, number) for number in numbers]
        known = await self._written.topics()
        there = [tp for tp in tps if tp.topic in known]
        ends = await self._written.end_offsets(there) if there else {}
        return {tp.partition: int(ends.get(tp, 0)) for tp in tps}

    async def log_starts(self, number: int) -> tuple[int, int]:
        """The first offsets that a partition of events-raw and events-rekeyed still has."""
        settings = self.settings
        topics = (settings.topic(settings.raw_topic), settings.topic(EVENTS_REKEYED))
        raw, rekeyed = (TopicPartition(topic, number) for topic in topics)
        starts = await self._ends.beginning_offsets([raw, rekeyed])
        return int(starts[raw]), int(starts[rekeyed])

    async def find_raw(self, partition: int, offset: int, index: int) -> Arrived | None:
        """One element of one raw record; None when the log has it no longer."""
        place = (partition, offset, index)
        return (await self.find_raw_many([place])).get(place)

    async def find_raw_many(self, places: Iterable[RawPlace]) -> dict[RawPlace, Arrived]:
        """Elements of raw records, without those that the log has no longer."""
        topic = self.settings.topic(self.settings.raw_topic)
        default = self.definitions.settings_at().default_organization_id
        wanted: dict[int, dict[int, set[int]]] = {}
        for partition, offset, index in places:
            wanted.setdefault(partition, {}).setdefault(offset, set()).add(index)
        found: dict[RawPlace, Arrived] = {}
        for partition, indexes in wanted.items():
            records = await self.raw_records.read_many(topic, partition, indexes)
            for offset, record in records.items():
                for arrived in arrivals_of(
                    record.value, record.headers, record.timestamp_ms, partition, offset, default
                ):
                    at = getattr(arrived, "array_index", None)
                    if at is not None and at in indexes[offset]:
                        found[partition, offset, at] = arrived
        return found


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel and wait for the end, again and again: `asyncio.wait_for` of Python 3.11 may swallow
    a cancellation, and whoever waits for such a task would hold up the whole group.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=_CANCEL_AGAIN_S)
    tasks.clear()
