"""Ingest: batches of events-raw and events-rekeyed into the tables of their partition.

Delivery: a batch is acknowledged by the flush that made its effects durable. Records that the
partition record says are folded are passed over, so redelivery changes nothing.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import faust

from agents.forward import POSITION_HEADER, Forwarder, position_of
from app.cancelled import asked_to_end
from app.definitions.timeline import NEVER_MS
from app.failpoints import failpoint
from app.transport import DeliveryBroken, MeterApp, RawRecord, RecordBatch
from app.wire.arrivals import arrivals_of, plain_arrival
from app.wire.records import Headers, is_tick
from app.wire.refusals import Refusal
from tables.corrections import CorrectionArrival
from tables.fold import Arrival, Run, runs_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.owned import OwnedPartition, Shared

PAUSE_RECORDS = 1_000
"""Records decoded between two turns of the event loop."""

TURN_S = 1.0
"""A batch that takes longer waits for something, and other partitions need not."""

MAX_AHEAD_MS = 3_600_000
"""A record stamped further ahead of our clock means that a broker's clock is wrong."""


class ClockAhead(Exception):
    """A broker stamps records far in the future; folding them would drag append time along."""

    def __init__(self, partition: int, offset: int, append_time_ms: int):
        super().__init__(
            f"Offset {offset} of raw partition {partition} is stamped {append_time_ms} ms, over an "
            "hour ahead of this machine: correct the broker's clock or this one's"
        )


def latest_stamp_ms(shared: Shared) -> int:
    """Of a record whose broker's clock may be right; a test clock is nobody's."""
    return NEVER_MS if shared.settings.test_clock else shared.clock.now_ms() + MAX_AHEAD_MS


def add_ingest(
    app: MeterApp,
    owned: Callable[[int], OwnedPartition | None],
    forwarder: Forwarder,
) -> None:
    """Register the agent."""

    async def ingest(stream: faust.StreamT[Any]) -> None:
        lanes = _Lanes(app, owned, forwarder)
        try:
            async for batch in stream:
                lanes.put(batch)
        finally:
            lanes.close()

    app.agent(app.batch_topic(), name="ingest", concurrency=1)(ingest)


