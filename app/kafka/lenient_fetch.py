"""Read the batches that aiokafka fetches in bounded pieces, whatever a producer put into them.

Batches are inflated into buffers of a bounded size, large ones outside the event loop: 128 KB may
hold gigabytes. The broker takes any bytes as the name of a header, while aiokafka decodes strictly.
One such record would stop a partition for ever, so names are decoded leniently here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from time import monotonic
from typing import Any, Final, NamedTuple

from aiokafka.consumer import consumer, fetcher
from aiokafka.errors import CorruptRecordException, KafkaError
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint_py

from app.bounds.limits import (
    DELIVERED_BYTES,
    DELIVERED_RECORDS,
    INFLATED_BEFORE_BYTES,
    INFLATED_BYTES,
    INFLATED_ON_LOOP_BYTES,
    RECORD_HEADERS,
    RECORD_HEADERS_BEFORE,
)
from app.kafka.fetch_sessions import FetchSession
from app.kafka.inflate import Unreadable, inflate_within
from app.kafka.open_batch import COUNT_AT, HELD, INT, OpenBatch, UnreadBatch
from app.kafka.parts import Parts
from app.kafka.record_headers import many_headers, refuse_headers
from app.kernel import checksum

# Of a batch: where it states its length, which is counted from behind that, its format and, in the
# current format, where begins what has a checksum, and where its records do.
_LENGTH_AT: Final = 8
_AFTER_LENGTH: Final = 12
_MAGIC_AT: Final = 16
_SUMMED_AT: Final = 21
_RECORDS_AT: Final = 61
LEAVES_OUT_MAX_WAIT_MS: Final = 100
"""How long the brokers may wait for data of some partitions while others are not asked for."""
_CURRENT_FORMAT: Final = 2


class _Limits(NamedTuple):
    """Limits of one batch."""

    inflated_bytes: int
    headers: int
    """Most headers of one record."""


_LIMITS: Final = _Limits(INFLATED_BYTES, RECORD_HEADERS)
_BEFORE: Final = _Limits(INFLATED_BEFORE_BYTES, RECORD_HEADERS_BEFORE)
_limited_after_ms: Final[dict[str, int]] = {}


def limit_after(topic: str, at_ms: int) -> None:
    """Read records appended to a topic until `at_ms` under the rules that they were counted by.

    Without this call the limits hold for all batches of a topic.
    """
    _limited_after_ms[topic] = at_ms


def _limits_of(topic: str, at_ms: int) -> _Limits:
    return _LIMITS if at_ms > _limited_after_ms.get(topic, -1) else _BEFORE


class _KeptRecords(MemoryRecords):  # type: ignore[misc]
    """Fetched records, with their bytes as an attribute."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class _LenientBytes(bytearray):
    """Bytes that decode to text; bytes that are not UTF-8 become backslash escapes."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _LenientBytes(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """A batch decoded leniently in Python, which is slow."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _LenientBytes(self._buffer)

    def _read_msg(self) -> Any:
        # The decoder that is used otherwise looks at any address that a length leads to.
        return super()._read_msg(decode_varint_py)


class FetchedRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """Records of one partition, read batch by batch."""

    by_parts = False
    """Whether `take` returns `Parts`, with records that are made when they are asked for."""

    def __init__(self, tp: Any, records: _KeptRecords, aborted: Any, offset: int, *rest: Any):
        super().__init__(tp, records, aborted, offset, *rest)
        # It holds this object, so both and what was fetched would live until the collector came.
        self._records_iterator = None
        self.next_fetch_offset: int
        self._bytes = records.data
        self._data = memoryview(records.data)
        self._at = 0
        """Position at which the next batch begins."""
        self._batch: OpenBatch | None = None
        self._lenient_at = -1
        """Position of the batch that must be read leniently; -1: none."""
        self.ended = False
        """True: there are no more records."""
        self.waits = False
        """True: the next batch is too large to be inflated on the loop; `inflate` must do it."""
        self.inflating: asyncio.Future[None] | None = None

    def __next__(self) -> Any:
        """Return the next record to who takes them one by one, without these bounds."""
        if self._records_iterator is None:
            self._records_iterator = self._unpack_records()
        return super().__next__()

    def take(self, most: int | None) -> Sequence[Any]:
        """Return the next records, bounded in number and size; more follow unless `ended`."""
        parts = list(self._taken(most))
        return Parts(parts) if self.by_parts else list(chain.from_iterable(parts))

    def _taken(self, most: int | None) -> Iterator[Sequence[Any]]:
        if self.is_inflating:
            return
        left = DELIVERED_RECORDS if most is None else min(most, DELIVERED_RECORDS)
        room = DELIVERED_BYTES
        while left > 0 and room > 0:
            batch = self._batch or self._opened(INFLATED_ON_LOOP_BYTES)
            if batch is None:
                break
            try:
                part = batch.read(left, room)
            except UnicodeDecodeError:
                self._lenient_at = batch.start
                part = None
            if part is None:
                self._batch, self._at = None, batch.start
                continue
            room -= part.size
            left -= len(part.records)
            if part.whole:
                self._batch = None
            self.next_fetch_offset = max(self.next_fetch_offset, part.next_offset)
            # What was split has few headers, and is as aiokafka gives it.
            is_split = self.by_parts and not isinstance(part.records, list)
            yield part.records if is_split else list(map(self._given, part.records))

    @property
    def is_inflating(self) -> bool:
        """True: another thread inflates the next batch now."""
        return self.inflating is not None and not self.inflating.done()

    def inflate(self) -> None:
        """Open the next batch of any size; runs in a thread of its own, apart from the loop."""
        if self._batch is None:
            self._opened(None)

    def _given(self, record: Any) -> Any:
        if isinstance(record, UnreadBatch):
            return record
        if (
            len(record.headers) > RECORD_HEADERS
            and len(record.headers) > _limits_of(self._tp.topic, record.timestamp).headers
        ):
            value, at_ms, kind = record.value or b"", record.timestamp, record.timestamp_type
            return UnreadBatch(record.offset, at_ms, kind, 1, value, many_headers())
        return self._consumer_record(self._tp, record)

    def _opened(self, ceiling: int | None) -> OpenBatch | None:
        """Return the next batch with records to read; None: there is none, or it waits.

        `ceiling`: bytes up to which a batch is inflated here and now; None: up to its limit.
        """
        while (bounds := self._next_bounds()) is not None:
            start, self._at = bounds
            data = self._data[start : self._at]
            magic = data[_MAGIC_AT]
            current = magic >= _CURRENT_FORMAT
            batch = DefaultRecordBatch(data) if current else LegacyRecordBatch(data, magic)
            if self._check_crcs and not self._is_sound(batch, start, current):
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            if self._is_void(batch) or batch.next_offset <= self.next_fetch_offset:
                self.next_fetch_offset = max(self.next_fetch_offset, batch.next_offset)
                continue
            if start == self._lenient_at:
                batch = _LenientBatch(data)
            opened = OpenBatch(batch, data, start, self.next_fetch_offset)
            limits = _limits_of(self._tp.topic, batch.max_timestamp if current else 0)
            most = limits.inflated_bytes
            try:
                inflated = inflate_within(ceiling or most, opened.begin)
                opened.inflated_bytes = len(inflated)
                if current and len(inflated) > INFLATED_ON_LOOP_BYTES:
                    (count,) = INT.unpack_from(data, COUNT_AT)
                    refuse_headers(inflated, count, limits.headers)
                elif current and start != self._lenient_at:
                    whole = (inflated, 0) if inflated else (self._bytes, start + _RECORDS_AT)
                    opened.split(*whole, len(inflated) or self._at)
            except Unreadable as reason:
                if reason.too_large and (ceiling or most) < most:
                    self._at, self.waits = start, True
                    return None
                opened.begin_unread(reason)
            self._batch, self.waits = opened, False
            if opened.inflated_bytes > INFLATED_ON_LOOP_BYTES:
                HELD.add(opened)
            return opened
        self.ended, self.waits = True, False
        return None

    def _is_sound(self, batch: Any, start: int, current: bool) -> bool:
        """Return whether the checksum of a batch is that of its bytes."""
        known = checksum(self._bytes, start + _SUMMED_AT, self._at) if current else None
        return bool(batch.validate_crc() if known is None else known == batch.crc)

    def _next_bounds(self) -> tuple[int, int] | None:
        """Return (start, end) of the next batch; None: no further batch is here as a whole."""
        start = self._at
        if len(self._data) - start < _AFTER_LENGTH:
            return None
        (length,) = INT.unpack_from(self._data, start + _LENGTH_AT)
        end = start + _AFTER_LENGTH + length
        return None if end > len(self._data) else (start, end)

    def _is_void(self, batch: Any) -> bool:
        """Return True if a batch ends a transaction, or belongs to an aborted one."""
        if self._isolation_level == fetcher.READ_COMMITTED and batch.producer_id is not None:
            self._consume_aborted_up_to(batch.base_offset)
            if batch.is_control_batch and self._contains_abort_marker(batch):
                self._aborted_producers.discard(batch.producer_id)
            if batch.is_transactional and batch.producer_id in self._aborted_producers:
                return True
        return bool(batch.is_control_batch)


_THREADS: Final = ThreadPoolExecutor(max_workers=2, thread_name_prefix="inflating")
"""Threads that inflate at most two batches at a time: one of a scan leaves the fold the other."""


class FetchResult(fetcher.FetchResult):  # type: ignore[misc]
    """Fetched records of one partition, as the fetcher keeps them."""

    _partition_records: FetchedRecords | None

    @property
    def waiting(self) -> FetchedRecords | None:
        """Records with a next batch that a thread must inflate or inflates now; None: none such."""
        records = self._partition_records
        waits = records is not None and (records.waits or records.is_inflating)
        return records if waits else None

    def getall(self, max_records: int | None = None) -> Sequence[Any]:
        """Return many records at a time; aiokafka itself takes them one by one."""
        records = self._partition_records
        if records is None or not self.check_assignment(self._topic_partition):
            return []
        taken = records.take(max_records)
        self._update_position()
        if records.ended:
            self._partition_records = None
        return taken


