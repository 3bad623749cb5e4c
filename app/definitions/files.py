"""The definitions log as a file: JSON lines, each a command with its append time and offset.

Read by `meter fold` (records-and-cuts §10). A command's own keys come first, then `_append_time`
(ms, or RFC 3339 when read) and `_offset`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from app.billing_periods.instants import parse_iso8601_ms
from app.definitions.command import Command


class InvalidDefinitionsFile(ValueError):
    """A line that is no record; the message names it."""


class DefinitionLine(NamedTuple):
    """A record of the definitions log."""

    append_time_ms: int
    offset: int
    value: bytes | None


class _Line(msgspec.Struct, kw_only=True):
    type: str
    id: str
    organization_id: str
    payload: msgspec.Raw
    append_time: int | str = msgspec.field(name="_append_time")
    offset: int | None = msgspec.field(name="_offset", default=None)


def definition_line(command: Command, append_time_ms: int, offset: int) -> bytes:
    """Return the command's line, with its line feed."""
    line: dict[str, Any] = msgspec.structs.asdict(command)
    if command.changed_by is None:
        del line["changed_by"]
    line |= {"_append_time": append_time_ms, "_offset": offset}
    return _ENCODER.encode(line) + b"\n"


def read_definitions(lines: Iterable[bytes]) -> Iterator[DefinitionLine]:
    """Yield records in file order, without blank lines; a missing offset counts on from the last.

    Raises `InvalidDefinitionsFile`.
    """
    next_offset = 0
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        record = _record(line, number, next_offset)
        if record.offset < next_offset:
            raise InvalidDefinitionsFile(f"line {number}: _offset {record.offset} goes back")
        next_offset = record.offset + 1
        yield record


def _record(line: bytes, number: int, next_offset: int) -> DefinitionLine:
    try:
        parsed = _DECODER.decode(line)
        command = Command.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidDefinitionsFile(f"line {number}: {error}") from error
    append_time_ms = _append_time_ms(parsed.append_time)
    if append_time_ms is None:
        raise InvalidDefinitionsFile(f"line {number}: _append_time is neither ms nor RFC 3339")
    offset = next_offset if parsed.offset is None else parsed.offset
    return DefinitionLine(append_time_ms, offset, command.encode())


def _append_time_ms(value: int | str) -> int | None:
    return parse_iso8601_ms(value) if isinstance(value, str) else value


_DECODER = msgspec.json.Decoder(_Line)
_ENCODER = msgspec.json.Encoder(decimal_format="number")