class _Lanes:
    """A lane for each partition.

    Batches are taken one at a time, whatever their partition, so that few are decoded at once; one
    that has to wait, for Redis or for definitions, lets the others go on.
    """

    def __init__(
        self,
        app: MeterApp,
        owned: Callable[[int], OwnedPartition | None],
        forwarder: Forwarder,
    ):
        self._app = app
        self._owned = owned
        self._forwarder = forwarder
        self._turn = asyncio.Lock()
        self._waiting: dict[int, asyncio.Queue[RecordBatch]] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def put(self, batch: RecordBatch) -> None:
        """Queue a batch; the transport delivers no more of a partition than may wait."""
        number = batch.tp.partition
        waiting = self._waiting.get(number)
        if waiting is None:
            waiting = self._waiting[number] = asyncio.Queue()
            self._tasks.append(asyncio.create_task(self._run(waiting)))
        waiting.put_nowait(batch)

    def close(self) -> None:
        """Take no more."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, waiting: asyncio.Queue[RecordBatch]) -> None:
        while True:
            batch = await waiting.get()
            try:
                await self._taken(batch)
            except (Exception, asyncio.CancelledError) as error:
                if isinstance(error, asyncio.CancelledError) and asked_to_end():
                    raise
                # An agent that raises has its batch acknowledged: crash instead of going on.
                await self._app.crash(error)
                return

    async def _taken(self, batch: RecordBatch) -> None:
        async with self._turn:
            partition = self._owned(batch.tp.partition)
            taking = asyncio.create_task(self._take(batch, partition))
            await _wait(taking)
        while partition is not None and not taking.done():
            # Others need its forwards meanwhile.
            if partition.asking:
                partition.stalled.set()
            try:
                await _wait(taking)
            finally:
                partition.stalled.clear()
        await taking

    async def _take(self, batch: RecordBatch, partition: OwnedPartition | None) -> None:
        if not self._app.take(batch) or partition is None:
            return
        if batch.tp.topic == self._app.raw_topic:
            await take_raw(partition, batch, self._forwarder)
        else:
            await take_rekeyed(partition, batch)
        # Only how far it goes is wanted still; let go of now, its memory is soon used again.
        batch.clear()
        partition.batches.append(batch)


async def _wait(taking: asyncio.Task[None]) -> None:
    """Until it is done, or for so long as a turn lasts."""
    try:
        await asyncio.wait([taking], timeout=TURN_S)
    except asyncio.CancelledError:
        taking.cancel()
        raise


async def take_raw(owned: OwnedPartition, batch: RecordBatch, forwarder: Forwarder) -> None:
    """Fold what is at home here and forward the rest.

    Events of one route are folded one after another, whatever order they came in: the fold does not
    depend on it, and what a route leads to is looked up once.
    """
    record = owned.table.record
    append_time_ms, next_offset = record.append_time_ms, record.raw_next
    _require_next(batch, next_offset)
    shared, number = owned.shared, owned.number
    homes = shared.homes
    latest_ms = latest_stamp_ms(shared)
    default = shared.definitions.settings_at().default_organization_id
    arrivals: defaultdict[tuple[str, str, str], list[Arrival]] = defaultdict(list)
    away: list[tuple[int, Arrival | CorrectionArrival]] = []
    away_headers: dict[int, Headers] = {}
    refused: list[tuple[Refusal, RawRecord]] = []
    corrections: list[CorrectionArrival] = []
    failpoint("after-fetch")
    for i, raw in enumerate(batch):
        offset, timestamp_ms = raw.offset, raw.timestamp
        if offset < next_offset:
            continue
        if i % PAUSE_RECORDS == PAUSE_RECORDS - 1:
            await asyncio.sleep(0)
        if timestamp_ms > append_time_ms:
            append_time_ms = timestamp_ms
            if append_time_ms > latest_ms:
                raise ClockAhead(number, offset, append_time_ms)
        headers, value = raw.headers, raw.value
        if headers:
            if is_tick(raw.key, value, headers):
                continue
            away_headers[offset] = headers
        elif value is not None:
            arrival = plain_arrival(value, append_time_ms, number, offset, default)
            if arrival is not None:
                # As `runs_of` does, but while the event is still in the processor's cache.
                event = arrival[0]
                pair = (arrival[1], event.external_subscription_id, event.code)
                arrivals[pair].append(arrival)
                continue
        for arrived in arrivals_of(value, headers, append_time_ms, number, offset, default):
            if isinstance(arrived, Arrival):
                arrivals[arrived.pair].append(arrived)
            elif isinstance(arrived, Refusal):
                refused.append((arrived, raw))
            elif (home := homes.of(*arrived.name)) == number:
                corrections.append(arrived)
            else:
                away.append((home, arrived))
    runs: list[Run] = []
    for pair, run in arrivals.items():
        home = homes.of(pair[0], pair[1])
        if home == number:
            runs.append((pair, run))
        else:
            away += [(home, arrival) for arrival in run]
    # Homes skip what lies before the last they took, so each gets its events in order.
    forwarded_next, _ = owned.forwarded
    for home, leaving in sorted(away, key=_raw_order):
        # What was forwarded ahead is acknowledged.
        if leaving.raw_offset >= forwarded_next:
            headers = away_headers.get(leaving.raw_offset, ())
            owned.forwards.append(await forwarder.forward(home, leaving, headers))
    owned.forwarded = (batch.next, append_time_ms)
    await owned.take(
        runs,
        raw_next=max(batch.next, next_offset),
        append_time_ms=append_time_ms,
        refused=refused,
        corrections=corrections,
    )
    failpoint("after-fold")


def _require_next(batch: RecordBatch, next_offset: int) -> None:
    """Offsets move on with what was folded: to pass over a gap would lose it in silence."""
    if batch.start > next_offset:
        raise DeliveryBroken(
            f"{batch.tp} is folded up to {next_offset}, the batch begins at {batch.start}"
        )


def _raw_order(sent: tuple[int, Arrival | CorrectionArrival]) -> tuple[int, int]:
    return sent[1].raw_offset, sent[1].array_index


async def take_rekeyed(owned: OwnedPartition, batch: RecordBatch) -> None:
    """Fold forwarded events, each once, at the position of its raw record."""
    record = owned.table.record
    _require_next(batch, record.rekeyed_next)
    marks = dict(record.marks)
    default = owned.shared.definitions.settings_at().default_organization_id
    arrivals: list[Arrival] = []
    corrections: list[CorrectionArrival] = []
    for forwarded in batch:
        if forwarded.offset < record.rekeyed_next:
            continue
        position = position_of(forwarded.headers)
        if position is None:
            # Only owners write to this topic; whatever else lies in it has no position.
            continue
        append_time_ms, partition, offset, index = position
        if (offset, index) <= marks.get(partition, (-1, -1)):
            continue
        marks[partition] = (offset, index)
        headers = [header for header in forwarded.headers if header[0] != POSITION_HEADER]
        found = arrivals_of(forwarded.value, headers, append_time_ms, partition, offset, default)
        for arrived in found:
            # What is refused was refused where it was read first.
            if isinstance(arrived, Arrival):
                placed = arrived._replace(array_index=index, rekeyed_offset=forwarded.offset)
                arrivals.append(placed)
            elif isinstance(arrived, CorrectionArrival):
                corrections.append(arrived._replace(array_index=index))
    await owned.take(
        runs_of(arrivals),
        rekeyed_next=max(batch.next, record.rekeyed_next),
        marks=marks,
        corrections=corrections,
    )
