"""Readers of logs: what is committed, from an offset, to the end, or record by record.

They read by batch, and never skip what retention took. Source: state.md §4.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from itertools import pairwise
from typing import Final, NamedTuple

from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import ConsumerRecord

from app.bounds.work_done import Operation, WorkDone
from app.kafka.asked import asked
from app.kafka.clients import FETCHER_LOOKS_MS, NOT_TAKEN, Consumer, start, started
from app.kafka.reading import reading
from app.kafka.topics import partition_count
from app.settings import Settings

FETCH_BYTES: Final = 8 * 1024 * 1024
FETCH_MAX_WAIT_MS: Final = 100
_FOLLOWED_MAX_WAIT_MS: Final = 5_000
"""A reader of one log gets its records at once, and asks rarely while there are none."""
READ_TIMEOUT_MS: Final = 500
REQUEST_TIMEOUT_MS: Final = 40_000
RETRY_S: Final = 0.5
_LOOKED_UP_AT_ONCE: Final = 500
_LOOK_UP_BYTES: Final = 128 * 1024
"""Fetched for a record that is looked up; more would mostly be for nothing."""
_LOOKED_UP_BYTES: Final = 4 * 1024 * 1024
"""Records that are looked up at once have so many bytes, or one more than that."""
_LOOK_UP_MAX_WAIT_MS: Final = 5
"""What is looked up is there; a fetch beyond it, at the end of a log, keeps the next waiting."""
_READ_OVER: Final = 1_000
"""Reading so many records takes less than going to another place in the log."""
_LOOKED_OVER: Final = 64 * _READ_OVER
"""Others wait while so many records are read, or places gone to instead: a second at most."""
_NEAR_END: Final = 2_000
"""Records from the end of a log that the newest one of a key is looked for in, first."""
_TAIL: Final = 2
"""Offsets from the end of a log at which its tail may begin, first: a record and its commit."""
_READ_AT_ONCE: Final = 10_000
"""More would keep the event loop, and with it partitions that are served, waiting."""
_FOLLOWED_AT_ONCE: Final = 1_000
"""Unpacked in one go: 10 ms."""


class RecordsDeleted(Exception):
    """The log no longer holds the first record that was asked for."""


class LogRecord(NamedTuple):
    """One record of a log."""

    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]
    timestamp_ms: int
    offset: int


def plain_consumer(
    settings: Settings,
    fetch_bytes: int = FETCH_BYTES,
    max_wait_ms: int = FETCH_MAX_WAIT_MS,
    *,
    near: bool = False,
) -> Consumer:
    """Make a consumer without a group; it reads what is committed, and never skips lost records.

    `near`: it reads from a replica in this worker's rack.
    """
    return Consumer(
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level="read_committed",
        max_partition_fetch_bytes=fetch_bytes,
        fetch_max_bytes=4 * FETCH_BYTES,
        fetch_max_wait_ms=max_wait_ms,
        consumer_timeout_ms=FETCHER_LOOKS_MS,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
        **(settings.reader_options() if near else settings.kafka_options()),
    )


@reading
async def read_to_end(
    settings: Settings, tps: Sequence[TopicPartition]
) -> AsyncGenerator[tuple[TopicPartition, list[tuple[int, bytes, bytes | None]]], None]:
    """Yield what is committed until now, by batches of (offset, key or b"", value).

    A transaction whose markers are on their way is not among it: a new owner starts its producer
    first, which waits for them.
    """
    async with started(plain_consumer(settings, near=True)) as consumer:
        ends = await consumer.end_offsets(tps)
        starts = await consumer.beginning_offsets(tps)
        async with _between(consumer, starts, ends) as batches:
            async for tp, records in batches:
                yield tp, [(record.offset, record.key or b"", record.value) for record in records]


@reading
async def read_tail(
    settings: Settings, tp: TopicPartition, is_early: Callable[[LogRecord], bool] | None
) -> AsyncGenerator[list[LogRecord], None]:
    """Yield what is committed until now, from a record on that is early enough, by batches.

    It is looked for from the end, in ever larger steps. `None`: all of the log is read.
    """
    async with started(plain_consumer(settings)) as consumer:
        start = (await consumer.beginning_offsets([tp]))[tp]
        end = upper = position = (await consumer.end_offsets([tp]))[tp]
        reach = _TAIL if is_early is not None else end - start
        while position > start:
            position, reach = max(start, end - reach), 4 * reach
            if position > start:
                first = await _first_record(consumer, tp, position, upper)
                if first is not None and is_early is not None and is_early(first):
                    break
            upper = position
        async with _between(consumer, {tp: position}, {tp: end}) as batches:
            async for _, records in batches:
                yield [log_record(record) for record in records]


async def _first_record(
    consumer: Consumer, tp: TopicPartition, start: int, end: int
) -> LogRecord | None:
    async with _between(consumer, {tp: start}, {tp: end}) as batches:
        async for _, records in batches:
            return log_record(records[0])
    return None


async def bounds(settings: Settings, tp: TopicPartition) -> tuple[int, int]:
    """Return the first offset that a partition of a log still has, and the next it will have."""
    return (await bounds_of(settings, [tp]))[tp]


async def bounds_of(
    settings: Settings, tps: Sequence[TopicPartition]
) -> dict[TopicPartition, tuple[int, int]]:
    """Return `bounds` of several partitions."""
    async with started(plain_consumer(settings)) as consumer:
        starts = await consumer.beginning_offsets(tps)
        ends = await consumer.end_offsets(tps)
        return {tp: (int(starts[tp]), int(ends[tp])) for tp in tps}


async def first_from(
    consumer: Consumer, tps: Sequence[TopicPartition], at_ms: int
) -> dict[TopicPartition, int]:
    """Return the first offset of each partition from a time on, its end if there is none.

    The ends are asked for first: none is after what is appended meanwhile.
    """
    if not tps:
        return {}
    ends = await consumer.end_offsets(tps)
    found = await consumer.offsets_for_times(dict.fromkeys(tps, at_ms))
    return {tp: int(ends[tp] if found[tp] is None else found[tp].offset) for tp in tps}


async def first_appended(
    settings: Settings, starts: Mapping[TopicPartition, int]
) -> dict[TopicPartition, int]:
    """Return when the first records of logs were appended, ms; one without any is left out."""
    found: dict[TopicPartition, int] = {}
    async with started(plain_consumer(settings)) as consumer:
        ends = await consumer.end_offsets(list(starts))
        for tp, start in starts.items():
            first = await _first_record(consumer, tp, start, ends[tp])
            if first is not None:
                found[tp] = first.timestamp_ms
    return found


async def first_since(settings: Settings, tp: TopicPartition, at_ms: int) -> int:
    """Return the offset of the first record appended at or after a time; no such: the end."""
    async with started(plain_consumer(settings)) as consumer:
        return (await first_from(consumer, [tp], at_ms))[tp]


async def newest_value(settings: Settings, tp: TopicPartition, key: bytes) -> bytes | None:
    """Return the newest committed value of a key, looked for from the end; None: there is none."""
    async with started(plain_consumer(settings)) as consumer:
        start = (await consumer.beginning_offsets([tp]))[tp]
        end = upper = (await consumer.end_offsets([tp]))[tp]
        reach = _NEAR_END
        while upper > start:
            lower = max(start, end - reach)
            found: bytes | None = None
            async with _between(consumer, {tp: lower}, {tp: upper}) as batches:
                async for _, records in batches:
                    for record in records:
                        found = record.value if record.key == key else found
            if found is not None:
                return found
            upper, reach = lower, 8 * reach
    return None


@reading
async def scan(
    settings: Settings, tp: TopicPartition, from_offset: int, to_offset: int
) -> AsyncGenerator[list[LogRecord], None]:
    """Yield records from `from_offset` up to and without `to_offset`, by batches.

    Raises:
        RecordsDeleted: the log begins later.
    """
    if from_offset >= to_offset:
        return
    async with scan_many(settings, {tp: (from_offset, to_offset)}) as batches:
        async for _, records in batches:
            yield records


@reading
async def whole(
    settings: Settings, topic: str, before_ms: int | None = None
) -> AsyncGenerator[tuple[int, list[LogRecord]], None]:
    """Yield what a topic has now, partition by partition, by batches with its number.

    It has the partitions that the broker has, whatever METER_RAW_PARTITIONS says here.
    `before_ms`: of each what lies before the first record that was appended at or after a time.

    Raises:
        TopicRefused: there is no such topic.
    """
    for number in range(await partition_count(settings, topic)):
        tp = TopicPartition(topic, number)
        start, end = await bounds(settings, tp)
        if before_ms is not None:
            end = min(end, await first_since(settings, tp, before_ms))
        async with scan(settings, tp, start, end) as batches:
            async for records in batches:
                yield number, records


@reading
async def scan_many(
    settings: Settings, ranges: Mapping[TopicPartition, tuple[int, int]]
) -> AsyncGenerator[tuple[TopicPartition, list[LogRecord]], None]:
    """Yield records of several partitions, each from its first offset up to and without its end.

    Raises:
        RecordsDeleted: a log begins later.
    """
    ends = {tp: end for tp, (_, end) in ranges.items()}
    positions = {tp: start for tp, (start, _) in ranges.items()}
    try:
        async with (
            started(plain_consumer(settings, near=True)) as consumer,
            _between(consumer, positions, ends) as batches,
        ):
            async for tp, records in batches:
                yield tp, [log_record(record) for record in records]
    except OffsetOutOfRangeError as error:
        tp, offset = first_deleted(error)
        raise RecordsDeleted(f"{tp.topic} partition {tp.partition} at {offset}") from error


def first_deleted(error: OffsetOutOfRangeError) -> tuple[TopicPartition, int]:
    """Return the first offset that was asked for of a log that has it no longer."""
    offsets: dict[TopicPartition, int] = error.args[0]
    return min(offsets.items())


@reading
async def _between(
    consumer: Consumer,
    positions: Mapping[TopicPartition, int],
    ends: Mapping[TopicPartition, int],
) -> AsyncGenerator[tuple[TopicPartition, list[ConsumerRecord]], None]:
    """Yield fetched batches until each position is at its end; a transaction marker may be it."""
    left = [tp for tp, position in positions.items() if position < ends[tp]]
    consumer.assign(left)
    for tp in left:
        consumer.seek(tp, positions[tp])
    while left:
        fetched = await consumer.getmany(
            *left, timeout_ms=READ_TIMEOUT_MS, max_records=_READ_AT_ONCE
        )
        for tp, records in fetched.items():
            if records[-1].offset >= ends[tp]:
                records = [record for record in records if record.offset < ends[tp]]
            if records:
                yield tp, records
        left = [tp for tp in left if await consumer.position(tp) < ends[tp]]


class LogReader:
    """Reads a whole single-partition log and then follows it."""

    def __init__(self, settings: Settings, topic: str):
        self._settings = settings
        self.tp = TopicPartition(topic, 0)
        self._consumer: Consumer | None = None
        self._end: int | None = None
        self.next = 0
        """Offset after the last one that was handed out and taken."""
        self.caught_up = asyncio.Event()
        """Set once everything written before the start was handed out and taken."""

    async def batches(self) -> AsyncIterator[list[LogRecord]]:
        """Yield records in order, until cancelled. While the broker does not answer, try again.

        Raises:
            RecordsDeleted: records that were not read yet have been deleted.
        """
        while True:
            try:
                async for records in self._follow():
                    yield records
            except OffsetOutOfRangeError as error:
                raise RecordsDeleted(f"{self.tp.topic} at {self.next}") from error
            except NOT_TAKEN:
                with suppress(*NOT_TAKEN):
                    await self.stop()
                await asyncio.sleep(RETRY_S)

    async def _follow(self) -> AsyncIterator[list[LogRecord]]:
        tp = self.tp
        consumer = self._consumer = plain_consumer(
            self._settings, max_wait_ms=_FOLLOWED_MAX_WAIT_MS
        )
        await consumer.start()
        if self._end is None:
            self._end = (await consumer.end_offsets([tp]))[tp]
            self.next = (await consumer.beginning_offsets([tp]))[tp]
        consumer.assign([tp])
        consumer.seek(tp, self.next)
        while True:
            if self.next >= self._end:
                self.caught_up.set()
            fetched = await consumer.getmany(
                tp, timeout_ms=_FOLLOWED_MAX_WAIT_MS, max_records=_FOLLOWED_AT_ONCE
            )
            position = await consumer.position(tp)
            for records in fetched.values():
                yield [log_record(record) for record in records]
            self.next = position

    async def stop(self) -> None:
        """Close the connection."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()


