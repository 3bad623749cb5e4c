"""Dead letters: what is refused as a record that its topic takes, whatever it came in.

A raw record may be compressed, and every element of an array is a dead letter of its own: what is
too large for one, or would be repeated in thousands, is left out. The raw record has it still.
Source: records-and-cuts.md §8 and §11.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from app.records import instant_ms
from app.topics import DEAD_LETTER_MESSAGE_BYTES, RAW_MESSAGE_BYTES
from app.wire.events import MAX_BYTES
from app.wire.records import Headers, deciding_headers
from app.wire.refusals import Refusal
from tables.stores.changelog import Record

OWN_PREFIX: Final = "meter-"
"""Of the headers that say why and where from; those of the raw record have other names."""

REPEATED_BYTES: Final = 1_024
"""A key, or headers, of up to so many bytes go with each element that is refused."""

_WHOLE_BYTES: Final = DEAD_LETTER_MESSAGE_BYTES - 65_536
"""The rest is for what Kafka and our own headers need."""

_CUT_BYTES: Final = MAX_BYTES + 1
"""Of a larger value than the raw topic takes uncompressed; sent again it is too large again."""

_HEADER_LENGTHS_BYTES: Final = 10
"""The most that the lengths of a name and its text take."""


class Source(NamedTuple):
    """The raw record that something came from."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Headers = ()


def dead_letter(
    topic: str, partition: int, refusal: Refusal, source: Source, now_ms: int, *, first: bool
) -> Record:
    """The record: the refused bytes with the key and the headers they came with.

    `first`: nothing of this raw record was refused before.
    """
    key, value = source.key, refusal.value
    kept = [header for header in source.headers if not header[0].startswith(OWN_PREFIX)]
    left_out = []
    if not first or len(key or b"") + len(value) + _size(kept) > _WHOLE_BYTES:
        if len(key or b"") > REPEATED_BYTES:
            key = None
            left_out.append("key")
        if _size(kept) > REPEATED_BYTES:
            deciding: list[tuple[str, bytes | None]] = [*deciding_headers(kept)]
            kept = deciding if _size(deciding) <= REPEATED_BYTES else []
            left_out.append("headers")
        if len(value) > RAW_MESSAGE_BYTES:
            value = value[:_CUT_BYTES]
            left_out.append("value")
    told = {
        "error-code": refusal.code,
        "error-message": refusal.message,
        "source-topic": source.topic,
        "source-partition": str(source.partition),
        "source-offset": str(source.offset),
        "source-index": str(refusal.index),
        "failed-at": instant_ms(now_ms),
    }
    if left_out:
        told["left-out"] = ",".join(left_out)
    own = [(f"{OWN_PREFIX}{name}", text.encode()) for name, text in told.items()]
    return Record(topic, partition, key, value, [*kept, *own])


def _size(headers: Headers) -> int:
    return sum(
        len(name.encode()) + len(text or b"") + _HEADER_LENGTHS_BYTES for name, text in headers
    )
