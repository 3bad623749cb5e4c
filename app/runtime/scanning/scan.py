"""Scan: the events of a home partition read again, for refold, explain and verify.

What the ledger has of the subscriptions sought comes from there, the rest from the two logs.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Sequence,
)
from contextlib import nullcontext
from typing import Any, Protocol, Self

from app.bounds.limits import PORTION_BYTES, PORTION_EVENTS
from app.bounds.turns import STEP_ITEMS, Steps, T
from app.bounds.work_done import Operation, WorkDone
from app.definitions.judging import Judging
from app.definitions.state import Definitions
from app.kafka.asked import HELD_S, Fetches, asked
from app.kafka.clients import Consumer
from app.kafka.log_readers import first_deleted, plain_consumer
from app.kafka.names import ConsumerRecord, OffsetOutOfRangeError, TopicPartition
from app.kafka.topics import EVENTS_REKEYED, RAW_MESSAGE_BYTES
from app.ledger.ledger import Checkpoint, Ledger, LedgerPart
from app.ledger.rows import KeyRanges, LedgerDamaged
from app.meter.errors import BeyondRetention
from app.runtime.homes import HomePartitions
from app.runtime.scanning.ledger_rows import LedgerRows
from app.runtime.scanning.passed_over import PassedOver
from app.settings import Settings
from app.wire.arrivals import (
    Arrival,
    Arrived,
    CorrectionArrival,
    Position,
    SubscriptionKey,
    arrivals_of,
    arriving,
)
from app.wire.decode import Headers
from app.wire.refusals import Refusal
from app.wire.rekeyed import POSITION_HEADER, position_of

READ_TIMEOUT_MS = 200
FETCH_MAX_WAIT_MS = 20
"""What is read is there; the live fold may wait for it behind a fetch of what is not."""
MAX_RECORDS = 500
"""Taken from the fetcher at once."""

STEP_BYTES = 64 * 1024

SOUGHT_NAMES = 8
"""With more names than these it is no gain to look for them in the bytes."""


class LoopTime(Protocol):
    """Time on the event loop."""

    def run(self, steps: Steps[T], *, urgent: bool = False) -> Awaitable[T]:
        """Have steps taken in turns; return what they come to."""
        ...

    def watched(self, task: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """Run a coroutine, with the time counted for which it holds the loop."""
        ...


class Scan:
    """Reads raw[p] and rekeyed[p] side by side, up to where the live fold stands."""

    def __init__(
        self,
        settings: Settings,
        number: int,
        homes: HomePartitions,
        definitions: Definitions,
        work: WorkDone | None = None,
        ledger: Ledger | None = None,
    ):
        self._number = number
        self._homes = homes
        self._definitions = definitions
        self._judging = Judging()
        self._raw = TopicPartition(settings.topic(settings.raw_topic), number)
        self._rekeyed = TopicPartition(settings.topic(EVENTS_REKEYED), number)
        self._next: dict[TopicPartition, int] = {}
        self._reached_ms = -1
        """Append time along the raw partition, from where it begins here."""
        self._marks: dict[int, tuple[int, int]] = {}
        """By raw partition, offset and array index of the newest forward that was read."""
        self.on_corrections: Callable[[list[CorrectionArrival]], None] = lambda corrections: None
        """Told of the corrections among what is read, before it is."""
        self._sought: tuple[tuple[bytes, ...], ...] = ()
        """Texts, of each tuple one of which stands in what is looked for."""
        self._transaction_id = b""
        self._ledger = ledger
        self._wanted: KeyRanges | None = None
        """What is looked for in the ledger; None: nothing."""
        self._parts: list[LedgerPart] | None = None
        """What the ledger has of it and was not read yet; None: it is asked next."""
        self._told_of: set[Position] = set()
        """Corrections from elsewhere that were read; a part that has grown tells them again."""
        self.rows = LedgerRows(number, 0, 0)
        """What is passed over in the logs so far."""
        self._work = work or WorkDone()
        self._operation: Operation = "query"
        self._settings = settings
        self._consumer: Consumer | None = None
        """None: nothing had to be read from Kafka."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._consumer is not None:
            await self._consumer.stop()

    def start(
        self, checkpoint: Checkpoint, raw_offset: int | None, rekeyed_offset: int | None
    ) -> None:
        """Begin at these offsets; None: nothing came that way until now, but it may yet."""
        self._next = self._ends(checkpoint)
        for tp, offset in ((self._raw, raw_offset), (self._rekeyed, rekeyed_offset)):
            if offset is not None:
                self._next[tp] = min(offset, self._next[tp])
        self.rows = LedgerRows(self._number, self._next[self._raw], self._next[self._rekeyed])
        self._marks.clear()
        self._reached_ms = -1

    def count_for(self, operation: Operation) -> None:
        """Have what is read from here on counted for an operation other than a query."""
        self._operation = operation

    def seek_only(
        self,
        names: Collection[SubscriptionKey],
        codes: Collection[str] | None = None,
        transaction_id: str = "",
    ) -> None:
        """Look for events of these subscriptions only: most others need not be decoded.

        No names: all are wanted. `codes`, `transaction_id`: those of others need not be shown.
        """
        self._transaction_id = transaction_id.encode()
        ids = tuple(external_id.encode() for _, external_id in names)
        told = ids if len(ids) <= SOUGHT_NAMES else (), (self._transaction_id,)
        self._sought = tuple(texts for texts in told if any(texts))
        if names and self._ledger is not None:
            self._wanted, self._parts = KeyRanges.of(names, codes), None

    def behind(self, checkpoint: Checkpoint) -> int:
        """Return how many offsets lie between here and the live fold, without what was read."""
        ends = self._ends(checkpoint)
        return sum(passed.left(self._next[tp], ends[tp]) for tp, passed in self._passed())

    def _passed(self) -> Iterable[tuple[TopicPartition, PassedOver]]:
        return (self._raw, self.rows.raw), (self._rekeyed, self.rows.rekeyed)

    def _ends(self, checkpoint: Checkpoint) -> dict[TopicPartition, int]:
        return {self._raw: checkpoint.raw_next, self._rekeyed: checkpoint.rekeyed_next}

    async def read(
        self, checkpoint: Checkpoint, turn: LoopTime, *, urgent: bool = False
    ) -> AsyncIterator[list[Arrival]]:
        """Yield arrivals up to the live fold's offsets; `urgent`: while that waits.

        It waits for no brokers that send nothing: an urgent reading ends then before it is there.

        Raises:
            BeyondRetention: some of it is deleted.
            Unavailable: a query reads, and no broker answers.
        """
        fetches = Fetches(READ_TIMEOUT_MS)
        async for found in self._of_ledger(checkpoint, turn, urgent=urgent):
            yield found
        while self.behind(checkpoint):
            consumer = await self._connected()
            stops = self._stops(checkpoint)
            try:
                fetched = await turn.watched(
                    consumer.getmany(timeout_ms=READ_TIMEOUT_MS, max_records=MAX_RECORDS)
                )
            except OffsetOutOfRangeError as error:
                tp, offset = first_deleted(error)
                raise BeyondRetention(
                    f"{tp.topic} partition {tp.partition} has no offset {offset} any more: what is "
                    "computed from events since then cannot be computed again. Keep retention.ms "
                    "and retention.bytes of this topic at -1"
                ) from error
            is_silent = urgent and fetches.silent_s(fetched) >= HELD_S
            if self._operation == "query" and not urgent:
                fetches.note(fetched)
            self._work.add(self._operation, "broker_requests", 1)
            self._work.add(self._operation, "log_records", sum(map(len, fetched.values())))
            for tp, records in fetched.items():
                first = 0
                while first < len(records):
                    steps = self._portion(tp, records, first, stops[tp])
                    first, arrived = await turn.run(steps, urgent=urgent)
                    if arrivals := self._told(arrived):
                        yield arrivals
            for tp, stop in stops.items():
                # The position passes transaction markers, which carry no record.
                self._next[tp] = min(await consumer.position(tp), stop)
                if self._next[tp] == stop:
                    consumer.seek(tp, stop)
            if is_silent:
                return

    async def _connected(self) -> Consumer:
        """Return the reader of Kafka, made when the ledger does not have everything."""
        if self._consumer is None:
            self._consumer = plain_consumer(
                self._settings, 2 * RAW_MESSAGE_BYTES, FETCH_MAX_WAIT_MS, near=True
            )
            async with asked() if self._operation == "query" else nullcontext():
                await self._consumer.start()
            self._consumer.assign(list(self._next))
            for tp, offset in self._next.items():
                self._consumer.seek(tp, offset)
        return self._consumer

    def _stops(self, checkpoint: Checkpoint) -> dict[TopicPartition, int]:
        """Pass over what the ledger had; return up to where the logs are to be read next."""
        self._go_on()
        ends = self._ends(checkpoint)
        return {tp: passed.next_stop(self._next[tp], ends[tp]) for tp, passed in self._passed()}

    def _go_on(self) -> None:
        """Go on behind what the ledger had of what comes next."""
        for tp, passed in self._passed():
            while (stretch := passed.holding(self._next[tp])) is not None:
                self._next[tp] = stretch.until
                if self._consumer is not None:
                    self._consumer.seek(tp, stretch.until)
                if tp == self._raw:
                    self._reached_ms = max(self._reached_ms, stretch.append_time_ms)
                for partition, mark in stretch.marks.items():
                    self._marks[partition] = max(mark, self._marks.get(partition, mark))

    def _told(self, arrived: Sequence[Arrived]) -> list[Arrival]:
        """Tell of the corrections; return the events."""
        corrections = [each for each in arrived if isinstance(each, CorrectionArrival)]
        if corrections and self._wanted is not None:
            corrections = [each for each in corrections if each.position not in self._told_of]
            self._told_of.update(
                each.position for each in corrections if each.raw_partition != self._number
            )
        if corrections:
            self.on_corrections(corrections)
        return [each for each in arrived if isinstance(each, Arrival)]

    async def _of_ledger(
        self, checkpoint: Checkpoint, turn: LoopTime, *, urgent: bool
    ) -> AsyncIterator[list[Arrival]]:
        """Yield what the ledger has of what is wanted, also what it has got meanwhile."""
        before = -1
        while True:
            self._go_on()
            behind = self.behind(checkpoint)
            if behind in (0, before):
                return
            before = behind
            parts, self._parts = await self.located(), None
            for part in parts:
                async for found in self._of_part(part, turn, urgent=urgent):
                    yield found

    async def _of_part(
        self, part: LedgerPart, turn: LoopTime, *, urgent: bool
    ) -> AsyncIterator[list[Arrival]]:
        chunks = await self._ledger.read(part) if self._ledger is not None else None
        if chunks is None:
            return
        self.rows.pass_over(part.spans)
        first = 0
        while first < len(chunks):
            told = self._definitions.set_asides, self._work, self._operation
            steps = self.rows.portion(chunks, first, *told, self._transaction_id)
            try:
                first, arrived = await turn.run(steps, urgent=urgent)
            except LedgerDamaged:
                # Some of it may be fed already: whoever reads begins again, without it.
                if self._ledger is not None:
                    self._ledger.forget()
                raise
            if arrivals := self._told(arrived):
                yield arrivals

    async def located(self, *, anew: bool = False) -> list[LedgerPart]:
        """Return what the ledger has of what is wanted and was not read yet.

        `anew`: as it is now, before anything of it is read.
        """
        if anew or self._parts is None:
            # What the logs have of a hole comes first: behind it some was read.
            holes = any(passed.lies_beyond(self._next[tp]) for tp, passed in self._passed())
            if self._ledger is None or self._wanted is None or holes:
                return []
            raw, rekeyed = self._next[self._raw], self._next[self._rekeyed]
            self.rows = LedgerRows(self._number, raw, rekeyed)
            self._parts = await self._ledger.locate(self._wanted, raw, rekeyed)
        return self._parts

    def take_over(self, rows: LedgerRows, left: list[LedgerPart]) -> None:
        """Go on where a child has read what the ledger had but for what is left."""
        self.rows, self._parts = rows, left

    def _portion(
        self, tp: TopicPartition, records: Sequence[ConsumerRecord], first: int, end: int
    ) -> Steps[tuple[int, list[Arrived]]]:
        """Return which record comes next, and what those before it hold from the first one on."""
        # The live fold has passed them, so that all that decides of them is known by now.
        self._judging = Judging.by(self._definitions)
        found: list[Arrived] = []
        size = step_size = step_events = 0
        for number in range(first, len(records)):
            raw = records[number]
            if raw.offset >= end:
                break
            length = len(raw.value or b"")
            size, step_size, step_events = size + length, step_size + length, step_events + 1
            for arrived in self._arrived(tp, raw):
                step_events += 1
                if step_events >= STEP_ITEMS:
                    step_size = step_events = 0
                    yield
                if self._is_home(arrived):
                    found.append(arrived)
            if len(found) >= PORTION_EVENTS or size >= PORTION_BYTES:
                return number + 1, found
            if step_events >= STEP_ITEMS or step_size >= STEP_BYTES:
                step_size = step_events = 0
                yield
        return len(records), found

    def _arrived(self, tp: TopicPartition, raw: object) -> Iterable[Arrived]:
        offset, headers = raw.offset, raw.headers  # type: ignore[attr-defined]
        value, timestamp_ms = raw.value, raw.timestamp  # type: ignore[attr-defined]
        if tp == self._raw:
            # What brokers stamp may go back, as with a new leader.
            self._reached_ms = max(self._reached_ms, timestamp_ms)
            if not may_hold(value, headers, self._sought):
                return []
            aside = self._definitions.set_asides.of(self._number)
            place = (self._reached_ms, self._number, offset)
            return arriving(value, headers, *place, self._judging, aside)
        position = position_of(headers)
        if position is None:
            return []
        append_time_ms, partition, raw_offset, index = position
        # As the live fold does: after a crash the same is forwarded again.
        if (raw_offset, index) <= self._marks.get(partition, (-1, -1)):
            return []
        self._marks[partition] = (raw_offset, index)
        aside = self._definitions.set_asides.of(partition)
        if aside is not None and aside.holds_element(raw_offset, index):
            return []
        kept = [header for header in headers if header[0] != POSITION_HEADER]
        if not may_hold(value, kept, self._sought):
            return []
        place = (append_time_ms, partition, raw_offset)
        found = arrivals_of(value, kept, *place, self._judging.of_forwards())
        return [each.forwarded(index, offset) for each in found if not isinstance(each, Refusal)]

    def _is_home(self, arrived: Arrived) -> bool:
        return not isinstance(arrived, Refusal) and self._homes.of(*arrived.name) == self._number


def may_hold(value: bytes | None, headers: Headers, sought: Sequence[Sequence[bytes]]) -> bool:
    """Return whether a record may hold events with one of the ids of each of these.

    An id stands in JSON as it is, unless there are escapes; headers may have it in some other way.
    """
    if not sought or headers or value is None or b"\\" in value:
        return True
    return all(any(text in value for text in texts) for texts in sought)
