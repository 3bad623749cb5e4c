"""Export: the logs as JSON lines that `meter fold` reads back.

A line is the record's own JSON object with `_append_time` (ms), `_partition` and `_offset` before
its fields, which are not written anew: number literals count. A value that is no plain JSON object
stands under `_value_base64`, a null under `_value`; headers under `_headers`.
Source: records-and-cuts.md §10.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from typing import Literal

from aiokafka import TopicPartition

from app.definitions.commands import Command, UnreadableCommand
from app.definitions.files import definition_line
from app.settings import Settings
from app.topics import METER_DEFINITIONS
from tables.stores.changelog import LogRecord, plain_consumer, scan

What = Literal["definitions", "events", "records"]


async def export(settings: Settings, what: What) -> AsyncIterator[bytes]:
    """Lines, without their newlines, of all that is in a log now, partition by partition."""
    for tp in _partitions(settings, what):
        ends = await _bounds(settings, tp)
        async for records in scan(settings, tp, *ends):
            for record in records:
                line = _LINES[what](tp.partition, record)
                if line is not None:
                    yield line


async def _bounds(settings: Settings, tp: TopicPartition) -> tuple[int, int]:
    consumer = plain_consumer(settings)
    await consumer.start()
    try:
        start = (await consumer.beginning_offsets([tp]))[tp]
        return start, (await consumer.end_offsets([tp]))[tp]
    finally:
        await consumer.stop()


def _partitions(settings: Settings, what: What) -> list[TopicPartition]:
    if what == "definitions":
        return [TopicPartition(settings.topic(METER_DEFINITIONS), 0)]
    name = settings.raw_topic if what == "events" else settings.usage_records_topic
    return [TopicPartition(settings.topic(name), n) for n in range(settings.raw_partitions)]


def event_line(partition: int, record: LogRecord) -> bytes:
    """A record of the raw topic as a line."""
    place = {
        "_append_time": record.timestamp_ms,
        "_partition": partition,
        "_offset": record.offset,
    }
    value = record.value
    if value is not None and not record.headers and _is_plain_object(value):
        before = json.dumps(place, separators=(",", ":")).encode()[:-1]
        fields = value.strip()[1:].lstrip()
        return before + (b"" if fields == b"}" else b",") + fields
    wrapped: dict[str, object] = dict(place)
    if value is None:
        wrapped["_value"] = None
    else:
        wrapped["_value_base64"] = base64.b64encode(value).decode()
    if record.headers:
        wrapped["_headers"] = {
            name: None if text is None else text.decode(errors="replace")
            for name, text in record.headers
        }
    return json.dumps(wrapped, separators=(",", ":")).encode()


def _is_plain_object(value: bytes) -> bool:
    """Whether the value can stand in a line as it is, and has no fields of ours."""
    if b"\n" in value or b"\r" in value or not value.lstrip().startswith(b"{"):
        return False
    try:
        fields = json.loads(value, object_pairs_hook=lambda pairs: pairs)
    except (ValueError, RecursionError):
        return False
    return not any(name.startswith("_") for name, _ in fields)


def _definition_line(partition: int, record: LogRecord) -> bytes | None:
    """None for what is no definition: ticks, for one."""
    try:
        command = Command.decode(record.value or b"")
    except UnreadableCommand:
        return None
    return definition_line(command, record.timestamp_ms, record.offset).rstrip(b"\n")


def _record_line(partition: int, record: LogRecord) -> bytes | None:
    return record.value


_LINES: dict[What, Callable[[int, LogRecord], bytes | None]] = {
    "definitions": _definition_line,
    "events": event_line,
    "records": _record_line,
}