class _InFlight(set[Any]):
    """Brokers that are asked; whoever fetches looks again when one is not asked any more.

    Woken by room right before, it has taken note of an answer while the broker still counted as
    asked. Nothing else would wake it.
    """

    def __init__(self, look: Callable[[], None]):
        super().__init__()
        self._look = look

    def discard(self, node_id: Any) -> None:
        """Let a broker be asked again."""
        super().discard(node_id)
        self._look()


class FetchingEnded(KafkaError):  # type: ignore[misc]
    """A consumer fetches nothing any more, and will not: it has to be made anew."""


class Fetcher(fetcher.Fetcher):  # type: ignore[misc]
    """Fetches for one consumer."""

    _fetch_task: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_flight: set[Any] = _InFlight(lambda: self._notify(self._wait_consume_future))
        self._longest_wait_ms: int = self._fetch_max_wait_ms
        self._sessions: dict[Any, FetchSession] | None = None

    def keep_sessions(self) -> None:
        """Name only what has changed from here on: worth it for who asks for long."""
        self._sessions = {}

    def check_fetching(self) -> None:
        """Raise FetchingEnded when the task that fetches has ended.

        aiokafka tells nobody, and returns nothing to who asks for records, for ever.
        """
        task = self._fetch_task
        if task.done() and not self._closed:
            error = None if task.cancelled() else task.exception()
            cause = error and (error.__cause__ or error)
            raise FetchingEnded(f"nothing is fetched any more: {cause!r}") from cause

    async def close(self) -> None:
        """Fetch nothing any more; what has ended it before is told to who asks for records."""
        if self._fetch_task.done():
            self._fetch_task = asyncio.gather(self._fetch_task, return_exceptions=True)
        await super().close()
        # What it looked by leads back to it: it would wait for the collector.
        self._in_flight = set()

    async def _proc_fetch_request(self, assignment: Any, node_id: Any, request: Any) -> Any:
        if self._sessions is not None:
            session = self._sessions.setdefault(node_id, FetchSession())
            request = session.asking(request, assignment)
        return await super()._proc_fetch_request(assignment, node_id, request)

    def _get_actions_per_node(self, assignment: Any) -> Any:
        # What has data here is left out, and is fetched only when this fetch is over.
        most_ms = LEAVES_OUT_MAX_WAIT_MS if self._records else self._longest_wait_ms
        self._fetch_max_wait_ms = min(most_ms, self._longest_wait_ms)
        return super()._get_actions_per_node(assignment)

    async def fetched_records(
        self, partitions: Any, timeout: float = 0, max_records: int | None = None
    ) -> dict[Any, list[Any]]:
        """Return fetched records as they come, after a thread has inflated large batches.

        Where only markers came, return nothing at once: the position has passed them.

        Raises:
            FetchingEnded: none will come.
        """
        self.check_fetching()
        deadline_s, has_come = monotonic() + timeout, False
        while True:
            if (inflating := self.inflating(partitions)) is not None:
                # Whoever is cancelled leaves it running, and the next one waits for it.
                await asyncio.shield(inflating)
            drained: dict[Any, list[Any]] = await super().fetched_records(
                partitions, 0, max_records
            )
            if drained or self._closed:
                return drained
            remaining_s = deadline_s - monotonic()
            if remaining_s <= 0:
                return drained
            if not self.waiting(partitions):
                if has_come:
                    return drained
                has_come = await self.wait_for_data(remaining_s)

    def inflating(self, partitions: Any) -> asyncio.Future[None] | None:
        """Begin to inflate the batch that waits, and return its future; None: no batch waits."""
        # One at a time, or those first inflated would be let go of for the last ones.
        for records in self.waiting(partitions)[:1]:
            if not records.is_inflating:
                records.inflating = self._loop.run_in_executor(_THREADS, records.inflate)
            return records.inflating
        return None

    def waiting(self, partitions: Any) -> list[FetchedRecords]:
        """Return the records that must be inflated before they can be drained."""
        found = [
            result.waiting
            for tp, result in self._records.items()
            if (not partitions or tp in partitions) and isinstance(result, FetchResult)
        ]
        return [records for records in found if records is not None]

    async def wait_for_data(
        self, timeout_s: float, inflating: asyncio.Future[None] | None = None
    ) -> bool:
        """Wait until something more is fetched or inflated; False: the time is over."""
        waiter = self._create_fetch_waiter()
        awaited = {waiter} if inflating is None else {waiter, inflating}
        try:
            done, _ = await asyncio.wait(
                awaited, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            if not waiter.done():
                waiter.cancel()
        for future in done:
            future.result()
        return bool(done)


# The fetcher makes them itself, with nothing to say of which class.
fetcher.MemoryRecords = _KeptRecords
fetcher.PartitionRecords = FetchedRecords
fetcher.FetchResult = FetchResult
consumer.Fetcher = Fetcher
