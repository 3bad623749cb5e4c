"""An independent recount of the raw topic: plain loops and Decimal, nothing of tables/.

It knows the metrics of `tests.live.world` only: what each counts is written out here once more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition

from app.settings import Settings

Position = tuple[int, int, int, int]


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


async def read_raw(settings: Settings) -> list[Seen]:
    """Every event of the raw topic, each id once: the one with the smallest position."""
    seen: dict[tuple[str, str], Seen] = {}
    async for partition, offset, append_time_ms, value in _records(settings):
        try:
            body = json.loads(value, parse_float=str, parse_int=str)
        except ValueError:
            continue
        for index, event in enumerate(body if isinstance(body, list) else [body]):
            if not isinstance(event, dict) or not event.get("transaction_id"):
                continue
            found = _seen((append_time_ms, partition, offset, index), event)
            name = (found.subscription, found.transaction_id)
            if name not in seen or found.position < seen[name].position:
                seen[name] = found
    return list(seen.values())


async def _records(settings: Settings) -> Any:
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


def recount(events: Iterable[Seen], from_ms: int, until_ms: int) -> dict[Row, Figure]:
    """The figures of [from_ms, until_ms); rows that nothing counts in are left out."""
    rows: dict[Row, list[Seen]] = {}
    for event in events:
        if from_ms <= event.timestamp_ms < until_ms:
            row = _row(event)
            if row is not None:
                rows.setdefault(row, []).append(event)
    figures = {}
    for row, members in rows.items():
        figure = _FIGURES[row.code](sorted(members, key=lambda e: (e.timestamp_ms, e.position)))
        if figure != Figure(Decimal(0), 0):
            figures[row] = figure
    return figures


def _row(event: Seen) -> Row | None:
    if event.code not in _FIGURES:
        return None
    filtered = event.code == "traffic" and event.properties.get("region") == "eu"
    group = event.properties.get("zone") if event.code == "calls" else None
    return Row(event.subscription, event.code, filtered, group)


def _count(events: list[Seen]) -> Figure:
    return Figure(Decimal(len(events)), len(events))


def _sum(events: list[Seen]) -> Figure:
    total = sum((Decimal(e.properties["gb"]) for e in events), Decimal(0))
    return Figure(max(total, Decimal(0)), len(events))


def _max(events: list[Seen]) -> Figure:
    return Figure(max(Decimal(e.properties["cores"]) for e in events), len(events))


def _latest(events: list[Seen]) -> Figure:
    return Figure(Decimal(events[-1].properties["level"]), len(events))


def _unique(events: list[Seen]) -> Figure:
    there: set[str] = set()
    for event in events:
        user = event.properties["user"]
        if event.properties.get("operation_type") == "remove":
            there.discard(user)
        else:
            there.add(user)
    return Figure(Decimal(len(there)), len(there))


_FIGURES = {
    "calls": _count,
    "traffic": _sum,
    "peak": _max,
    "level": _latest,
    "users": _unique,
}
