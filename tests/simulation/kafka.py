"""Kafka, simulated: logs, transactions that commit as a whole or not at all, fenced producers.

A transaction's records are appended when it commits, so an open one holds no reader up; a marker
takes an offset after them, as in Kafka. Everything is read_committed.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from aiokafka import TopicPartition
from aiokafka.admin import RecordsToDelete
from aiokafka.errors import KafkaError

from app.kafka.names import OffsetOutOfRangeError
from app.kafka.transactions import Conclude, Fenced, Record
from app.settings import Settings
from tests.simulation.process import PROCESS, SimulatedClock


class LogEntry(NamedTuple):
    """What of aiokafka's `ConsumerRecord` the program reads."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class Written(NamedTuple):
    """Answer to a send."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int


class Log:
    """One partition of one topic."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.deleted: list[LogEntry] = []
        """What retention took, for who checks the others."""
        self.start = 0
        self.end = 0

    def read(self, offset: int, limit: int | None = None) -> list[LogEntry]:
        """Entries from an offset on."""
        entries = self.entries
        if not entries or entries[-1].offset < offset:
            return []  # as at most times
        first = bisect_left(entries, offset, key=lambda entry: entry.offset)
        return entries[first : None if limit is None else first + limit]

    def delete_before(self, offset: int) -> None:
        """Delete entries as retention does."""
        kept = bisect_left(self.entries, offset, key=lambda entry: entry.offset)
        self.deleted += self.entries[:kept]
        del self.entries[:kept]
        self.start = max(self.start, offset)


class NextAppend:
    """What readers at the ends of their logs wait for: that a record is appended to any log."""

    def __init__(self) -> None:
        self._happened = False
        self._waiting: list[asyncio.Future[None]] = []

    def happens(self) -> None:
        """Wake everybody, in the order in which they came."""
        self._happened = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    async def wait(self) -> None:
        """Until it happens."""
        if not self._happened:
            waiting = asyncio.get_running_loop().create_future()
            self._waiting.append(waiting)
            await waiting

    async def happens_until(self, until_s: float) -> bool:
        """Wait until it happens, or the loop's time is reached: False."""
        if self._happened:
            return True
        loop = asyncio.get_running_loop()
        waiting = loop.create_future()
        self._waiting.append(waiting)
        over = False

        def end() -> None:
            nonlocal over
            over = True
            if not waiting.done():
                waiting.set_result(None)

        late = until_s <= loop.time()
        timer = loop.call_soon(end) if late else loop.call_at(until_s, end)
        try:
            await waiting
        finally:
            timer.cancel()
        return not over


class Broker:
    """All logs, and who may write transactions to which partition."""

    def __init__(self, clock: SimulatedClock):
        self.clock = clock
        self.logs: dict[tuple[str, int], Log] = {}
        self.producers: dict[int, PartitionProducer] = {}
        """The newest transactional producer of each partition: older ones are fenced."""
        self.next_append = NextAppend()

    def log(self, topic: str, partition: int = 0) -> Log:
        """The log, made at its first use."""
        log = self.logs.get((topic, partition))
        if log is None:
            log = self.logs[topic, partition] = Log()
        return log

    def append(
        self,
        topic: str,
        partition: int,
        key: bytes | None,
        value: bytes | None,
        headers: Iterable[tuple[str, bytes | None]] = (),
    ) -> Written:
        """Append one record with the broker's time."""
        log = self.log(topic, partition)
        entry = LogEntry(
            topic, partition, log.end, self.clock.now_ms(), 1, key, value, tuple(headers)
        )
        log.entries.append(entry)
        log.end += 1
        awaited, self.next_append = self.next_append, NextAppend()
        awaited.happens()
        return Written(topic, partition, entry.offset, entry.timestamp, entry.timestamp_type)

    def commit(self, records: Sequence[Record], conclude: Conclude | None) -> None:
        """Append a whole transaction."""
        counts = Counter(TopicPartition(record.topic, record.partition) for record in records)
        offsets = {tp: self.log(*tp).end + count - 1 for tp, count in counts.items()}
        for record in [*records, *(conclude(offsets) if conclude else ())]:
            place = record.topic, record.partition
            self.append(*place, record.key, record.value, record.sent_headers())
        for place in {(record.topic, record.partition) for record in records}:
            self.logs[place].end += 1


class _Batch:
    def __init__(self) -> None:
        self.records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = []

    def append(self, *, key: Any, value: Any, timestamp: Any, headers: Any) -> bool:
        self.records.append((key, value, headers))
        return True

    def close(self) -> None:
        """Take no more."""


