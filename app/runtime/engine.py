"""The engine of one worker: which partitions it owns, the logs it follows, and who may ask what.

Faust decides who owns a partition (`assign`, `release`); the engine restores its state, runs the
agents beside it, and answers for it.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any, Protocol

from aiokafka import TopicPartition
from aiokafka.structs import RecordMetadata
from faust.types import TP
from prometheus_client import Histogram

from agents.check_output import guard
from agents.close import close
from agents.flush import flush
from agents.forward_while_stalled import forward_ahead
from agents.probe import probe
from agents.refold import refold
from agents.renew import renew
from agents.sample_lag import observe
from agents.tail_output import show
from agents.tick import Ticker
from agents.verify_samples import verify_samples
from app.apart import first_failure
from app.api.meter import BeyondRetention, DeadLetterView, RecordView, Unavailable
from app.appender import Appender, producer_options
from app.brokers import Brokers
from app.cancelled import CancelledUnderneath, asked_to_end
from app.clients import NOT_TAKEN, Consumer, InOrderProducer
from app.clock import Clock
from app.definitions.judging import Judging
from app.definitions.model import SetAside
from app.definitions.outcome import Applied, Rejected, Touch
from app.definitions.quotas import Taken
from app.definitions.set_asides import LIFT
from app.definitions.state import Definitions
from app.fetched import limit_after
from app.home import Homes
from app.log import Event, facts, told
from app.owned import OutputLost, OwnedPartition, RawPlace, Shared
from app.republished import output_tp
from app.runtime.forwarder import Forwarder
from app.runtime.health import Code, Health, Reason
from app.runtime.progress import ProgressTable, Seal
from app.runtime.reports import Reports
from app.runtime.restore import DefinitionsLost, refill_members, restore
from app.runtime.scan import Scan
from app.runtime.scans import Scans
from app.runtime.status import Observed, VerifyTally
from app.settings import Settings
from app.stack.errors import StackError
from app.topics import CELLS_CHANGELOG, EVENTS_REKEYED, METER_DEFINITIONS, METER_PROGRESS
from app.transport import RecordBatch
from app.turns import Steps, Work
from app.wire.arrivals import Arrived, arrivals_of
from app.wire.records import Headers
from tables.partition import StateTooNew
from tables.stores.changelog import (
    Fenced,
    LogReader,
    LogRecord,
    PartitionProducer,
    RecordReader,
)
from tables.stores.members import MemberStore

log = logging.getLogger(__name__)

_DEFINING = Work("define", "definitions log")
_NOTING = Work("other", "progress log")
_STEP_RECORDS = 64
_STEP_BYTES = 64 * 1024
_REMEMBERED_TOUCHES = 100_000
"""20 MB: whoever comes back after more of them looks at everything."""
_SHOWN = 50
_PATIENCE_S = 3.0
_RELEASED_WITHIN_S = 15.0
"""Well within the rebalance timeout: until we have let go, nobody else has anything."""
_RESTORE_BUCKETS_S = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_CANCEL_AGAIN_S = 5.0
_ONLY_BY_HAND = (StackError, StateTooNew, OutputLost, BeyondRetention)
"""What a partition fails with that a restore of it alone does not mend."""
_MENDED_AFTER_S = 0.5
_MENDED_AFTER_MOST_S = 30.0
"""What fails again and again is restored ever less often, and others have the time."""
_SOUND_AFTER_S = 120.0
_HEARD_POLL_S = 0.1
_RESTORED_AT_ONCE = 2
_DEFINITIONS_POLL_S = 0.02


class Delivery(Protocol):
    """What the engine asks of whoever delivers batches."""

    def acknowledge(self, batch: RecordBatch) -> bool: ...

    async def crash(self, error: BaseException) -> None: ...

    @property
    def group_heard_s(self) -> float:
        """Monotonic time of the group's last answer that we are in it."""
        ...

    def hold(self, partition: int) -> None:
        """Deliver nothing of a partition; what is on its way is void."""
        ...

    async def deliver_from(self, partition: int, offsets: Mapping[TP, int]) -> bool:
        """Deliver a held partition again, from there; False when a rebalance has begun."""
        ...


