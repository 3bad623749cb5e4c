"""What aiokafka fetches, read also where the name of a header is not UTF-8.

The broker takes any bytes as a name, and librdkafka sends them; aiokafka decodes strictly, so that
one such record would keep a partition standing still for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import dropwhile, islice
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import MemoryRecords, _MemoryRecordsPy


class _KeptRecords(MemoryRecords):  # type: ignore[misc]
    """Fetched bytes that can be read a second time."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.data = data


class _LenientBytes(bytearray):
    """Decodes what is not UTF-8 to backslashed bytes."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _LenientBytes(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """Slow: in Python."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _LenientBytes(self._buffer)


class _LenientRecords(_MemoryRecordsPy):  # type: ignore[misc]
    """Batches of the current format as lenient ones; older ones have no headers."""

    def next_batch(self) -> Any:
        data = self._next_slice
        batch = super().next_batch()
        return _LenientBatch(data) if isinstance(batch, DefaultRecordBatch) else batch


class FetchedRecords(PartitionRecords):  # type: ignore[misc]
    """Records of one partition."""

    _records_iterator: Iterator[Any]

    def __init__(self, tp: Any, records: _KeptRecords, aborted: Any, offset: int, *rest: Any):
        super().__init__(tp, records, aborted, offset, *rest)
        self._data = records.data
        self._as_given = (tp, aborted, rest)

    def take(self, most: int | None) -> list[Any]:
        """The next records; fewer than `most` when there are no more."""
        offset = self.next_fetch_offset
        try:
            return list(islice(self._records_iterator, most))
        except UnicodeDecodeError:
            tp, aborted, rest = self._as_given
            super().__init__(tp, _LenientRecords(self._data), aborted, offset, *rest)
            # All of it anew, for what is aborted hangs on every batch; so it has to be passed over.
            self._records_iterator = dropwhile(
                lambda record: record.offset < offset, self._records_iterator
            )
            return list(islice(self._records_iterator, most))


class FetchResult(fetcher.FetchResult):  # type: ignore[misc]
    """What a partition was fetched, as the fetcher has it."""

    _partition_records: FetchedRecords | None

    def getall(self, max_records: int | None = None) -> list[Any]:
        """Many records at a time, where aiokafka takes them one by one."""
        records = self._partition_records
        if records is None or not self.check_assignment(self._topic_partition):
            return []
        taken = records.take(max_records)
        self._update_position()
        if max_records is None or len(taken) < max_records:
            self._partition_records = None
        return taken


# The fetcher makes them itself, with nothing to say of which class.
fetcher.MemoryRecords = _KeptRecords
fetcher.PartitionRecords = FetchedRecords
fetcher.FetchResult = FetchResult