class Producer:
    """The plain producer of a worker: forwards, ticks."""

    def __init__(self, broker: Broker):
        self._broker = broker

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect."""

    def refuse(self) -> None:
        """Send nothing from now on: what was sent is in the log at once."""

    async def send(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = 0,
        headers: Any = (),
    ) -> asyncio.Future[Written]:
        """Append; the acknowledgement may take a while."""
        process = PROCESS.get()
        await process.passes()
        written = self._broker.append(topic, partition, key, value, headers)

        async def acknowledged() -> Written:
            await process.passes()
            return written

        return asyncio.ensure_future(acknowledged())

    async def send_and_wait(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = 0,
        headers: Any = (),
        timestamp_ms: int | None = None,
    ) -> Written:
        """Append, and wait for the acknowledgement."""
        sending = await self.send(topic, value, key=key, partition=partition, headers=headers)
        return await sending

    def create_batch(self) -> _Batch:
        """For records that have neither key nor value."""
        return _Batch()

    async def send_batch(
        self, batch: _Batch, topic: str, *, partition: int
    ) -> asyncio.Future[None]:
        """Append a batch; the acknowledgement may take a while."""
        process = PROCESS.get()
        await process.passes()
        for key, value, headers in batch.records:
            self._broker.append(topic, partition, key, value, headers)
        return asyncio.ensure_future(process.passes())


class PartitionProducer:
    """The transactional producer of a partition: like the real one, fenced by the next."""

    def __init__(self, broker: Broker, number: int):
        self._broker = broker
        self._number = number
        self._failed: Exception | None = None
        self._one_flush = asyncio.Lock()

    async def start(self) -> None:
        """Fence every older one."""
        await PROCESS.get().passes()
        self._broker.producers[self._number] = self

    async def stop(self) -> None:
        """Let go."""

    async def replace(self) -> None:
        """Go on after a failure."""
        await self.start()
        self._failed = None

    async def newest(self, topic: str, key: bytes) -> bytes | None:
        """The newest value of a key."""
        await PROCESS.get().passes()
        entries = self._broker.log(topic, self._number).entries
        return next((e.value for e in reversed(entries) if e.key == key), None)

    async def commit(self, records: Iterable[Record], conclude: Conclude | None = None) -> None:
        """Write everything or nothing; after a failure nothing goes any more."""
        process = PROCESS.get()
        async with self._one_flush:
            if self._failed is not None:
                raise self._failed
            written = list(records)
            await process.passes()
            if self._broker.producers[self._number] is not self:
                self._failed = Fenced(f"partition {self._number} has a newer owner")
                raise self._failed
            outcome, process.next_commit = process.next_commit, None
            if outcome != "lost" and written:
                self._broker.commit(written, conclude)
            if outcome is not None:
                self._failed = KafkaError(f"the answer to the commit was lost ({outcome})")
                raise self._failed
            await process.passes()


class Consumer:
    """A consumer outside any group."""

    is_fetching = True

    def __init__(self, broker: Broker):
        self._broker = broker
        self._positions: dict[TopicPartition, int] = {}

    async def start(self) -> None:
        """Connect."""
        await asyncio.sleep(0)

    async def stop(self) -> None:
        """Disconnect."""

    def assign(self, tps: Iterable[TopicPartition]) -> None:
        """Read these from now on."""
        self._positions = dict.fromkeys(tps, 0)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Go on there."""
        self._positions[tp] = offset

    def pause(self, *tps: TopicPartition) -> None:
        """Fetch nothing of these ahead, as it never does."""

    def resume(self, *tps: TopicPartition) -> None:
        """Fetch ahead again."""

    async def position(self, tp: TopicPartition) -> int:
        """Offset to read next."""
        return self._positions[tp]

    async def topics(self) -> set[str]:
        """Topics that there are."""
        await PROCESS.get().passes()
        return {topic for topic, _ in self._broker.logs}

    async def end_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Ends of logs."""
        await PROCESS.get().passes()
        return {tp: self._broker.log(tp.topic, tp.partition).end for tp in tps}

    async def beginning_offsets(self, tps: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Starts of logs."""
        return {tp: self._broker.log(tp.topic, tp.partition).start for tp in tps}

    # Every partition has a leader.
    led_ends, led_starts = end_offsets, beginning_offsets

    async def offsets_for_times(
        self, times: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, LogEntry | None]:
        """First entries appended at or after times; None: no such is there yet."""
        return {
            tp: next((one for one in self._broker.log(*tp).entries if one.timestamp >= at_ms), None)
            for tp, at_ms in times.items()
        }

    async def getmany(
        self, *tps: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> Mapping[TopicPartition, list[LogEntry]]:
        """Wait until there is something to read, or the time is over."""
        process, loop = PROCESS.get(), asyncio.get_running_loop()
        await process.passes()
        until_s, over = loop.time() + timeout_ms / 1000, timeout_ms == 0
        while True:
            moved, found = self._drain(tps or tuple(self._positions), max_records)
            if moved or over:
                return found
            if await self._broker.next_append.happens_until(until_s):
                await process.passes()
            else:
                over = True

    def _drain(
        self, tps: Sequence[TopicPartition], limit: int | None
    ) -> tuple[bool, dict[TopicPartition, list[LogEntry]]]:
        moved = False
        found: dict[TopicPartition, list[LogEntry]] = {}
        for tp in tps:
            log = self._broker.log(tp.topic, tp.partition)
            if self._positions[tp] < log.start:
                raise OffsetOutOfRangeError({tp: self._positions[tp]})
            entries = log.read(self._positions[tp], limit)
            whole = limit is None or len(entries) < limit
            position = log.end if whole else entries[-1].offset + 1
            moved |= position > self._positions[tp]
            self._positions[tp] = max(position, self._positions[tp])
            if entries:
                found[tp] = entries
        return moved, found


class Admin:
    """What restoring asks of the admin client."""

    def __init__(self, broker: Broker):
        self._broker = broker

    async def delete_records(
        self, wanted: Mapping[TopicPartition, RecordsToDelete]
    ) -> dict[TopicPartition, int]:
        """Delete all records; where the logs begin now."""
        await PROCESS.get().passes()
        for tp in wanted:
            log = self._broker.log(tp.topic, tp.partition)
            log.entries.clear()
            log.start = log.end
        return {tp: self._broker.log(tp.topic, tp.partition).start for tp in wanted}

    @asynccontextmanager
    async def connected(self, settings: Settings) -> AsyncIterator[Admin]:
        """In place of `app.kafka.topics.admin_client`."""
        yield self