class Engine:
    """Implements `app.transport.PartitionOwner`."""

    def __init__(self, settings: Settings, clock: Clock, url: str):
        self.settings = settings
        self.clock = clock
        self.url = url
        self.definitions = Definitions()
        self.progress = ProgressTable()
        self._told_unsealed = False
        self.owned: dict[int, OwnedPartition] = {}
        self.parked: dict[int, OwnedPartition] = {}
        """Released, but still ours unless somebody else has taken them."""
        self.restoring: frozenset[int] = frozenset()
        self.touches: deque[tuple[int, int, Touch]] = deque(maxlen=_REMEMBERED_TOUCHES)
        """(offset, append time, touch) of the last definitions that may change usage."""
        self.failure: BaseException | None = None
        self.failed = asyncio.Event()
        self.offsets_lost = False
        """Whether it failed because retention took what was not folded yet."""
        self.assigned = False
        """Whether Faust has told once which partitions are ours."""
        self._assigned: frozenset[int] = frozenset()
        """What the group told last."""
        self._rebalancing_s: float | None = None
        """Since when it is being told anew."""
        self._dropped = False
        """Whether a partition was given up since the collector was last told what stays."""
        self.restore_seconds = Histogram(
            "meter_restore_seconds",
            "Time to take a partition over, by where its state was read from.",
            ("from",),
            buckets=_RESTORE_BUCKETS_S,
            registry=None,
        )
        for source in ("changelog", "raw", "parked"):
            self.restore_seconds.labels(source)
        self.observed: dict[int, Observed] = {}
        self.definitions_lag: int | None = None
        """Records of the definitions log that are not applied; None: not known."""
        self.latest_records: deque[RecordView] = deque(maxlen=_SHOWN)
        self.dead_letters: deque[DeadLetterView] = deque(maxlen=_SHOWN)
        self.awaited: dict[bytes, asyncio.Future[Applied | Rejected]] = {}
        """Who waits for what becomes of a record that was appended here, by its value."""
        self.taken = Taken()
        self.homes = Homes(self.definitions, settings.raw_partitions)
        self.verified = VerifyTally()
        self._limit_batches()
        self.members = MemberStore(settings)
        self.brokers = Brokers(settings)
        self.health = Health(clock.now_ms)
        self.silent_peers: Mapping[str, Sequence[int]] = {}
        """Partitions of workers that do not answer, by their URL."""
        self.disk_free_bytes: int | None = None
        self.redis_memory: tuple[int, int] | None = None
        """(bytes used, bytes allowed; 0: without a limit), as Redis said last."""
        self.forwarder = Forwarder(settings, lambda: InOrderProducer(**producer_options(settings)))
        self.appender = Appender(settings)
        self._seal = Seal(settings)
        self.reports = Reports(settings.topic(METER_PROGRESS), self._seal, self.append)
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
        self._mending: dict[int, asyncio.Task[None]] = {}
        """Partitions of ours that failed and are being restored."""
        self._mended: dict[int, tuple[int, float]] = {}
        """(how often in a row, when at last) a partition failed."""
        self._app: Delivery | None = None
        self.shared = Shared(
            settings=settings,
            clock=clock,
            definitions=self.definitions,
            homes=self.homes,
            members=self.members,
            url=url,
            crash=self.crash,
            fail=self.fail,
            report=self.reports.tell,
            group_heard_s=self._group_heard_s,
            brokers=self.brokers,
            acknowledge=lambda batch: self._app is not None and self._app.acknowledge(batch),
            find_raw=self.find_raw_many,
            log_starts=self.log_starts,
            definitions_caught_up=self._definitions_caught_up,
            refill_members=partial(refill_members, settings, self.members),
            first_failure=first_failure,
        )
        self.brokers.seconds = self.shared.tally.kafka_seconds
        self.scans = Scans(self.shared.turns)
        self.ticker.wanted_definitions_ms = lambda: self.shared.definitions_wanted_ms

    # Life

    def set_url(self, url: str) -> None:
        """Where the other workers reach this one."""
        self.url = self.shared.url = url

    def attach(self, app: Delivery) -> None:
        """The Faust app whose partitions these are."""
        self._app = app

    async def start(self) -> None:
        """Connect, and apply the definitions log to its end."""
        await self.forwarder.start()
        await self.appender.start()
        await self._ends.start()
        await self._written.start()
        await self._check_definitions()
        await self.members.start()
        self._run(lambda: self._follow(self._definitions_log, _DEFINING, self._define))
        self._run(lambda: self._follow(self._progress_log, _NOTING, self._note_progress))
        # What is defined stays: the collector need not walk a million definitions at all.
        gc.disable()
        try:
            await self._caught_up()
        finally:
            gc.freeze()
            gc.enable()
        self._run(lambda: self.ticker.run(lambda: self.owned.values()))
        self._run(self.brokers.watch)
        self._run(self.reports.run)
        self._run(lambda: observe(self))
        self._run(lambda: verify_samples(self))
        self._run(lambda: guard(self))
        self._run(lambda: show(self))
        self._run(lambda: probe(self))

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
        await self._stop_mending(list(self._mending))
        for tasks in self._partition_tasks.values():
            await _cancel(tasks)
        await _cancel(self._tasks)
        for owned in [*self.owned.values(), *self.parked.values()]:
            await owned.suspend()
            await owned.halt()
            await owned.producer.stop()
            owned.table.index.close()
        self.owned.clear()
        self.parked.clear()
        for part in (self._definitions_log, self._progress_log, self.raw_records, self.members):
            await part.stop()
        await self._written.stop()
        await self._ends.stop()
        await self.forwarder.stop()
        await self.appender.stop()

    async def crash(self, error: BaseException) -> None:
        """Something that must not be passed over failed: end the worker."""
        self.failure = self.failure or error
        self.failed.set()
        log.error("The worker failed: %s", told(error), exc_info=error)
        if self._app is not None:
            await self._app.crash(error)

    def reasons(self) -> list[Reason]:
        """Everything that is not as it should be."""
        reasons, now_ms = self.health.reasons(), self.clock.now_ms()
        if self.failure is not None:
            code: Code = "offsets_lost" if self.offsets_lost else "stopping"
            reasons.insert(0, Reason(code, now_ms, f"the worker stops: {self.failure}"))
        elif self.restoring and not self.owned.keys() - self.restoring:
            numbers = ", ".join(map(str, sorted(self.restoring)))
            reasons.insert(0, Reason("restoring", now_ms, f"restoring partitions {numbers}"))
        elif not self.assigned:
            reasons.insert(0, Reason("starting", now_ms, "no partitions assigned yet"))
        return reasons

    @property
    def parked_subscriptions(self) -> int:
        """How many have figures that stand as they are."""
        return sum(len(owned.table.parked) for owned in self.owned.values())

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
        if self.brokers.away_since_s is not None:
            raise Unavailable("Kafka does not answer")
        timestamp_ms = self.clock.now_ms() if self.settings.test_clock else None
        try:
            return await self.appender.append(
                topic, key, value, partition, headers, timestamp_ms=timestamp_ms
            )
        except NOT_TAKEN as error:
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

    async def _definitions_caught_up(self) -> int:
        """Wait until everything that the log has now is applied; the offset after it.

        By how far it is read, for what it ends with may be no record: a transaction's marker.
        """
        tp = self._definitions_log.tp
        end: int = (await self._ends.end_offsets([tp]))[tp]
        while self._definitions_log.next < end:
            await asyncio.sleep(_DEFINITIONS_POLL_S)
        return end

    async def _follow(
        self, reader: LogReader, work: Work, take: Callable[[LogRecord], Steps[object] | None]
    ) -> None:
        """Take over a log, a few records in a turn of the event loop: it may have a million."""
        async for batch in reader.batches():
            await self.shared.turns.run(work, in_steps(batch, take))
            if work is _DEFINING:
                async with self.shared.definitions_changed:
                    self.shared.definitions_changed.notify_all()

    def _define(self, record: LogRecord) -> Steps[None]:
        value, offset = record.value, record.offset
        outcome = yield from self.definitions.applying(value, record.timestamp_ms, offset)
        # In the very step in which it came into force: no fold has seen it yet.
        append_time_ms = self.definitions.append_time_ms
        if outcome is None:
            for owned in self.owned.values():
                owned.woken.set()
            return
        self.shared.last_definition = (offset + 1, append_time_ms)
        touch = outcome.touch if isinstance(outcome, Applied) else None
        if isinstance(outcome, Applied) and isinstance(outcome.object, SetAside):
            self._tell_set_aside(outcome.kind, outcome.object)
        if touch is not None:
            self.touches.append((offset, append_time_ms, touch))
            if touch.organization_id is None:
                self.homes.forget()
                self._limit_batches()
        for owned in self.owned.values():
            owned.define(touch, offset, append_time_ms)
        waiting = self.awaited.pop(value or b"", None)
        if waiting is not None and not waiting.done():
            waiting.set_result(outcome)

    def _limit_batches(self) -> None:
        raw_topic = self.settings.topic(self.settings.raw_topic)
        limit_after(raw_topic, self.definitions.limited_after_ms())

    def _tell_set_aside(self, kind: str, one: SetAside) -> None:
        if not self._definitions_log.caught_up.is_set():
            # It was told when it happened.
            return
        event: Event = "lifted" if kind == LIFT else "set_aside"
        log.info(
            "%s: %s records of raw partition %s from offset %s: %s",
            event,
            one.count,
            one.partition,
            one.offset,
            one.code,
            extra=facts(
                event,
                partition=one.partition,
                offset=one.offset,
                count=one.count,
                code=one.code,
                index=-1 if one.index is None else one.index,
            ),
        )

    def _note_progress(self, record: LogRecord) -> None:
        progress = self._seal.open(record.value)
        if progress is None:
            self._note_unsealed(record)
            return
        self.progress.note(progress)
        for owned in self.owned.values():
            owned.woken.set()

    def _note_unsealed(self, record: LogRecord) -> None:
        """Somebody wrote over a report; the topic is compacted, so it is told once more."""
        if not self._told_unsealed:
            self._told_unsealed = True
            log.warning(
                "Offset %s of meter-progress is not sealed with METER_PEER_SECRET of this worker: "
                "other workers have another one, or somebody else may write there",
                record.offset,
                extra=facts("note"),
            )
        for number in self.owned:
            ours = self.progress.of(number)
            if record.key == str(number).encode() and ours is not None and ours.url == self.url:
                self.reports.tell(ours)

    # Ownership

    async def assign(self, partitions: frozenset[int]) -> Mapping[TP, int]:
        """Take over partitions: reclaim what nobody else took, restore the rest."""
        self._rebalancing_s = self._rebalancing_s or monotonic()
        await self._stop_mending(list(self._mending))
        await self.release(frozenset(self.owned.keys() - partitions))
        await self._let_go(self.parked.keys() - partitions)
        wanted = [number for number in partitions if number not in self.owned]
        self.restoring = frozenset(wanted)
        # What is restored stays: the collector need not walk a million cells again and again.
        gc.disable()
        try:
            taken = await self._take_over(wanted)
        finally:
            self.restoring = frozenset()
            gc.enable()
        self.assigned = True
        self._tell_rebalance(partitions)
        self._settle_memory()
        offsets: dict[TP, int] = {}
        for number in partitions:
            # One may have failed since: it is restored, and then delivered from elsewhere.
            offsets |= self._offsets(self.owned.get(number) or taken[number])
        return offsets

    def _tell_rebalance(self, partitions: frozenset[int]) -> None:
        gained, lost = sorted(partitions - self._assigned), sorted(self._assigned - partitions)
        seconds = monotonic() - (self._rebalancing_s or monotonic())
        self._assigned, self._rebalancing_s = partitions, None
        self.shared.tally.rebalances += 1
        log.info(
            "Rebalanced in %.1f s: partitions %s came, %s went",
            seconds,
            gained,
            lost,
            extra=facts("rebalance", gained=gained, lost=lost, seconds=round(seconds, 3)),
        )
        ours = sorted(partitions)
        log.info("Partitions %s are ours", ours, extra=facts("assignment", partitions=ours))

    def _offsets(self, owned: OwnedPartition) -> dict[TP, int]:
        """Where each of its logs is to be folded on from."""
        settings, record, number = self.settings, owned.table.record, owned.number
        return {
            TP(settings.topic(settings.raw_topic), number): record.raw_next,
            TP(settings.topic(EVENTS_REKEYED), number): record.rekeyed_next,
        }

    async def _let_go(self, numbers: Iterable[int]) -> None:
        """Forget what went to other workers; a batch on its way to the fold ends there.

        At once: they may have it while much else is restored here.
        """
        for owned in [self.parked.pop(number) for number in sorted(numbers)]:
            await self._give_up(owned)

    async def _give_up(self, owned: OwnedPartition) -> None:
        """Nothing of the partition is written from here on, wherever it is in use yet."""
        await owned.abandon()
        # Nor begun: a producer that starts later would fence the next owner's.
        await owned.suspend()
        await owned.halt()
        await owned.producer.stop()
        self.brokers.note_taken(owned.number)
        self._dropped = True

    def _settle_memory(self) -> None:
        """Let the collector pass over what stays, but not over a partition that was given up.

        What was restored is not walked at all: it would hold the loop for seconds.
        """
        if self._dropped:
            gc.unfreeze()
            gc.collect()
            self._dropped = False
        gc.freeze()

    async def _take_over(self, wanted: list[int]) -> dict[int, OwnedPartition]:
        """Several at a time: one waits for the broker while another decodes."""
        at_once = asyncio.Semaphore(_RESTORED_AT_ONCE)
        taken: dict[int, OwnedPartition] = {}

        async def take(number: int) -> None:
            async with at_once:
                taken[number] = await self._reclaim(number) or await self._restore(number)
                self._own(taken[number])

        taking = [asyncio.create_task(take(number)) for number in wanted]
        try:
            await asyncio.gather(*taking)
        finally:
            await _cancel(taking)
        return taken

    def _own(self, owned: OwnedPartition) -> None:
        """Nothing else is done between the last of its definitions and the first new one."""
        self._catch_up(owned)
        self.owned[owned.number] = owned
        self._start_agents(owned)

    async def release(self, partitions: frozenset[int]) -> None:
        """Flush and acknowledge; the state stays at hand in case the partitions come back.

        Also a flush that the brokers do not take stays: it is sent when they come back.
        """
        self._rebalancing_s = self._rebalancing_s or monotonic()
        await self._stop_mending(partitions & self._mending.keys())
        until_s = asyncio.get_running_loop().time() + _RELEASED_WITHIN_S
        numbers = sorted(partitions & self.owned.keys())
        parking = [
            asyncio.create_task(self._park(self.owned[number], until_s)) for number in numbers
        ]
        try:
            await asyncio.gather(*parking)
        finally:
            await _cancel(parking)

    async def _park(self, owned: OwnedPartition, until_s: float) -> None:
        number = owned.number
        await _cancel(self._partition_tasks.pop(number, []))
        owned.leaving = owned.moved = True
        try:
            await self._last_flush(owned, until_s)
        except Exception as error:
            if not isinstance(error, Fenced):
                text, extra = "The last flush failed: %s", facts("note", partition=number)
                log.error(text, told(error), exc_info=error, extra=extra)
            text = "Partition %s could not be flushed: its next owner goes on"
            log.warning(text, number, extra=facts("note", partition=number))
            if self.owned.pop(number, None) is not None:
                await self._give_up(owned)
            return
        if self.owned.pop(number, None) is not None:
            await self._leave(owned)

    async def _leave(self, owned: OwnedPartition) -> None:
        """Keep it as it is, unsent flush and all, in case it comes back."""
        self.parked[owned.number] = owned
        await owned.suspend()
        await owned.halt()

    async def _last_flush(self, owned: OwnedPartition, until_s: float) -> None:
        """Flush; give the partition up if that takes long, which must not hold others up.

        Redis may be away, and a fold that waits for the definitions log stands in the middle of a
        batch: the log may go on only when the rebalance is over.
        """
        if owned.is_failing():
            # Nobody is asked in a rebalance whether the partition is ours yet.
            return
        flushing = asyncio.ensure_future(owned.flush())
        while not flushing.done():
            await asyncio.wait([flushing], timeout=_PATIENCE_S)
            if flushing.done():
                break
            if owned.is_failing():
                flushing.cancel()
                return
            late = asyncio.get_running_loop().time() >= until_s
            between = owned.unsent is not None or not owned.lock.locked()
            if late and between and not owned.waits_for_definitions:
                # It stays as it is packed. Or it is between two flushes, as when the brokers came
                # back this moment: then it stays with all that is to be packed.
                flushing.cancel()
                return
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
        began_s = monotonic()
        owned.batches.clear()
        owned.leaving, owned.table.record.attempt = False, 0
        owned.moved = True
        try:
            await owned.flush()
        except asyncio.CancelledError:
            # Another rebalance ends it.
            await self._leave(owned)
            raise
        except Exception as error:
            await self._give_up(owned)
            if isinstance(error, _ONLY_BY_HAND):
                raise
            # What is at hand cannot be gone on with; Kafka has all of it.
            if not isinstance(error, Fenced):
                text, extra = "Partition %s is restored: %s", facts("note", partition=number)
                log.error(text, number, told(error), exc_info=error, extra=extra)
            return None
        self._tell_restored(owned, "parked", 0, monotonic() - began_s)
        return owned

    def _tell_restored(self, owned: OwnedPartition, source: str, rows: int, seconds: float) -> None:
        self.restore_seconds.labels(source).observe(seconds)
        log.info(
            "Partition %s is restored from %s: %s rows in %.1f s",
            owned.number,
            source,
            rows,
            seconds,
            extra=facts(
                "restore",
                partition=owned.number,
                source=source,
                rows=rows,
                seconds=round(seconds, 3),
            ),
        )

    async def _restore(self, number: int) -> OwnedPartition:
        """The partition as it is in Kafka; tried until the brokers let it be read."""
        tries = 0
        while True:
            producer, began_s = PartitionProducer(self.settings, number), monotonic()
            try:
                await producer.start()
                owned = await self._restored(number, producer)
            except (*NOT_TAKEN, Fenced) as error:
                text, extra = (
                    "Partition %s could not be restored yet: %r",
                    facts("note", partition=number),
                )
                log.warning(text, number, error, extra=extra)
                await producer.stop()
                await self.brokers.pause(tries)
                tries += 1
                # Who has a newer owner's partition would fence them.
                await self._heard_since(monotonic() if isinstance(error, Fenced) else began_s)
            except BaseException:
                # A rebalance may end it: nothing of it may write any more.
                await producer.stop()
                raise
            else:
                self.brokers.restores += 1
                source, record = "raw" if owned.folds_anew else "changelog", owned.table.record
                rows = 0 if owned.folds_anew else record.cells + record.index_length
                self._tell_restored(owned, source, rows, monotonic() - began_s)
                return owned

    async def _restored(self, number: int, producer: PartitionProducer) -> OwnedPartition:
        told_epoch = self.progress.epoch(number)
        owned = await restore(number, producer, self.shared, self._touches_since, told_epoch)
        try:
            await self._begin(owned)
        except BaseException:
            await owned.abandon()
            await owned.suspend()
            await owned.halt()
            owned.table.index.close()
            raise
        return owned

    async def _begin(self, owned: OwnedPartition) -> None:
        if owned.unheard_of:
            owned.careful_records = 0
            await self._begin_at_log_start(owned)
        await self._pass_deleted(owned)
        await self.shared.turns.run(Work("restore"), owned.scheduling())
        owned.moved = True
        await owned.flush()

    async def _begin_at_log_start(self, owned: OwnedPartition) -> None:
        """A partition nothing was ever folded of: what retention took before is not missed.

        From here on the offsets stand in the partition record, and a gap before them is a loss.
        """
        raw = TopicPartition(self.settings.topic(self.settings.raw_topic), owned.number)
        rekeyed = TopicPartition(self.settings.topic(EVENTS_REKEYED), owned.number)
        starts = await self._ends.beginning_offsets([raw, rekeyed])
        owned.begin_at(starts[raw], starts[rekeyed])

    async def _pass_deleted(self, owned: OwnedPartition) -> None:
        """Go on behind records that are set aside and no longer there."""
        aside, record = self.definitions.set_asides.of(owned.number), owned.table.record
        if aside is None:
            return
        start, _ = await self.log_starts(owned.number)
        if record.raw_next < start <= aside.after(record.raw_next):
            record.raw_next = start

    def _catch_up(self, owned: OwnedPartition) -> None:
        """Take over what was defined while the partition was not among the owned ones."""
        for offset, append_time_ms, touch in self._touches_since(owned.definitions_seen):
            owned.define(touch, offset, append_time_ms)

    def _touches_since(self, offset: int) -> list[tuple[int, int, Touch]]:
        """What definitions from an offset on may change; forgotten ones may change anything."""
        touches = [entry for entry in self.touches if entry[0] >= offset]
        if len(self.touches) == self.touches.maxlen and offset < self.touches[0][0]:
            touches.insert(0, (offset, self.definitions.first_time_from(offset), Touch(None)))
        return touches

    def _start_agents(self, owned: OwnedPartition) -> None:
        agents: list[Callable[[], Coroutine[Any, Any, None]]] = [
            lambda: flush(owned),
            lambda: renew(owned),
            lambda: close(owned, self.progress, self.rekeyed_end),
            lambda: refold(owned, self.scan),
            lambda: forward_ahead(owned, self.forwarder),
        ]
        self._partition_tasks[owned.number] = [
            asyncio.create_task(self._failing(owned, agent)) for agent in agents
        ]

    async def _failing(
        self, owned: OwnedPartition, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        """As `_crashing`, but only the partition ends by it."""
        try:
            await work()
        except asyncio.CancelledError as error:
            if asked_to_end():
                raise
            lost = CancelledUnderneath(f"what {work} waited for was cancelled")
            lost.__cause__ = error
            self.fail(owned, lost)
        except Exception as error:
            self.fail(owned, error)

    # Failures of one partition

    def fail(self, owned: OwnedPartition, error: BaseException) -> None:
        """Something of a partition failed: give it up, and restore it if it is ours still.

        The process and the other partitions go on.
        """
        number = owned.number
        if self.owned.get(number) is not owned:
            return
        del self.owned[number]
        owned.abandoned = True
        if isinstance(error, _ONLY_BY_HAND) or self._app is None:
            # No restore mends that; it says itself what does.
            crashing = asyncio.create_task(self.crash(error))
            self._tasks.append(crashing)
            return
        extra = facts("note", partition=number)
        if isinstance(error, Fenced):
            log.warning("Partition %s is given up: %s", number, error, extra=extra)
        else:
            text = "Partition %s failed and is restored: %s"
            log.error(text, number, told(error), exc_info=error, extra=extra)
        self._app.hold(number)
        self._mending[number] = asyncio.create_task(
            self._crashing(lambda: self._mend(owned, monotonic()))
        )

    async def _mend(self, owned: OwnedPartition, failed_s: float) -> None:
        number = owned.number
        times, last_s = self._mended.get(number, (0, failed_s))
        times = times + 1 if failed_s - last_s < _SOUND_AFTER_S else 1
        self._mended[number] = times, failed_s
        await _cancel(self._partition_tasks.pop(number, []))
        giving_up = asyncio.create_task(self._give_up(owned))
        try:
            await asyncio.shield(giving_up)
        finally:
            await asyncio.wait([giving_up])
        await asyncio.sleep(min(_MENDED_AFTER_S * 2 ** (times - 1), _MENDED_AFTER_MOST_S))
        await self._heard_since(failed_s)
        restored = await self._restore(number)
        delivering = False
        try:
            offsets = self._offsets(restored)
            delivering = self._app is not None and await self._app.deliver_from(number, offsets)
        finally:
            if not delivering:
                # A rebalance has begun: it is as one that was released.
                await self._leave(restored)
        if delivering:
            self._mending.pop(number, None)
            self._own(restored)

    async def _stop_mending(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            if (mending := self._mending.pop(number, None)) is not None:
                await _cancel([mending])

    def _group_heard_s(self) -> float:
        return monotonic() if self._app is None else self._app.group_heard_s

    async def _heard_since(self, since_s: float) -> None:
        """Wait until the group has answered that we are in it."""
        while self._group_heard_s() <= since_s:
            await asyncio.sleep(_HEARD_POLL_S)

    # Reading the logs again

    def scan(self, owned: OwnedPartition) -> Scan:
        """A reader of all events of a partition."""
        return Scan(self.settings, owned.number, self.homes, self.definitions)

    async def ends(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where readers of what is committed come to an end now."""
        return dict(await self._ends.end_offsets(tps))

    async def written_ends(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where partitions end, with what open transactions have written."""
        return dict(await self._written.end_offsets(tps))

    async def definitions_behind(self) -> int:
        """How many offsets of the definitions log are not applied here yet."""
        tp = self._definitions_log.tp
        return max(0, int((await self._written.end_offsets([tp]))[tp]) - self._definitions_log.next)

    async def rekeyed_end(self, number: int) -> int:
        """The end of a partition of events-rekeyed."""
        tp = TopicPartition(self.settings.topic(EVENTS_REKEYED), number)
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
        return (await self.log_starts_of([number]))[number]

    async def log_starts_of(self, numbers: Iterable[int]) -> dict[int, tuple[int, int]]:
        """`log_starts` of several partitions, asked for together."""
        settings = self.settings
        topics = (settings.topic(settings.raw_topic), settings.topic(EVENTS_REKEYED))
        tps = {n: [TopicPartition(topic, n) for topic in topics] for n in numbers}
        starts = await self._ends.beginning_offsets([tp for both in tps.values() for tp in both])
        return {n: (int(starts[raw]), int(starts[rekeyed])) for n, (raw, rekeyed) in tps.items()}

    async def find_raw(self, partition: int, offset: int, index: int) -> Arrived | None:
        """One element of one raw record; None when the log has it no longer."""
        place = (partition, offset, index)
        return (await self.find_raw_many([place])).get(place)

    async def find_raw_many(self, places: Iterable[RawPlace]) -> dict[RawPlace, Arrived]:
        """Elements of raw records, without those that the log has no longer."""
        topic = self.settings.topic(self.settings.raw_topic)
        # Whoever names a place has it of what was taken.
        judging = Judging.by(self.definitions).of_forwards()
        wanted: dict[int, dict[int, set[int]]] = {}
        for partition, offset, index in places:
            wanted.setdefault(partition, {}).setdefault(offset, set()).add(index)
        found: dict[RawPlace, Arrived] = {}
        for partition, indexes in wanted.items():
            records = await self.raw_records.read_many(topic, partition, indexes)
            for offset, record in records.items():
                place = (record.timestamp_ms, partition, offset)
                for arrived in arrivals_of(record.value, record.headers, *place, judging):
                    at = getattr(arrived, "array_index", None)
                    if at is not None and at in indexes[offset]:
                        found[partition, offset, at] = arrived
        return found


def in_steps(
    batch: Sequence[LogRecord], take: Callable[[LogRecord], Steps[object] | None]
) -> Steps[None]:
    """Take records of a log, so many or so large ones in a step; one may have steps of its own."""
    count, size = 0, 0
    for record in batch:
        steps = take(record)
        if steps is not None:
            yield from steps
        count, size = count + 1, size + len(record.value or b"")
        if count >= _STEP_RECORDS or size >= _STEP_BYTES:
            count, size = 0, 0
            yield


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
