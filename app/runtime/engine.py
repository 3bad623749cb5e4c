"""Engine: the life of one worker's parts, from their connections to their end.

It puts them together: the logs it follows, the partitions it owns, the agents that run beside
them. Which agents those are, `app.main` says.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

from app.bounds.turns import Turns
from app.clock import Clock
from app.definitions.quotas import Taken
from app.definitions.state import Definitions
from app.kafka.appender import Appender, forwarding_options
from app.kafka.brokers import Brokers
from app.kafka.clients import NOT_TAKEN, InOrderProducer
from app.kafka.log_readers import RecordReader
from app.kafka.names import RecordMetadata
from app.kafka.topics import METER_PROGRESS
from app.log import told
from app.meter.errors import Unavailable
from app.meter.health import Code, Reason
from app.redis.members import MemberStore
from app.runtime.apart import Together
from app.runtime.claims import Claims
from app.runtime.context import Numbered, WorkerContext
from app.runtime.delivery import Delivery
from app.runtime.followed import FollowedDefinitions, FollowedProgress
from app.runtime.health import Health
from app.runtime.homes import HomePartitions
from app.runtime.offsets import Offsets
from app.runtime.ownership import Ownership
from app.runtime.partition.ahead import Ahead
from app.runtime.partition.forwarder import Forwarder
from app.runtime.partition.owned import OwnedPartition
from app.runtime.progress import Progress, ProgressTable, Seal
from app.runtime.raw_lookup import RawLookup
from app.runtime.refolder import Refolder
from app.runtime.reports import Reports
from app.runtime.restoring.restorer import Restorer
from app.runtime.scanning.scan import Scan
from app.runtime.scanning.scans import Scans
from app.runtime.shelf import Shelf
from app.runtime.status import Status, Tally
from app.runtime.tasks import Work, cancel, failure_of
from app.runtime.topics.daily_additions import DailyAdditions
from app.settings import Settings
from app.wire.decode import Headers

log = logging.getLogger(__name__)

LAGGING_RECORDS = 10_000
"""A partition that is further behind lags: that is as much as is decoded at once."""

WorkerAgent = Callable[["Engine"], Coroutine[Any, Any, None]]
"""Runs once in a worker, until it is cancelled; its failure ends the worker."""

PartitionAgent = Callable[["Engine", OwnedPartition], Coroutine[Any, Any, None]]
"""Runs beside each owned partition, until it is cancelled; its failure ends the partition here."""


class Engine:
    """The parts of one worker, and what is told of it as a whole."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        url: str,
        *,
        worker_agents: Sequence[WorkerAgent] = (),
        partition_agents: Sequence[PartitionAgent] = (),
        turns: Turns | None = None,
    ):
        self.settings = settings
        self.clock = clock
        self.failure: BaseException | None = None
        self.failed = asyncio.Event()
        self.offsets_lost = False
        """Whether it failed because retention took what was not folded yet."""
        self.health = Health(clock.now_ms)
        self.status = Status()
        self.taken = Taken()
        self._shelf = Shelf(settings.state_dir / "shelf")
        self.definitions = Definitions(self._shelf.keep)
        self.progress = ProgressTable()
        self.homes = HomePartitions(self.definitions, settings.raw_partitions)
        self.tally = Tally()
        self.brokers = Brokers(settings, self.tally.kafka_seconds)
        self.delivery = Delivery()
        # Before the consumers of `Offsets`: where its settings are refused nobody would close them.
        members = MemberStore(settings)
        self.offsets = Offsets(settings)
        self.raw_records = RecordReader(settings, self.tally.work, for_queries=True)
        self._records_to_fold = RecordReader(settings, self.tally.work)
        turns = turns or Turns()
        self.raw_lookup = RawLookup(
            settings, self.definitions, turns, self.raw_records, self._records_to_fold
        )
        self.forwarder = Forwarder(
            settings, lambda: InOrderProducer(**forwarding_options(settings))
        )
        self.appender = Appender(settings)
        seal = Seal(settings)
        self.reports = Reports(settings.topic(METER_PROGRESS), seal, self.append)
        self.followed = FollowedDefinitions(
            settings, self.definitions, self.homes, self.offsets, lambda: self.owned
        )
        self.claims = Claims(settings, seal, self.append)
        self._followed_progress = FollowedProgress(
            settings, self.progress, seal, self.claims, lambda: self.owned, self._tell_again
        )
        self.shared = self._shared(url, turns, members)
        self.daily_additions = DailyAdditions(
            settings, self.offsets, turns, self.tally.work, self.shared.discards
        )
        self.scans = Scans(self.shared.turns)
        self.refolder = Refolder(settings.refold_share, self._lags)
        self.ahead = Ahead(self.forwarder)
        self.restorer = Restorer(self.shared, self.ahead)
        self.ownership = Ownership(
            self.delivery, self.restorer, self._begin, self.crash, self.shared.tally
        )
        self._worker_agents = worker_agents
        self._partition_agents = partition_agents
        self._tasks: list[asyncio.Task[None]] = []

    def _shared(self, url: str, turns: Turns, members: MemberStore) -> WorkerContext:
        return WorkerContext(
            settings=self.settings,
            clock=self.clock,
            definitions=self.definitions,
            homes=self.homes,
            members=members,
            url=url,
            owner=self,
            reports=self.reports,
            delivery=self.delivery,
            brokers=self.brokers,
            raw_lookup=self.raw_lookup,
            offsets=self.offsets,
            followed=self.followed,
            progress=self.progress,
            first_failure=Together(self._shelf.first_failure).first_failure,
            tally=self.tally,
            turns=turns,
        )

    @property
    def url(self) -> str:
        """Where the other workers reach this one."""
        return self.shared.url

    async def start(self) -> None:
        """Connect, and apply the definitions log to its end."""
        await self.forwarder.start()
        await self.appender.start()
        await self.offsets.start()
        await self.followed.require_whole()
        await self.shared.members.start()
        self._run(lambda: self.followed.follow(self.shared.turns))
        self._run(lambda: self._followed_progress.follow(self.shared.turns))
        # What is defined stays: the collector need not walk a million definitions at all.
        gc.disable()
        try:
            await self._caught_up()
        finally:
            gc.freeze()
            gc.enable()
        self._run(self.brokers.watch)
        self._run(self.reports.run)
        for agent in self._worker_agents:
            self._run(partial(agent, self))

    async def _caught_up(self) -> None:
        """Wait until both logs are read to the end that they had; raise what kept them from it."""
        logs = (self.followed.log, self._followed_progress.log)
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
        await self.ownership.end_agents()
        await cancel(self._tasks)
        await self.ownership.close()
        logs = (self.followed.log, self._followed_progress.log)
        readers = (self.raw_records, self._records_to_fold)
        for part in (*logs, *readers, self.shared.members):
            await part.stop()
        await self.offsets.stop()
        await self.forwarder.stop()
        await self.appender.stop()

    async def crash(self, error: BaseException) -> None:
        """End the worker: something failed that must not be passed over."""
        self.note_failure(error)
        self.failed.set()
        log.error("The worker failed: %s", told(error), exc_info=error)
        await self.delivery.crash(error)

    def note_failure(self, error: BaseException, *, offsets_lost: bool = False) -> None:
        """Keep what the worker fails with, unless it has failed before."""
        self.failure = self.failure or error
        self.offsets_lost |= offsets_lost

    def fail(self, owned: Numbered, error: BaseException) -> None:
        """Give a partition up of which something failed, if it is owned here still."""
        self.ownership.fail(owned, error)

    def reasons(self) -> list[Reason]:
        """Return everything that is not as it should be."""
        reasons, now_ms = self.health.reasons(), self.clock.now_ms()
        if self.failure is not None:
            code: Code = "offsets_lost" if self.offsets_lost else "stopping"
            reasons.insert(0, Reason(code, now_ms, f"the worker stops: {self.failure}"))
        elif self.restoring and not (self.owned and self.ownership.was_whole):
            numbers = ", ".join(map(str, sorted(self.restoring)))
            reasons.insert(0, Reason("restoring", now_ms, f"restoring partitions {numbers}"))
        elif self.ownership.assigned is None:
            reasons.insert(0, Reason("starting", now_ms, "no partitions assigned yet"))
        return reasons

    def _run(self, work: Work) -> None:
        self._tasks.append(asyncio.create_task(self._crashing(work)))

    async def _crashing(self, work: Work) -> None:
        failure = await failure_of(work)
        if failure is not None:
            await self.crash(failure)

    @property
    def owned(self) -> Mapping[int, OwnedPartition]:
        """The partitions that fold here."""
        return self.ownership.owned

    @property
    def restoring(self) -> frozenset[int]:
        """The partitions that are being taken over."""
        return self.ownership.restoring

    @property
    def coming(self) -> frozenset[int]:
        """The partitions that are ours and do not fold yet."""
        return self.ownership.coming

    @property
    def parked_subscriptions(self) -> int:
        """How many subscriptions have figures that stand as they are."""
        return sum(len(owned.state.stale.parked) for owned in self.owned.values())

    def scan(self, owned: OwnedPartition) -> Scan:
        """Return a reader of all events of a partition."""
        work, ledger = self.tally.work, owned.ledger
        return Scan(self.settings, owned.number, self.homes, self.definitions, work, ledger)

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

    def _lags(self) -> bool:
        """Return whether a partition is so far behind that live events wait."""
        observed = self.status.observed
        return any(
            seen.lag + seen.rekeyed_lag > LAGGING_RECORDS
            for number, seen in observed.items()
            if number in self.owned
        )

    def _begin(self, owned: OwnedPartition) -> list[Work]:
        """Tell a partition what it missed; return what runs beside it."""
        self.followed.tell_missed(owned)
        return [partial(agent, self, owned) for agent in self._partition_agents]

    def _tell_again(self, ours: Progress) -> None:
        if ours.url == self.url:
            self.reports.tell(ours)
