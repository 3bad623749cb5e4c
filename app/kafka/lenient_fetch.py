"""Read the batches that aiokafka fetches in bounded pieces, whatever a producer put into them.

Batches are inflated into buffers of a bounded size, large ones outside the event loop: 128 KB may
hold gigabytes. The broker takes any bytes as the name of a header, while aiokafka decodes strictly.
One such record would stop a partition for ever, so names are decoded leniently here.
"""

from __future__ import annotations

import asyncio
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, dropwhile, islice
from operator import attrgetter
from threading import Lock
from time import monotonic
from typing import Any, Final, NamedTuple, overload
from weakref import WeakKeyDictionary

import msgspec
from aiokafka.consumer import consumer, fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.legacy_records import LegacyRecordBatch
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import decode_varint_py

from app.bounds.limits import (
    DELIVERED_BYTES,
    DELIVERED_RECORDS,
    HEADER_BYTES,
    INFLATED_BEFORE_BYTES,
    INFLATED_BYTES,
    INFLATED_IN_WORKER_BYTES,
    INFLATED_ON_LOOP_BYTES,
    RECORD_HEADERS,
    RECORD_HEADERS_BEFORE,
)
from app.kafka.fetch_sessions import FetchSession
from app.kafka.inflate import Unreadable, inflate_within
from app.kafka.record_headers import many_headers, refuse_headers
from app.kernel import split

# Of a batch: where it states its length, which is counted from behind that, its format and, in the
# current format, how many records it has.
_INT: Final = struct.Struct(">i")
_LENGTH_AT: Final = 8
_AFTER_LENGTH: Final = 12
_MAGIC_AT: Final = 16
_COUNT_AT: Final = 57
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


class UnreadBatch(NamedTuple):
    """Stands for the unreadable records of a batch; most readers see a record without value."""

    offset: int
    """Offset of the first unreadable record."""
    timestamp: int
    timestamp_type: int
    records: int
    """Number of records from `offset` on, as the batch states it; 0: unknown."""
    data: bytes
    """Bytes of the batch as it was fetched, or the value of the one record."""
    reason: Unreadable
    key: bytes | None = None
    value: bytes | None = None
    headers: Sequence[tuple[str, bytes | None]] = ()


class Fetched(msgspec.Struct, gc=False):
    """A record of a batch that `app.kernel` has split, as aiokafka would give it."""

    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    @property
    def checksum(self) -> None:
        """None: no record of the current format has one."""


class Parts(Sequence[Any]):
    """Records of one partition, as the batches that were read have them."""

    def __init__(self, parts: Iterable[Sequence[Any]] = ()) -> None:
        self.parts = [part for part in parts if len(part)]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def __iter__(self) -> Iterator[Any]:
        return chain.from_iterable(self.parts)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        """Return one record, or a list; whoever needs many goes by parts."""
        if isinstance(at, int) and at in (0, -1) and self.parts:
            return self.parts[at][at]
        return list(self)[at]

    def parts_from(self, offset: int) -> Iterator[tuple[Sequence[Any], int]]:
        """Yield each part with the place of its first record from an offset on."""
        for part in self.parts:
            place = bisect_left(part, offset, key=_offset)
            if place < len(part):
                yield part, place

    def clear(self) -> None:
        """Let all records go."""
        self.parts = []


_offset = attrgetter("offset")


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
        self._batch: _OpenBatch | None = None
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

    def _opened(self, ceiling: int | None) -> _OpenBatch | None:
        """Return the next batch with records to read; None: there is none, or it waits.

        `ceiling`: bytes up to which a batch is inflated here and now; None: up to its limit.
        """
        while (bounds := self._next_bounds()) is not None:
            start, self._at = bounds
            data = self._data[start : self._at]
            magic = data[_MAGIC_AT]
            current = magic >= _CURRENT_FORMAT
            batch = DefaultRecordBatch(data) if current else LegacyRecordBatch(data, magic)
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"Invalid CRC - {self._tp}")
            if self._is_void(batch) or batch.next_offset <= self.next_fetch_offset:
                self.next_fetch_offset = max(self.next_fetch_offset, batch.next_offset)
                continue
            if start == self._lenient_at:
                batch = _LenientBatch(data)
            opened = _OpenBatch(batch, data, start, self.next_fetch_offset)
            limits = _limits_of(self._tp.topic, batch.max_timestamp if current else 0)
            most = limits.inflated_bytes
            try:
                inflated = inflate_within(ceiling or most, opened.begin)
                opened.inflated_bytes = len(inflated)
                if current and len(inflated) > INFLATED_ON_LOOP_BYTES:
                    (count,) = _INT.unpack_from(data, _COUNT_AT)
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
                _HELD.add(opened)
            return opened
        self.ended, self.waits = True, False
        return None

    def _next_bounds(self) -> tuple[int, int] | None:
        """Return (start, end) of the next batch; None: no further batch is here as a whole."""
        start = self._at
        if len(self._data) - start < _AFTER_LENGTH:
            return None
        (length,) = _INT.unpack_from(self._data, start + _LENGTH_AT)
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


class _Part(NamedTuple):
    """Records read from one batch."""

    records: Sequence[Any]
    size: int
    next_offset: int
    whole: bool
    """True: the batch has no more records."""


