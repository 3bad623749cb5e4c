"""Scan: the events of a home partition read again, for refold, explain and verify."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from types import TracebackType
from typing import Self

from aiokafka import TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from agents.forward import POSITION_HEADER, position_of
from app.api.meter import BeyondRetention
from app.clients import Consumer
from app.home import Homes
from app.settings import Settings
from app.topics import EVENTS_REKEYED, RAW_MESSAGE_BYTES
from app.wire.arrivals import Arrived, arrivals_of
from app.wire.refusals import Refusal
from tables.corrections import CorrectionArrival
from tables.fold import Arrival
from tables.partition import PartitionRecord

READ_TIMEOUT_MS = 200
MAX_RECORDS = 500
"""Read between two turns of the event loop: the live fold goes on meanwhile."""


class Scan:
    """Reads raw[p] and rekeyed[p] side by side, up to where the live fold stands."""

    def __init__(self, settings: Settings, number: int, homes: Homes, default: str | None):
        self._number = number
        self._homes = homes
        self._default_organization_id = default
        self._raw = TopicPartition(settings.topic(settings.raw_topic), number)
        self._rekeyed = TopicPartition(settings.topic(EVENTS_REKEYED), number)
        self._next: dict[TopicPartition, int] = {}
        self._reached_ms = -1
        """Append time along the raw partition, from where it begins here."""
        self._marks: dict[int, tuple[int, int]] = {}
        """By raw partition, offset and array index of the newest forward that was read."""
        self.on_corrections: Callable[[list[CorrectionArrival]], None] = lambda corrections: None
        """Told of the corrections among what is read, before it is."""
        self._consumer = Consumer(
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            max_partition_fetch_bytes=2 * RAW_MESSAGE_BYTES,
            **settings.kafka_options(),
        )

    async def __aenter__(self) -> Self:
        try:
            await self._consumer.start()
        except BaseException:
            await self._consumer.stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._consumer.stop()

    def start(
        self, record: PartitionRecord, raw_offset: int | None, rekeyed_offset: int | None
    ) -> None:
        """Begin at these offsets; None: nothing came that way until now, but it may yet."""
        self._next = {
            self._raw: record.raw_next if raw_offset is None else raw_offset,
            self._rekeyed: record.rekeyed_next if rekeyed_offset is None else rekeyed_offset,
        }
        self._marks.clear()
        self._reached_ms = -1
        self._consumer.assign(list(self._next))
        for tp, offset in self._next.items():
            self._consumer.seek(tp, offset)

    def behind(self, record: PartitionRecord) -> int:
        """Offsets between here and the live fold."""
        ends = self._ends(record)
        return sum(max(0, ends[tp] - at) for tp, at in self._next.items())

    def _ends(self, record: PartitionRecord) -> dict[TopicPartition, int]:
        return {self._raw: record.raw_next, self._rekeyed: record.rekeyed_next}

    async def read(
        self, record: PartitionRecord, leave: int | None
    ) -> AsyncIterator[list[Arrival]]:
        """Arrivals up to the live fold's offsets; with `leave`, until so few are left.

        Raises:
            BeyondRetention: some of it is deleted.
        """
        while self.behind(record) > (leave or 0):
            try:
                fetched = await self._consumer.getmany(
                    timeout_ms=READ_TIMEOUT_MS, max_records=MAX_RECORDS
                )
            except OffsetOutOfRangeError as error:
                tp, offset = _first_of(error)
                raise BeyondRetention(
                    f"{tp.topic} partition {tp.partition} has no offset {offset} any more: what is "
                    "computed from events since then cannot be computed again. Keep retention.ms "
                    "and retention.bytes of this topic at -1"
                ) from error
            ends = self._ends(record)
            for tp, records in fetched.items():
                arrived = [
                    each
                    for raw in records
                    if raw.offset < ends[tp]
                    for each in self._arrived(tp, raw)
                ]
                corrections = [each for each in arrived if isinstance(each, CorrectionArrival)]
                if corrections:
                    self.on_corrections(corrections)
                arrivals = [each for each in arrived if isinstance(each, Arrival)]
                if arrivals:
                    yield arrivals
            for tp in self._next:
                # The position passes transaction markers, which carry no record.
                self._next[tp] = min(await self._consumer.position(tp), ends[tp])
                if self._next[tp] == ends[tp]:
                    self._consumer.seek(tp, ends[tp])

    def _arrived(self, tp: TopicPartition, raw: object) -> Sequence[Arrived]:
        offset, headers = raw.offset, raw.headers  # type: ignore[attr-defined]
        value, timestamp_ms = raw.value, raw.timestamp  # type: ignore[attr-defined]
        if tp == self._raw:
            # What brokers stamp may go back, as with a new leader.
            self._reached_ms = max(self._reached_ms, timestamp_ms)
            found = arrivals_of(
                value,
                headers,
                self._reached_ms,
                self._number,
                offset,
                self._default_organization_id,
            )
            return [each for each in found if self._is_home(each)]
        position = position_of(headers)
        if position is None:
            return []
        append_time_ms, partition, raw_offset, index = position
        # As the live fold does: after a crash the same is forwarded again.
        if (raw_offset, index) <= self._marks.get(partition, (-1, -1)):
            return []
        self._marks[partition] = (raw_offset, index)
        kept = [header for header in headers if header[0] != POSITION_HEADER]
        found = arrivals_of(
            value, kept, append_time_ms, partition, raw_offset, self._default_organization_id
        )
        return [
            each._replace(array_index=index, rekeyed_offset=offset)
            if isinstance(each, Arrival)
            else each._replace(array_index=index)
            for each in found
            if not isinstance(each, Refusal)
        ]

    def _is_home(self, arrived: Arrived) -> bool:
        return not isinstance(arrived, Refusal) and self._homes.of(*arrived.name) == self._number


def _first_of(error: OffsetOutOfRangeError) -> tuple[TopicPartition, int]:
    offsets: dict[TopicPartition, int] = error.args[0]
    return min(offsets.items())
