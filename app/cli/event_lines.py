"""EVENTS of `meter fold`: JSON lines of raw values with what the broker would know of each.

A line that is an object is the raw value itself, without its keys that begin with an underscore and
are named here. Any other value stands under `_value`, or under `_value_base64` as bytes.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from array import array
from base64 import b64decode
from collections.abc import Iterable, Iterator
from typing import IO, Any, Self

import msgspec

from app.billing_periods.instants import parse_iso8601_ms
from app.offline.fold import EventLine
from app.wire.decode import Headers, decode_record
from app.wire.events import Event


class InvalidEventsFile(ValueError):
    """A line that is no record; the message names it."""


class _Line(msgspec.Struct):
    append_time: int | str | None = msgspec.field(name="_append_time", default=None)
    partition: int = msgspec.field(name="_partition", default=0)
    offset: int | None = msgspec.field(name="_offset", default=None)
    headers: dict[str, str | None] = msgspec.field(name="_headers", default_factory=dict)
    headers_base64: list[tuple[str, str | None]] = msgspec.field(
        name="_headers_base64", default_factory=list
    )
    value: msgspec.Raw = msgspec.field(name="_value", default=msgspec.Raw(b""))
    base64: str | None = msgspec.field(name="_value_base64", default=None)
    key: str | None = msgspec.field(name="_key_base64", default=None)


class _Whose(msgspec.Struct):
    partition: int | None = msgspec.field(name="_partition", default=None)
    type: msgspec.Raw = msgspec.Raw(b"")
    payload: msgspec.Raw = msgspec.Raw(b"")

    def is_definition(self) -> bool:
        """Return whether it has what every line of the definitions log has, and no partition."""
        return self.partition is None and bool(bytes(self.type) and bytes(self.payload))


_METADATA = frozenset(field.encode_name for field in msgspec.structs.fields(_Line))
_READ_BYTES = 1024 * 1024


class EventsFile:
    """A file of which each partition is read by itself; used by `with`.

    In memory is only which lines are whose. Raises `InvalidEventsFile` for a line that is no JSON,
    or one of the definitions log.
    """

    def __init__(self, file: IO[bytes]):
        # A pipe is read once.
        self._copy = None if _has_places(file) else _copied(file)
        self._file = self._copy or file
        self._runs: dict[int, array[int]] = {}
        """By partition, of lines that follow each other: first byte, end, number of the first."""
        self.count = 0

    def __enter__(self) -> Self:
        self._index()
        return self

    def __exit__(self, *_: object) -> None:
        if self._copy is not None:
            self._copy.close()

    def logs(self) -> list[Iterator[EventLine]]:
        """Return the records of each partition, in the order of partitions; see `read_events`."""
        return [read_events(self._lines(partition)) for partition in sorted(self._runs)]

    def as_written(self) -> Iterator[tuple[int, Iterator[EventLine]]]:
        """Yield each partition with its records, of which times may go back."""
        for partition in sorted(self._runs):
            yield partition, read_events(self._lines(partition), as_written=True)

    def _index(self) -> None:
        at, last = 0, None
        for number, line in enumerate(self._file, start=1):
            end = at + len(line)
            partition = _partition_of(number, line) if line.strip() else last
            if partition is not None:
                runs = self._runs.setdefault(partition, array("q"))
                if partition == last:
                    runs[-2] = end
                else:
                    runs.extend((at, end, number))
                self.count += bool(line.strip())
            at, last = end, partition

    def _lines(self, partition: int) -> Iterator[tuple[int, bytes]]:
        """Yield the lines of a partition with their numbers."""
        runs = iter(self._runs[partition])
        for start, end, number in zip(runs, runs, runs, strict=True):
            yield from enumerate(_between(self._file.fileno(), start, end), start=number)


def _has_places(file: IO[bytes]) -> bool:
    """Return whether any part of the file can be read at any time."""
    try:
        return file.seekable() and file.fileno() >= 0
    except OSError:
        return False


def _copied(file: IO[bytes]) -> IO[bytes]:
    copy = tempfile.TemporaryFile(prefix="meter-fold-")  # noqa: SIM115
    shutil.copyfileobj(file, copy)
    copy.seek(0)
    return copy


def _partition_of(number: int, line: bytes) -> int:
    try:
        if line.lstrip()[:1] == b"{":
            whose = msgspec.json.decode(line, type=_Whose)
            if whose.is_definition():
                raise ValueError("`payload` with a `type`: a definition, and no event")
            return whose.partition or 0
        msgspec.json.decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise InvalidEventsFile(f"line {number}: {error}") from error
    return 0


def _between(descriptor: int, start: int, end: int) -> Iterator[bytes]:
    """Yield the lines that lie there, without their line feeds."""
    left = b""
    while start < end:
        block = os.pread(descriptor, min(_READ_BYTES, end - start), start)
        if not block:
            break
        start += len(block)
        *lines, left = (left + block).split(b"\n")
        yield from lines
    if left:
        yield left


def read_events(
    lines: Iterable[tuple[int, bytes]], *, as_written: bool = False
) -> Iterator[EventLine]:
    """Yield records of numbered lines; blank ones are skipped. Raises `InvalidEventsFile`.

    Without `_offset` the next one of the partition, without `_append_time` the time of the value's
    events; neither goes back along a partition, but for times `as_written`.
    """
    offsets: dict[int, int] = {}
    times_ms: dict[int, int] = {}
    for number, line in lines:
        if not line.strip():
            continue
        try:
            parsed = _read_line(line, offsets, times_ms)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise InvalidEventsFile(f"line {number}: {error}") from error
        offsets[parsed.partition] = parsed.offset + 1
        if not as_written:
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
    headers = _headers(parsed)
    append_time_ms = _append_time_ms(parsed.append_time, value, headers)
    reached_ms = max(append_time_ms, times_ms.get(parsed.partition, 0))
    key = None if parsed.key is None else b64decode(parsed.key, validate=True)
    return EventLine(reached_ms, parsed.partition, offset, value, headers, key)


def _value(line: bytes, parsed: _Line) -> bytes | None:
    if parsed.base64 is not None:
        return b64decode(parsed.base64, validate=True)
    literal = bytes(parsed.value)
    if literal:
        return None if literal == b"null" else literal
    exported = _exported(line)
    if exported is not None:
        rest = b"{" + line[exported:].rstrip()
        # No other field is one of ours: nothing has to be taken out.
        if b'"_' not in rest and b"\\" not in rest:
            return rest
        if not msgspec.json.decode(rest, type=dict[str, msgspec.Raw]).keys() & _METADATA:
            return rest
    fields = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
    if not fields.keys() & _METADATA:
        return line.strip()
    return msgspec.json.encode({k: v for k, v in fields.items() if k not in _METADATA})


def _headers(parsed: _Line) -> Headers:
    texts = [(name, None if t is None else t.encode()) for name, t in parsed.headers.items()]
    coded = [
        (name, None if text is None else b64decode(text, validate=True))
        for name, text in parsed.headers_base64
    ]
    return [*texts, *coded]


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


_EXPORTED = re.compile(
    rb'\{"_append_time":\d+,"_partition":\d+,"_offset":\d+,'
    rb'(?:"_key_base64":"[A-Za-z0-9+/=]*",)?(?=")'
)


def _exported(line: bytes) -> int | None:
    """Return where the fields of a value begin, in a line as `meter export` writes them."""
    found = _EXPORTED.match(line)
    return None if found is None else found.end()
