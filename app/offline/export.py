"""Export: the logs as JSON lines that `meter fold` reads back.

A line is the record's own JSON object with `_append_time` (ms), `_partition` and `_offset` before
its fields, which are not written anew: number literals count. A value that is no plain JSON object
stands under `_value_base64`, a null under `_value`; headers under `_headers`, or in their order
under `_headers_base64` where an object of texts cannot hold them. A key stands under `_key_base64`,
unless there is none, or the event says it by itself.
Source: records-and-cuts.md §10.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, Literal, NamedTuple

import msgspec

from app.definitions.command import Command, UnreadableCommand
from app.definitions.files import definition_line
from app.definitions.log import apply_settings
from app.definitions.periods import NEVER_MS
from app.definitions.state import Definitions
from app.kafka.lenient_fetch import limit_after
from app.kafka.log_readers import LogRecord, bounds, bounds_of, first_since, scan, whole
from app.kafka.names import TopicPartition
from app.kafka.reading import reading
from app.kafka.topics import METER_DEFINITIONS, partition_count
from app.offline.redaction import ALWAYS_READ, CannotRedact, names_read, redacted
from app.settings import Settings
from app.wire.decode import Headers, decode_record
from app.wire.events import MAX_BYTES, is_utf8
from app.wire.keys import message_key
from app.wire.refusals import Refusal

What = Literal["definitions", "events", "records"]

_CLOCKS_MS: Final = 3_600_000
"""No broker's clock is an hour behind another's: what is appended later is not looked at."""


class ExportPart(NamedTuple):
    """What of a log is exported: all that is given holds."""

    since: Mapping[int, int] = {}
    """By partition, the offset to begin at."""
    from_ms: int | None = None
    """Append time in ms."""
    to_ms: int = NEVER_MS
    """Append time in ms, exclusive."""
    subscription: str | None = None
    """External id; an array is exported whole if it has an event of it."""

    def holds(self, what: What, record: LogRecord) -> bool:
        """Return True if a record from the offset on is to be exported."""
        if not (self.from_ms or 0) <= record.timestamp_ms < self.to_ms:
            return False
        return self.subscription is None or self.subscription in _SUBSCRIPTIONS[what](record)


ALL: Final = ExportPart()


class NoSuchPlace(ValueError):
    """An export would begin where the log has nothing; the message says where that is."""


@reading
async def export(
    settings: Settings,
    what: What,
    part: ExportPart = ALL,
    *,
    redact: bool = False,
) -> AsyncGenerator[list[bytes], None]:
    """Yield lines, without their newlines, of what is in a log now, partition by partition.

    They come by batches, of which none is empty.

    `redact`: events without what no metric reads.

    Raises:
        TopicRefused: the log is not there.
        CannotRedact: a record cannot lose what no metric reads.
        NoSuchPlace: `part` begins where the log has nothing. Nothing is yielded then.
    """
    read: frozenset[str] = frozenset()
    if what == "events":
        read = await _learn(settings, names=redact)
    partitions = await _partitions(settings, what)
    if part.since:
        await _require_places(settings, partitions, part.since)
    for tp in partitions:
        start, end = await bounds(settings, tp)
        begin = max(start, part.since.get(tp.partition, start))
        if part.from_ms is not None:
            begin = max(begin, await first_since(settings, tp, part.from_ms))
        async with scan(settings, tp, begin, end) as batches:
            async for records in batches:
                if records[0].timestamp_ms >= part.to_ms + _CLOCKS_MS:
                    break
                held = (record for record in records if part.holds(what, record))
                if redact:
                    held = (_redacted(tp.partition, record, read) for record in held)
                lines = [_LINES[what](tp.partition, record) for record in held]
                if told := [line for line in lines if line is not None]:
                    yield told


async def _require_places(
    settings: Settings, partitions: Sequence[TopicPartition], since: Mapping[int, int]
) -> None:
    """Refuse partitions that are not there, and offsets beyond the end: a copy would have a hole.

    Raises `NoSuchPlace`.
    """
    topic, count = partitions[0].topic, len(partitions)
    ends = await bounds_of(settings, [tp for tp in partitions if tp.partition in since])
    for number, offset in sorted(since.items()):
        if number >= count:
            raise NoSuchPlace(f"{topic} has {count} partitions, and none is {number}.")
        _, end = ends[TopicPartition(topic, number)]
        if offset > end:
            raise NoSuchPlace(f"Partition {number} of {topic} ends at {end}, before {offset}.")


async def _learn(settings: Settings, *, names: bool) -> frozenset[str]:
    """Learn the limits from the definitions log: batches are read as workers read them.

    `names`: return those of properties that definitions read, or have read.
    """
    definitions, read = Definitions(), set(ALWAYS_READ)
    async with whole(settings, settings.topic(METER_DEFINITIONS)) as batches:
        async for _, records in batches:
            for record in records:
                apply_settings(definitions, record.value, record.timestamp_ms, record.offset)
                if names:
                    with suppress(UnreadableCommand):
                        read.update(names_read(Command.decode(record.value or b"").payload))
    limit_after(settings.topic(settings.raw_topic), definitions.limited_after_ms())
    return frozenset(read)


def _redacted(partition: int, record: LogRecord, read: frozenset[str]) -> LogRecord:
    try:
        value, headers = redacted(record.value, record.headers, read)
    except CannotRedact as error:
        raise CannotRedact(f"Record {record.offset} of partition {partition} {error}") from error
    return record._replace(value=value, headers=headers)


async def _partitions(settings: Settings, what: What) -> list[TopicPartition]:
    """Return all partitions: a whole log is exported whatever METER_RAW_PARTITIONS says here."""
    topic = settings.topic(_topic(settings, what))
    return [TopicPartition(topic, n) for n in range(await partition_count(settings, topic))]


def _topic(settings: Settings, what: What) -> str:
    match what:
        case "definitions":
            return METER_DEFINITIONS
        case "events":
            return settings.raw_topic
        case "records":
            return settings.usage_records_topic


def event_line(partition: int, record: LogRecord) -> bytes:
    """Return a record of the raw topic as a line."""
    at_ms, offset, value = record.timestamp_ms, record.offset, record.value
    # Blanks around it are left out, and may be what is too large.
    if (
        value is not None
        and not record.headers
        and len(value) <= MAX_BYTES
        and _is_plain_object(value)
    ):
        before = b'{"_append_time":%d,"_partition":%d,"_offset":%d' % (at_ms, partition, offset)
        if record.key is not None and record.key != own_key(value):
            before += b',"_key_base64":"%s"' % base64.b64encode(record.key)
        fields = value.strip()[1:].lstrip()
        return before + (b"" if fields == b"}" else b",") + fields
    wrapped: dict[str, object] = {
        "_append_time": at_ms,
        "_partition": partition,
        "_offset": offset,
    }
    if record.key is not None:
        wrapped["_key_base64"] = base64.b64encode(record.key).decode()
    if value is None:
        wrapped["_value"] = None
    else:
        wrapped["_value_base64"] = base64.b64encode(value).decode()
    if record.headers:
        wrapped |= _headers(record.headers)
    return json.dumps(wrapped, separators=(",", ":")).encode()


class _Names(msgspec.Struct):
    organization_id: str
    external_subscription_id: str


_decode_names = msgspec.json.Decoder(_Names).decode


def own_key(value: bytes | None) -> bytes | None:
    """Return the key that an event says by itself; None: it names no organization, or is none."""
    try:
        names = _decode_names(value or b"")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return message_key(names.organization_id, names.external_subscription_id)


def _headers(headers: Headers) -> dict[str, object]:
    """Return headers as JSON: as texts, or as pairs in base64.

    Bytes need not be UTF-8, and a name may come more than once: of these the order counts.
    """
    named = dict(headers)
    if len(named) == len(headers) and all(text is None or is_utf8(text) for text in named.values()):
        texts = {name: None if text is None else text.decode() for name, text in headers}
        return {"_headers": texts}
    pairs = [
        (name, None if text is None else base64.b64encode(text).decode()) for name, text in headers
    ]
    return {"_headers_base64": pairs}


def _is_plain_object(value: bytes) -> bool:
    """Return whether the value can stand in a line as it is.

    Then its reader takes it, and no field of it has a name of ours.
    """
    if b"\n" in value or b"\r" in value or not value.lstrip().startswith(b"{"):
        return False
    try:
        fields = _decode_fields(value)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return False
    return not any(name.startswith("_") for name in fields)


_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _definition_line(partition: int, record: LogRecord) -> bytes | None:
    """Return a definition's line; None for what is none, like a tick."""
    try:
        command = Command.decode(record.value or b"")
    except UnreadableCommand:
        return None
    return definition_line(command, record.timestamp_ms, record.offset).rstrip(b"\n")


def _record_line(partition: int, record: LogRecord) -> bytes | None:
    return record.value


def _of_events(record: LogRecord) -> set[str]:
    elements = decode_record(record.value, record.headers)
    return {one.external_subscription_id for _, one in elements if not isinstance(one, Refusal)}


def _of_record(record: LogRecord) -> set[str]:
    return set() if record.value is None else {_decode_names(record.value).external_subscription_id}


_SUBSCRIPTIONS: dict[What, Callable[[LogRecord], set[str]]] = {
    "events": _of_events,
    "records": _of_record,
}

_LINES: dict[What, Callable[[int, LogRecord], bytes | None]] = {
    "definitions": _definition_line,
    "events": event_line,
    "records": _record_line,
}
