"""What the next flush takes along beside the changes of the tables."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from app.kafka.record_batch import RecordBatch
from app.kafka.transactions import Record


class NextFlush:
    """Records and batches that wait for the next flush of one partition."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        """Usage records, dead letters and whatever else goes out with the flush."""
        self._measured = (0, 0)
        """(records, bytes) of those measured."""
        self.batches: list[RecordBatch] = []
        """Batches that are folded and not acknowledged."""
        self.moved = False
        """Offsets or progress moved since the last flush."""
        self.leaving = False
        """The next flush hands the partition over."""
        self.begun = asyncio.Event()
        """There is something to flush, when it is due."""
        self.wanted = asyncio.Event()
        """What there is should be flushed at once."""

    def is_empty(self) -> bool:
        """Return whether there is nothing to flush."""
        return not (self.moved or self.records or self.batches)

    def size(self) -> int:
        """Return the bytes of all records."""
        count, size = self._measured
        size += sum(len(record.value or b"") for record in self.records[count:])
        self._measured = len(self.records), size
        return size

    def add(self, records: Iterable[Record]) -> None:
        """Let records go out with the next flush."""
        self.records += records
        self.begun.set()

    def note_moved(self) -> None:
        """Note that offsets or progress moved."""
        self.moved = True
        self.begun.set()

    def keep(self, batches: Iterable[RecordBatch]) -> None:
        """Have batches acknowledged by the next flush: all they hold is folded."""
        self.batches += batches
        self.begun.set()

    def leave(self) -> None:
        """Let the next flush hand the partition over."""
        self.leaving = True
        self.note_moved()

    def stay(self) -> None:
        """Go on with a partition that was to leave; what was delivered before is void."""
        self.batches.clear()
        self.leaving = False
        self.note_moved()

    def begin(self) -> None:
        """Begin a flush: what moves from here on goes with the one after it."""
        self.moved = False

    def take_records(self) -> list[Record]:
        """Return the records, and begin anew."""
        records, self.records = self.records, []
        self._measured = (0, 0)
        return records

    def take_batches(self) -> list[RecordBatch]:
        """Return the batches, and begin anew."""
        batches, self.batches = self.batches, []
        return batches
