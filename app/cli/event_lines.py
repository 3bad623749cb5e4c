"""EVENTS of `meter fold`: JSON lines of raw values with what the broker would know of each.

A line that is an object is the raw value itself, without its keys that begin with an underscore and
are named here. Any other value stands under `_value`, or under `_value_base64` as bytes.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from app.definitions.instants import parse_iso8601_ms
from app.offline import EventLine
from app.wire.events import Event
from app.wire.records import Headers, decode_record


class InvalidEventsFile(ValueError):
    """A line that is no record; the message names it."""


class _Line(msgspec.Struct):
    append_time: int | str | None = msgspec.field(name="_append_time", default=None)
    partition: int = msgspec.field(name="_partition", default=0)
    offset: int | None = msgspec.field(name="_offset", default=None)
    headers: dict[str, str | None] = msgspec.field(name="_headers", default_factory=dict)
    value: msgspec.Raw = msgspec.field(name="_value", default=msgspec.Raw(b""))
    base64: str | None = msgspec.field(name="_value_base64", default=None)


_METADATA = frozenset(field.encode_name for field in msgspec.structs.fields(_Line))


def read_events(lines: Iterable[bytes]) -> Iterator[EventLine]:
    """Records in file order; blank lines are skipped. Raises `InvalidEventsFile`.

    Without `_offset` the next one of the partition, without `_append_time` the time of the value's
    events; neither goes back along a partition.
    """
    offsets: dict[int, int] = {}
    times_ms: dict[int, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            parsed = _read_line(line, offsets, times_ms)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise InvalidEventsFile(f"line {number}: {error}") from error
        offsets[parsed.partition] = parsed.offset + 1
        times_ms[parsed.partition] = parsed.append_time_ms
        yield parsed


def _read_line(line: bytes, offsets: dict[int, int], times_ms: dict[int, int]) -> EventLine:
    if line.lstrip()[:1] != b"{":
        msgspec.json.decode(line)
        parsed = _Line()
        value: bytes | None = line.strip()
    else:
        parsed = msgspec.json.decode(line, type=_Line)
        value = _value(line, parsed)
    next_offset = offsets.get(parsed.partition, 0)
    offset = next_offset if parsed.offset is None else parsed.offset
    if offset < next_offset:
        raise ValueError(f"_offset {offset} goes back on partition {parsed.partition}")
    headers = [(name, None if t is None else t.encode()) for name, t in parsed.headers.items()]
    append_time_ms = _append_time_ms(parsed.append_time, value, headers)
    reached_ms = max(append_time_ms, times_ms.get(parsed.partition, 0))
    return EventLine(reached_ms, parsed.partition, offset, value, headers)


def _value(line: bytes, parsed: _Line) -> bytes | None:
    if parsed.base64 is not None:
        return b64decode(parsed.base64, validate=True)
    literal = bytes(parsed.value)
    if literal:
        return None if literal == b"null" else literal
    fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    if not fields.keys() & _METADATA:
        return line.strip()
    return msgspec.json.encode({k: v for k, v in fields.items() if k not in _METADATA})


def _append_time_ms(given: int | str | None, value: bytes | None, headers: Headers) -> int:
    if isinstance(given, int):
        return given
    if given is not None:
        at_ms = parse_iso8601_ms(given)
        if at_ms is None:
            raise ValueError(f"_append_time {given!r} is neither ms nor RFC 3339")
        return at_ms
    decoded: list[Any] = [one for _, one in decode_record(value, headers)]
    times = [one.timestamp_ms for one in decoded if isinstance(one, Event)]
    return max((at_ms for at_ms in times if at_ms is not None), default=0)
