"""Search in one partition of a log whose records are in an order: by halving, not by reading."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Final

from app.bounds.work_done import WorkDone
from app.kafka.asked import Fetches, asked
from app.kafka.clients import Consumer
from app.kafka.log_readers import READ_TIMEOUT_MS, LogRecord, log_record, plain_consumer
from app.kafka.names import TopicPartition
from app.settings import Settings

_PROBE_BYTES: Final = 128 * 1024
"""Fetched for a record that is looked at."""
_FIRST_STRIDE: Final = 512
"""Records that are passed over in the first step of a search forward; each next one doubles."""
_READ_OVER: Final = 1_000
"""Reading so many records takes less than going to another place in the log."""
_AT_ONCE: Final = 500

Before = Callable[[LogRecord], bool]
"""Whether a record lies before the place that is looked for."""


class LogSearch:
    """One partition as it was when it was opened: what comes later is not seen."""

    def __init__(
        self, consumer: Consumer, tp: TopicPartition, bounds: tuple[int, int], work: WorkDone
    ):
        self._consumer = consumer
        self._tp = tp
        self.start, self.end = bounds
        self._work = work
        self._fetches = Fetches(READ_TIMEOUT_MS)

    async def first_not_before(self, is_before: Before, low: int = 0) -> int:
        """Return the offset of the first record from `low` on that is not before the place.

        `end` where there is none. Far fewer records are read than lie between.
        """
        low, stride = max(low, self.start), _FIRST_STRIDE
        high = self.end
        while low + stride < high:
            found = await self._from(low + stride)
            if found is None or not is_before(found):
                high = low + stride if found is None else found.offset
                break
            low, stride = found.offset + 1, 2 * stride
        while low < high:
            middle = (low + high) // 2
            found = await self._from(middle)
            if found is None or not is_before(found):
                # Between the middle and what was found lie markers of transactions.
                high = middle
            else:
                low = found.offset + 1
        return low

    async def records(self, offset: int) -> AsyncIterator[list[LogRecord]]:
        """Yield the records from an offset to the end, some at a time."""
        self._consumer.seek(self._tp, max(offset, self.start))
        while await self._consumer.position(self._tp) < self.end:
            found = [record for record in await self._fetch(_AT_ONCE) if record.offset < self.end]
            if found:
                yield found

    async def at(self, offsets: Iterable[int]) -> dict[int, LogRecord]:
        """Return the records at these offsets, without those that the log does not have."""
        wanted = sorted(offset for offset in set(offsets) if self.start <= offset < self.end)
        asked, found = set(wanted), dict[int, LogRecord]()
        while wanted:
            position = wanted[0]
            self._consumer.seek(self._tp, position)
            while wanted and wanted[0] - position < _READ_OVER:
                for record in await self._fetch(_AT_ONCE):
                    if record.offset in asked:
                        found[record.offset] = record
                position = await self._consumer.position(self._tp)
                wanted = [offset for offset in wanted if offset >= position]
        return found

    async def _from(self, offset: int) -> LogRecord | None:
        """Return the first record at or after an offset."""
        self._consumer.seek(self._tp, offset)
        while await self._consumer.position(self._tp) < self.end:
            for record in await self._fetch(1):
                return record if record.offset < self.end else None
        return None

    async def _fetch(self, most: int) -> list[LogRecord]:
        fetched = await self._consumer.getmany(
            self._tp, timeout_ms=READ_TIMEOUT_MS, max_records=most
        )
        records = fetched.get(self._tp, [])
        self._fetches.note(records)
        self._work.add("query", "broker_requests", 1)
        self._work.add("query", "log_records", len(records))
        return [log_record(record) for record in records]


@asynccontextmanager
async def searching(
    settings: Settings, tp: TopicPartition, work: WorkDone
) -> AsyncIterator[LogSearch]:
    """Open a partition for the length of a block; what is committed by then is there.

    Raises:
        Unavailable: no broker answers.
    """
    consumer = plain_consumer(settings, _PROBE_BYTES)
    try:
        async with asked():
            await consumer.start()
            start = (await consumer.beginning_offsets([tp]))[tp]
            end = (await consumer.end_offsets([tp]))[tp]
        consumer.assign([tp])
        yield LogSearch(consumer, tp, (start, end), work)
    finally:
        await consumer.stop()
