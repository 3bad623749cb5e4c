"""A batch that is being read: inflated, split where it is sound, and let go of."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import chain, dropwhile, islice
from threading import Lock
from typing import Any, Final, NamedTuple
from weakref import WeakKeyDictionary

from aiokafka.errors import CorruptRecordException
from aiokafka.record.legacy_records import LegacyRecordBatch

from app.bounds.limits import HEADER_BYTES, INFLATED_IN_WORKER_BYTES, INFLATED_ON_LOOP_BYTES
from app.kafka.inflate import Unreadable
from app.kafka.parts import Fetched
from app.kernel import split

INT: Final = struct.Struct(">i")
COUNT_AT: Final = 57
"""Where a batch of the current format says how many records it has."""


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


class _Part(NamedTuple):
    """Records read from one batch."""

    records: Sequence[Any]
    size: int
    next_offset: int
    whole: bool
    """True: the batch has no more records."""


class OpenBatch:
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
        (count,) = INT.unpack_from(self._data, COUNT_AT)
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
            (count,) = INT.unpack_from(data, COUNT_AT)
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
        self._batches: WeakKeyDictionary[OpenBatch, int] = WeakKeyDictionary()
        self._changing = Lock()

    def add(self, batch: OpenBatch) -> None:
        """Add a batch; free the oldest ones while all together are too large."""
        with self._changing:
            self._batches[batch] = batch.inflated_bytes
            size = sum(self._batches.values())
            for oldest in list(self._batches):
                if size <= INFLATED_IN_WORKER_BYTES:
                    break
                size -= self._batches.pop(oldest)
                oldest.let_go()


HELD: Final = _Held()