class _OpenBatch:
    """A batch that is being read, by the thread of its owner only."""

    def __init__(self, batch: Any, data: memoryview, start: int, from_offset: int) -> None:
        self._batch = batch
        self._data = data
        self._next_offset = batch.next_offset
        self._from_offset = from_offset
        self._records: Iterator[Any] | None = None
        """Records not read yet; None: not inflated yet, or freed by `let_go`."""
        self._split: Sequence[Any] | None = None
        """They, if the batch could be split; None: it is read by `_records`."""
        self.start = start
        """Position of the batch in the fetched bytes."""
        self.inflated_bytes = 0

    def begin(self) -> None:
        """Inflate the batch."""
        # It can be asked for an iterator but once; all records are true.
        records: Iterator[Any] = filter(None, self._batch)
        if isinstance(self._batch, LegacyRecordBatch):
            # It inflates with the first record.
            records = chain(tuple(islice(records, 1)), records)
            # A fetch may begin in the middle of a batch.
            self._records = dropwhile(lambda record: record.offset < self._from_offset, records)
        else:
            self._records = _until_damaged(self._batch, self._data, self._from_offset, records)

    def split(self, data: bytes, at: int, end: int) -> None:
        """Find all records at once, if they are sound: reading them one by one costs more."""
        batch = self._batch
        (count,) = _INT.unpack_from(self._data, _COUNT_AT)
        append_ms = batch.max_timestamp if batch.timestamp_type else -1
        offsets = batch.base_offset, batch.next_offset, self._from_offset
        self._split = split(
            data, at, end, count, *offsets, batch.first_timestamp, append_ms, Fetched
        )

    def begin_unread(self, reason: Unreadable) -> None:
        """Replace all records of the batch by one `UnreadBatch`."""
        batch, data = self._batch, bytes(self._data)
        first, at_ms, kind, count = self._from_offset, 0, 0, 0
        if not isinstance(batch, LegacyRecordBatch):
            first = max(batch.base_offset, first)
            at_ms, kind = batch.max_timestamp, batch.timestamp_type
            (count,) = _INT.unpack_from(data, _COUNT_AT)
        self._records = iter((UnreadBatch(first, at_ms, kind, count, data, reason),))

    def let_go(self) -> None:
        """Free the inflated bytes, from any thread; the batch can be inflated again."""
        self._records = self._batch = None

    def read(self, most: int, room: int) -> _Part | None:
        """Return the next records; None: the batch was freed by `let_go`."""
        unread = self._records
        if unread is None:
            return None
        if self._split is not None:
            some, self._split = self._split[:most], self._split[most:]
            whole = not self._split
            next_offset = self._next_offset if whole else self._split[0].offset
            return _Part(some, self.inflated_bytes, next_offset, whole=whole)
        size = 0
        if self.inflated_bytes > INFLATED_ON_LOOP_BYTES:
            records = []
            for record in unread:
                records.append(record)
                size += len(record.key or b"") + len(record.value or b"")
                size += HEADER_BYTES * len(record.headers)
                if len(records) == most or size >= room:
                    break
            else:
                return _Part(records, size, self._next_offset, whole=True)
        else:
            records = list(islice(unread, most))
            if self.inflated_bytes:
                # One that was not compressed has no more than was fetched.
                headers = sum([len(record.headers) for record in records])
                size = self.inflated_bytes + HEADER_BYTES * headers
            if len(records) < most:
                return _Part(records, size, self._next_offset, whole=True)
        return _Part(records, size, records[-1].offset + 1, whole=False)


def _until_damaged(
    batch: Any, data: memoryview, from_offset: int, records: Iterator[Any]
) -> Iterator[Any]:
    """Yield the records; from the first unreadable one on yield one `UnreadBatch` for the rest.

    Brokers accept compressed batches with wrong record sizes, or with offsets beyond the batch.
    Such offsets would make a reader skip records of other batches.
    """
    offset, end = batch.base_offset, batch.next_offset
    try:
        for record in records:
            if not offset <= record.offset < end:
                break
            offset = record.offset + 1
            if offset > from_offset:
                yield record
        else:
            return
    except UnicodeDecodeError:
        raise
    except (CorruptRecordException, ValueError, IndexError):
        # What aiokafka says of it may name bytes that lie behind the batch in memory.
        pass
    # Who begins behind it has told of it.
    if offset >= from_offset:
        message = f"the batch is damaged: the record of offset {offset} cannot be read"
        reason = Unreadable(message, too_large=False)
        at_ms, kind = batch.max_timestamp, batch.timestamp_type
        yield UnreadBatch(offset, at_ms, kind, end - offset, bytes(data), reason)


class _Held:
    """The large inflated batches of this process."""

    def __init__(self) -> None:
        self._batches: WeakKeyDictionary[_OpenBatch, int] = WeakKeyDictionary()
        self._changing = Lock()

    def add(self, batch: _OpenBatch) -> None:
        """Add a batch; free the oldest ones while all together are too large."""
        with self._changing:
            self._batches[batch] = batch.inflated_bytes
            size = sum(self._batches.values())
            for oldest in list(self._batches):
                if size <= INFLATED_IN_WORKER_BYTES:
                    break
                size -= self._batches.pop(oldest)
                oldest.let_go()


_HELD: Final = _Held()
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


class Fetcher(fetcher.Fetcher):  # type: ignore[misc]
    """Fetches for one consumer."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._longest_wait_ms: int = self._fetch_max_wait_ms
        self._sessions: dict[Any, FetchSession] | None = None

    def keep_sessions(self) -> None:
        """Name only what has changed from here on: worth it for who asks for long."""
        self._sessions = {}

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
        """Return fetched records as they come, after a thread has inflated large batches."""
        deadline_s = monotonic() + timeout
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
                await self.wait_for_data(remaining_s)

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
    ) -> None:
        """Wait until something more is fetched or inflated, or the time is over."""
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


# The fetcher makes them itself, with nothing to say of which class.
fetcher.MemoryRecords = _KeptRecords
fetcher.PartitionRecords = FetchedRecords
fetcher.FetchResult = FetchResult
consumer.Fetcher = Fetcher
