"""Fetched records of one partition, taken from the fetcher as one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer
from aiokafka.consumer.fetcher import Fetcher as AIOKafkaFetcher
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError
from faust.types import TP

from app.kafka.lenient_fetch import FetchedRecords, FetchResult
from app.kafka.parts import Parts


class OffsetsLost(Exception):
    """The log no longer holds (or no longer reaches) the next offset to fold: data is missing."""


class RawRecord(Protocol):
    """A record as it was fetched."""

    @property
    def offset(self) -> int: ...

    @property
    def timestamp(self) -> int:
        """Append time, ms."""
        ...

    @property
    def timestamp_type(self) -> int: ...

    @property
    def key(self) -> bytes | None: ...

    @property
    def value(self) -> bytes | None: ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class _LeanRecords(FetchedRecords):
    """Records as the decoder made them: a `ConsumerRecord` of each costs as much as reading it."""

    by_parts = True

    def _consumer_record(self, tp: Any, record: RawRecord) -> RawRecord:
        return record


class RecordBatch(Parts):
    """Consecutive records of one partition, offsets ascending.

    It covers the offsets `start` … `next` - 1; those without a record are transaction markers,
    aborted or compacted. So it may be empty: then only the position has moved on.
    """

    def __init__(
        self,
        parts: Iterable[Sequence[RawRecord]],
        tp: TP,
        start: int,
        next_offset: int,
        era: int,
    ) -> None:
        super().__init__(parts)
        self.tp = tp
        self.start = start
        self.next = next_offset
        self.era = era
        self.examined = False
        """A careful owner has tried everything in it."""


async def drain(
    consumer: AIOKafkaConsumer, active: set[TP], max_records: int | None, eras: Callable[[TP], int]
) -> dict[Any, RecordBatch]:
    """Return the fetched batches that need no more inflating, without giving up the loop.

    Otherwise records could be fetched and drained meanwhile, of partitions with unknown position.
    """
    fetcher = consumer._fetcher
    assignment = fetcher._subscriptions.subscription.assignment
    starts = {
        tp: state.position
        for tp in fetcher._records
        if tp in assignment.tps and (state := assignment.state_value(tp)).has_valid_position
    }
    for fetched in fetcher._records.values():
        if isinstance(fetched, FetchResult) and fetched._partition_records is not None:
            fetched._partition_records.__class__ = _LeanRecords
    try:
        drained = await AIOKafkaFetcher.fetched_records(
            fetcher, active, timeout=0, max_records=max_records
        )
    except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
        raise OffsetsLost(f"The offset to read next is not in the log: {error}.") from error
    nexts = {tp: assignment.state_value(tp).position for tp in starts}
    found = {}
    for tp, start in starts.items():
        if nexts[tp] > start:
            ours = TP(tp.topic, tp.partition)
            parts = drained[tp].parts if tp in drained else ()
            found[tp] = RecordBatch(parts, ours, start, nexts[tp], eras(ours))
    return found
