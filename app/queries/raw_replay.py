"""Read all of events-raw again, and deal it out to the partitions where it is at home."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from app.bounds.turns import STEP_ITEMS, Steps, in_steps
from app.definitions.judging import Judging
from app.kafka.asked import HELD_S, Fetches
from app.kafka.log_readers import plain_consumer
from app.kafka.names import ConsumerRecord, TopicPartition
from app.kafka.topics import RAW_MESSAGE_BYTES
from app.runtime.homes import HomePartitions
from app.runtime.partition.owned import OwnedPartition
from app.runtime.scanning.scans import ScanTurn
from app.settings import Settings
from app.wire.arrivals import Arrival, CorrectionArrival, arrivals_of
from app.wire.refusals import Refusal
from tables.reading.verification import Verification

MAX_RECORDS = 5_000
READ_TIMEOUT_MS = 200

Jobs = dict[int, tuple[OwnedPartition, Verification]]
"""Verifications by the partition that they are about."""
Taken = Arrival | CorrectionArrival


class RawReplay:
    """Reads all partitions of events-raw and deals the events out to the jobs of their homes."""

    def __init__(
        self,
        settings: Settings,
        homes: HomePartitions,
        jobs: Jobs,
        organization_id: str,
        turn: ScanTurn,
    ):
        self._homes, self._jobs, self._turn = homes, jobs, turn
        self._organization_id = organization_id
        self.strangers = False
        self.read_records = 0
        self.starts: dict[int, int] = {}
        topic = settings.topic(settings.raw_topic)
        self._tps = {q: TopicPartition(topic, q) for q in range(settings.raw_partitions)}
        self._next: dict[int, int] = {}
        self._append_time_ms: dict[int, int] = dict.fromkeys(self._tps, -1)
        self._ahead: dict[int, list[Taken]] = {number: [] for number in jobs}
        """Read before the live fold has taken them."""
        self._consumer = plain_consumer(settings, 2 * RAW_MESSAGE_BYTES, near=True)

    async def __aenter__(self) -> RawReplay:
        try:
            await self._consumer.start()
            self._consumer.assign(list(self._tps.values()))
            starts = await self._consumer.beginning_offsets(list(self._tps.values()))
        except BaseException:
            await self._consumer.stop()
            raise
        for q, tp in self._tps.items():
            self.starts[q] = self._next[q] = starts[tp]
            self._consumer.seek(tp, starts[tp])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    def _end(self, q: int, number: int) -> int:
        """Return the offset up to which a partition has taken raw partition q."""
        checkpoint = self._jobs[number][0].state.checkpoint
        if q == number:
            return checkpoint.raw_next
        mark = checkpoint.marks.get(q)
        return 0 if mark is None else mark[0] + 1

    def _behind(self, q: int, numbers: Sequence[int]) -> int:
        return max(0, *(self._end(q, number) - self._next[q] for number in numbers))

    def behind(self) -> int:
        """Return the number of records between here and the live folds."""
        return sum(self._behind(q, list(self._jobs)) for q in self._tps)

    @asynccontextmanager
    async def caught_up(self, number: int) -> AsyncIterator[None]:
        """Feed one partition everything that its live fold has taken, and hold the fold there.

        It does not wait for brokers that send nothing, as while a raw partition has no leader.
        """
        lock = self._jobs[number][0].lock
        while True:
            async with lock:
                if await self._caught_up(number):
                    yield
                    return
            stuck = {q: self._next[q] for q in self._late(number)}
            while any(self._next[q] == at for q, at in stuck.items()):
                await self._read(list(stuck))

    def _late(self, number: int) -> list[int]:
        return [q for q in self._tps if self._behind(q, [number])]

    async def _caught_up(self, number: int) -> bool:
        """Feed one partition all of it while its live fold waits; False: brokers send nothing."""
        fetches = Fetches(READ_TIMEOUT_MS)
        while late := self._late(number):
            before = dict(self._next)
            await self._read(late, urgent=True)
            if fetches.silent_s(self._next != before) >= HELD_S:
                return False
        ahead, self._ahead[number] = self._ahead[number], []
        await self._turn.run(in_steps(ahead, lambda some: self._feed(number, some)), urgent=True)
        return True

    async def read(self) -> None:
        """Read a stretch of whatever is behind."""
        await self._read([q for q in self._tps if self._behind(q, list(self._jobs))])

    async def _read(self, partitions: Sequence[int], *, urgent: bool = False) -> None:
        fetched = await self._consumer.getmany(
            *(self._tps[q] for q in partitions),
            timeout_ms=READ_TIMEOUT_MS,
            max_records=MAX_RECORDS,
        )
        for tp, records in fetched.items():
            await self._judged(records)
            await self._turn.run(self._dealt(tp.partition, records), urgent=urgent)
        for q in partitions:
            # The position passes transaction markers, which carry no record.
            self._next[q] = await self._consumer.position(self._tps[q])

    async def _judged(self, records: Sequence[ConsumerRecord]) -> None:
        """Wait until it is known what records may do, which live folds may have yet to take."""
        owned, _ = next(iter(self._jobs.values()))
        judging = Judging.by(owned.shared.definitions)
        waits = (judging.waits_past_ms(each.timestamp, each.headers) for each in records)
        if past_ms := max((each for each in waits if each is not None), default=None):
            await owned.life.definitions_past(past_ms)

    def _dealt(self, q: int, records: Sequence[ConsumerRecord]) -> Steps[None]:
        """Decode records and deal out what they hold."""
        definitions = next(iter(self._jobs.values()))[0].shared.definitions
        judging, aside = Judging.by(definitions), definitions.set_asides.of(q)
        for record in records:
            self.read_records += 1
            reached_ms = max(self._append_time_ms[q], record.timestamp)
            self._append_time_ms[q] = reached_ms
            arrived = arrivals_of(
                record.value, record.headers, reached_ms, q, record.offset, judging, aside
            )
            for start in range(0, len(arrived), STEP_ITEMS):
                dealt: dict[int, list[Taken]] = {}
                for arrival in arrived[start : start + STEP_ITEMS]:
                    if not isinstance(arrival, Refusal):
                        self._deal(arrival, dealt)
                for number, arrivals in dealt.items():
                    self._feed(number, arrivals)
                yield

    def _deal(self, arrival: Taken, dealt: dict[int, list[Taken]]) -> None:
        if arrival.organization_id != self._organization_id:
            return
        home = self._homes.of(*arrival.name)
        if home in self._jobs:
            dealt.setdefault(home, []).append(arrival)

    def _feed(self, number: int, arrivals: Sequence[Taken]) -> None:
        owned, job = self._jobs[number]
        taken = [arrival for arrival in arrivals if _has_taken(owned, arrival)]
        if len(taken) < len(arrivals):
            kept = {arrival.position for arrival in taken}
            self._ahead[number] += [a for a in arrivals if a.position not in kept]
        events = [arrival for arrival in taken if isinstance(arrival, Arrival)]
        corrections = [arrival for arrival in taken if isinstance(arrival, CorrectionArrival)]
        job.feed(events, strangers=self.strangers)
        job.check_corrections(corrections, strangers=self.strangers)


def _has_taken(owned: OwnedPartition, arrival: Taken) -> bool:
    """Return True if the live fold has passed an event or correction."""
    checkpoint = owned.state.checkpoint
    if arrival.raw_partition == owned.number:
        return arrival.raw_offset < checkpoint.raw_next
    place = (arrival.raw_offset, arrival.array_index)
    return place <= checkpoint.marks.get(arrival.raw_partition, (-1, -1))