class RecordReader:
    """Fetches single records by offset, one request at a time, through one consumer."""

    def __init__(
        self, settings: Settings, work: WorkDone | None = None, *, for_queries: bool = False
    ):
        """Take `for_queries` to raise Unavailable where no broker answers soon."""
        self._settings = settings
        self._work = work or WorkDone()
        self._consumer: Consumer | None = None
        self._lock = asyncio.Lock()
        self._asking = asked if for_queries else nullcontext

    async def read(self, topic: str, partition: int, offset: int) -> LogRecord | None:
        """Return the record; None when the log has no record at that offset."""
        found = await self.read_many(topic, partition, [offset])
        return found.get(offset)

    async def read_many(
        self, topic: str, partition: int, offsets: Iterable[int]
    ) -> dict[int, LogRecord]:
        """Return the records at these offsets, without those that the log does not have."""
        found, left = dict[int, LogRecord](), sorted(set(offsets))
        while left:
            some, left = await self.read_some(topic, partition, left)
            found |= some
        return found

    async def read_some(
        self, topic: str, partition: int, offsets: Sequence[int], operation: Operation = "query"
    ) -> tuple[dict[int, LogRecord], list[int]]:
        """Return the first of the records at these offsets, and which offsets are left to read.

        All of them may be more than memory takes, or than others wait for. `offsets`: in order.
        """
        tp = TopicPartition(topic, partition)
        found: dict[int, LogRecord] = {}
        async with self._asking(), self._lock:
            consumer = await self._started()
            consumer.assign([tp])
            start = (await consumer.beginning_offsets([tp]))[tp]
            end = (await consumer.end_offsets([tp]))[tp]
            there = [offset for offset in offsets if start <= offset < end]
            wanted = there[: _at_once(there)]
            later = there[len(wanted) :]
            while wanted and _bytes_of(found) < _LOOKED_UP_BYTES:
                if not await self._read_from(consumer, tp, wanted, found, operation):
                    wanted.clear()
            # Else it goes on fetching what nobody asked for.
            consumer.pause(tp)
        return found, wanted + later

    async def _read_from(
        self,
        consumer: Consumer,
        tp: TopicPartition,
        wanted: list[int],
        found: dict[int, LogRecord],
        operation: Operation,
    ) -> bool:
        """Read from the first wanted offset on, over what lies between it and the next ones."""
        position, room = wanted[0], _LOOKED_UP_BYTES - _bytes_of(found)
        asked = set(wanted)
        consumer.seek(tp, position)
        try:
            while wanted and wanted[0] - position < _READ_OVER and room > 0:
                fetched = await consumer.getmany(
                    tp, timeout_ms=READ_TIMEOUT_MS, max_records=_LOOKED_UP_AT_ONCE
                )
                position = await consumer.position(tp)
                self._work.add(operation, "broker_requests", 1)
                self._work.add(operation, "log_records", len(fetched.get(tp, ())))
                for record in fetched.get(tp, ()):
                    if record.offset in asked:
                        found[record.offset] = log_record(record)
                        room -= len(record.value or b"")
                del wanted[: bisect_left(wanted, position)]
        except OffsetOutOfRangeError:
            # Deleted since the bounds were read.
            return False
        return True

    async def _started(self) -> Consumer:
        if self._consumer is not None and not self._consumer.is_fetching:
            await self._consumer.stop()
            self._consumer = None
        if self._consumer is None:
            self._consumer = await start(
                plain_consumer(self._settings, _LOOK_UP_BYTES, _LOOK_UP_MAX_WAIT_MS)
            )
        return self._consumer

    async def stop(self) -> None:
        """Close the connection."""
        async with self._lock:
            consumer, self._consumer = self._consumer, None
            if consumer is not None:
                await consumer.stop()


def _at_once(offsets: Sequence[int]) -> int:
    """Return how many of these offsets are read before others have their turn."""
    read_over = 0
    for number, (offset, following) in enumerate(pairwise(offsets), 1):
        read_over += min(following - offset, _READ_OVER)
        if read_over > _LOOKED_OVER:
            return number
    return len(offsets)


def _bytes_of(records: Mapping[int, LogRecord]) -> int:
    return sum(len(record.value or b"") for record in records.values())


def log_record(record: ConsumerRecord) -> LogRecord:
    """Return a fetched record as readers hand it out."""
    return LogRecord(record.key, record.value, record.headers, record.timestamp, record.offset)


ASKED_WITHIN_S: Final = 10.0
