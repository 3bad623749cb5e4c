"""An independent recount of the raw topic: plain loops and Decimal, nothing of tables/.

It knows the metrics of `tests.world.live.world` only: what each counts is written out here once
more. Events are not held: they go to a temporary file, a number for each id stays, and what is read
back from the file goes into the figures one by one. Only ids that came more than once are held.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from array import array
from collections.abc import AsyncIterator, Iterator, Sequence
from decimal import Decimal
from typing import IO, Any, NamedTuple

import msgspec
import numpy as np
from aiokafka import AIOKafkaConsumer, TopicPartition

from app.settings import Settings
from tests.world.live.recount_events import Billed, Events, Triggered

Position = tuple[int, int, int, int]
_EVENTS_A_PAGE = 2_000


class Seen(NamedTuple):
    """An event of the raw topic and where it stands."""

    position: Position
    timestamp_ms: int
    subscription: str
    transaction_id: str
    code: str
    properties: dict[str, Any]


class Row(NamedTuple):
    """Which figure: subscription, metric, whether in the filter, group."""

    subscription: str
    code: str
    filtered: bool
    group: str | None


class Figure(NamedTuple):
    """What it is."""

    units: Decimal
    events_count: int


class Recount(NamedTuple):
    """Everything that the raw topic says."""

    figures: list[dict[Row, Figure]]
    """Of each span that was asked for; rows that nothing counts in are left out."""
    events: int
    ids: int
    billed: set[Billed]
    """What each event bills in advance, of the spans."""
    triggered: set[Triggered]
    """What alerts tell, of the last span."""


async def recount(
    settings: Settings, spans_ms: Sequence[tuple[int, int]], watched: Sequence[str] = ()
) -> Recount:
    """The figures of spans [from, until), each id once: where its position is smallest.

    `watched`: subscriptions with the alert.
    """
    with tempfile.TemporaryFile(prefix="recount-") as file:
        numbers = await _write_down(settings, file)
        # For as long as it takes, others go on.
        return await asyncio.to_thread(_counted, file, numbers, spans_ms, watched)


def _counted(
    file: IO[bytes],
    numbers: array[int],
    spans_ms: Sequence[tuple[int, int]],
    watched: Sequence[str],
) -> Recount:
    books, single = [_Books() for _ in spans_ms], Events(spans_ms, watched)
    first: dict[tuple[str, str], Seen] = {}
    once = 0

    def enter(event: Seen) -> None:
        single.enter(event)
        for (from_ms, until_ms), of_span in zip(spans_ms, books, strict=True):
            if from_ms <= event.timestamp_ms < until_ms:
                of_span.enter(event)

    file.seek(0)
    for event, repeated in zip(_written_down(file), _repeated(numbers), strict=True):
        if not repeated:
            enter(event)
            once += 1
            continue
        name = (event.subscription, event.transaction_id)
        if name not in first or event.position < first[name].position:
            first[name] = event
    for event in first.values():
        enter(event)
    figures, ids = [of_span.figures() for of_span in books], once + len(first)
    return Recount(figures, len(numbers), ids, single.billed(), single.triggered())


async def _write_down(settings: Settings, file: IO[bytes]) -> array[int]:
    """Every event into the file, in any order; a number for the id of each."""
    numbers = array("q")
    page: list[Seen] = []
    async for partition, offset, append_time_ms, value in _records(settings):
        try:
            body = json.loads(value, parse_float=str, parse_int=str)
        except ValueError:
            continue
        for index, event in enumerate(body if isinstance(body, list) else [body]):
            if not isinstance(event, dict) or not event.get("transaction_id"):
                continue
            seen = _seen((append_time_ms, partition, offset, index), event)
            numbers.append(hash((seen.subscription, seen.transaction_id)))
            page.append(seen)
        if len(page) >= _EVENTS_A_PAGE:
            _write_page(file, page)
            page.clear()
    _write_page(file, page)
    return numbers


def _write_page(file: IO[bytes], page: list[Seen]) -> None:
    encoded = msgspec.msgpack.encode(page)
    file.write(len(encoded).to_bytes(8, "big") + encoded)


def _written_down(file: IO[bytes]) -> Iterator[Seen]:
    decode = msgspec.msgpack.Decoder(list[Seen]).decode
    while size := file.read(8):
        yield from decode(file.read(int.from_bytes(size, "big")))


def _repeated(numbers: array[int]) -> Iterator[bool]:
    """Of each event, whether there is another of the same number, and so perhaps of the same id."""
    every = np.array(numbers, np.int64)
    found, counts = np.unique(every, return_counts=True)
    yield from np.isin(every, found[counts > 1])


async def _records(settings: Settings) -> AsyncIterator[tuple[int, int, int, bytes]]:
    topic = settings.topic(settings.raw_topic)
    tps = [TopicPartition(topic, number) for number in range(settings.raw_partitions)]
    consumer = AIOKafkaConsumer(
        enable_auto_commit=False, auto_offset_reset="earliest", **settings.kafka_options()
    )
    await consumer.start()
    try:
        consumer.assign(tps)
        ends = await consumer.end_offsets(tps)
        reached = dict.fromkeys(tps, -1)
        while any([await consumer.position(tp) < ends[tp] for tp in tps]):
            for tp, records in (await consumer.getmany(timeout_ms=500)).items():
                for record in records:
                    reached[tp] = max(reached[tp], record.timestamp)
                    if record.value is not None:
                        yield tp.partition, record.offset, reached[tp], record.value
    finally:
        await consumer.stop()


def _seen(position: Position, event: dict[str, Any]) -> Seen:
    stamp = event.get("timestamp")
    timestamp_ms = position[0] if stamp is None else int(Decimal(stamp) * 1000)
    return Seen(
        position,
        timestamp_ms,
        event["external_subscription_id"],
        event["transaction_id"],
        event["code"],
        event.get("properties") or {},
    )


class _Books:
    """The figures of one span as they grow."""

    def __init__(self) -> None:
        self._rows: dict[Row, _Count | _Sum | _Max | _Latest | _Unique] = {}

    def enter(self, event: Seen) -> None:
        kind = _KINDS.get(event.code)
        if kind is None:
            return
        row = _row(event)
        if row not in self._rows:
            self._rows[row] = kind()
        self._rows[row].enter(event)

    def figures(self) -> dict[Row, Figure]:
        figures = {row: entered.figure() for row, entered in self._rows.items()}
        return {row: figure for row, figure in figures.items() if figure != Figure(Decimal(0), 0)}


def _row(event: Seen) -> Row:
    filtered = event.code == "traffic" and event.properties.get("region") == "eu"
    group = event.properties.get("zone") if event.code == "calls" else None
    return Row(event.subscription, event.code, filtered, group)


class _Count:
    def __init__(self) -> None:
        self.count = 0

    def enter(self, event: Seen) -> None:
        self.count += 1

    def figure(self) -> Figure:
        return Figure(Decimal(self.count), self.count)


class _Sum(_Count):
    def __init__(self) -> None:
        super().__init__()
        self.total = Decimal(0)

    def enter(self, event: Seen) -> None:
        super().enter(event)
        self.total += Decimal(event.properties["gb"])

    def figure(self) -> Figure:
        return Figure(max(self.total, Decimal(0)), self.count)


class _Max(_Count):
    def __init__(self) -> None:
        super().__init__()
        self.most = Decimal("-Infinity")

    def enter(self, event: Seen) -> None:
        super().enter(event)
        self.most = max(self.most, Decimal(event.properties["cores"]))

    def figure(self) -> Figure:
        return Figure(self.most, self.count)


class _Latest(_Count):
    def __init__(self) -> None:
        super().__init__()
        self.last: tuple[int, Position] = (-1, (-1, -1, -1, -1))
        self.level = ""

    def enter(self, event: Seen) -> None:
        super().enter(event)
        order = (event.timestamp_ms, event.position)
        if order > self.last:
            self.last, self.level = order, event.properties["level"]

    def figure(self) -> Figure:
        return Figure(Decimal(self.level), self.count)


class _Unique:
    """A user is there when the last that was said is not that he left."""

    def __init__(self) -> None:
        self.last: dict[str, tuple[int, Position, bool]] = {}

    def enter(self, event: Seen) -> None:
        user = event.properties["user"]
        stays = event.properties.get("operation_type") != "remove"
        said = (event.timestamp_ms, event.position, stays)
        self.last[user] = max(self.last.get(user, said), said)

    def figure(self) -> Figure:
        there = sum(stays for _, _, stays in self.last.values())
        return Figure(Decimal(there), there)


_KINDS: dict[str, type[_Count | _Sum | _Max | _Latest | _Unique]] = {
    "calls": _Count,
    "traffic": _Sum,
    "peak": _Max,
    "level": _Latest,
    "users": _Unique,
}
