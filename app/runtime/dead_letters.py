"""Dead letters: what is refused as a record that its topic takes, whatever it came in.

A raw record may be compressed, and elements of an array are dead letters of their own: what is too
large for one, or would be repeated in thousands, is left out. The raw record has it still. A record
of which more than `REFUSED_LETTERS` elements are refused has one letter for all of them.
Source: records-and-cuts.md §8 and §11, bounded-work.md §2.1 (M21, M32).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from msgspec.structs import replace

from app.billing_periods.instants import iso_milliseconds
from app.bounds.limits import ID_BYTES, REFUSED_LETTERS
from app.definitions.judging import ORGANIZATION_HEADER, Judging
from app.kafka.log_readers import LogRecord
from app.kafka.open_batch import UnreadBatch
from app.kafka.record_batch import RawRecord
from app.kafka.topics import DEAD_LETTER_MESSAGE_BYTES, RAW_MESSAGE_BYTES
from app.kafka.transactions import Record
from app.meter.overview import DeadLetterView
from app.numbers import natural
from app.wire.arrivals import REPLAYED_HEADER
from app.wire.decode import Headers, deciding_headers, organizations_named
from app.wire.events import MAX_BYTES
from app.wire.refusals import Refusal, RefusalCode

OWN_PREFIX: Final = "meter-"
"""Prefix of the headers that say why and where from; the raw record's have other names."""

_COUNTS_HEADER: Final = f"{OWN_PREFIX}refused"
"""Count of refused elements by code, in a letter for many."""

REPEATED_BYTES: Final = 1_024
"""A key, or headers, of up to so many bytes go with each element that is refused."""

_WHOLE_BYTES: Final = DEAD_LETTER_MESSAGE_BYTES - 65_536
"""The rest is for what Kafka and our own headers need."""

_CUT_BYTES: Final = MAX_BYTES + 1
"""Kept of a value that the raw topic takes compressed only; sent again it is too large again."""

_PLACE: Final = ("topic", "partition", "offset", "index")

_LISTED_CHARACTERS: Final = 500
"""Characters of a value that a list shows."""

_HEADER_LENGTHS_BYTES: Final = 10
"""The most that the lengths of a name and its text take."""


class Source(NamedTuple):
    """The raw record that something came from."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    headers: Headers = ()
    organization_id: str | None = None
    """Owner of everything that is refused of it; None: nobody, several, or it cannot be read."""
    value: bytes | None = None
    """All of it, where it is at hand."""
    records: int | None = None
    """Number of records in a batch that nobody could read."""


def source_of(topic: str, partition: int, raw: RawRecord | UnreadBatch, judging: Judging) -> Source:
    """Return the source of a raw record in which something could not be decoded.

    If producers may not claim an organization, the value does not tell it. The organization is
    then the one that the headers vouch for.
    """
    default, belief = judging.default_organization_id, judging.belief_at(raw.timestamp)
    if belief is None or belief.producer_trust == "claimed":
        named = organizations_named(raw.value, raw.headers)
        organization_id = next(iter(named)) or default if len(named) == 1 else None
    else:
        # Where nobody vouches, its value does not say it either.
        organization_id = belief.vouched(default, raw.headers) or ""
    count = raw.records if isinstance(raw, UnreadBatch) else None
    key, headers = raw.key, raw.headers
    return Source(topic, partition, raw.offset, key, headers, organization_id, raw.value, count)


def organization_of(record: LogRecord) -> str | None:
    """Return the owner of a dead letter; older programs told it by the value only."""
    for name, text in record.headers:
        # Of a letter it says whose it was found to be; absent: no one organization's.
        if name == ORGANIZATION_HEADER:
            return (text or b"").decode(errors="replace") or None
    kept = [header for header in record.headers if not header[0].startswith(OWN_PREFIX)]
    named = organizations_named(record.value, kept)
    return next(iter(named)) if len(named) == 1 else None


class StandsFor(NamedTuple):
    """The first of some letters that are of one event, for one reason."""

    partition: int
    offset: int
    code: str

    @classmethod
    def of(cls, record: LogRecord, partition: int) -> StandsFor:
        """Return what a letter stands for: itself, unless it was refused again for one reason."""
        headers = {name: (text or b"").decode("utf-8", "replace") for name, text in record.headers}
        code = headers.get(f"{OWN_PREFIX}error-code", "")
        place, _, before = headers.get(REPLAYED_HEADER, "").partition(" ")
        first, offset = map(natural, place.partition("/")[::2])
        if before != code or first is None or offset is None:
            return cls(partition, record.offset, code)
        return cls(first, offset, code)

    @property
    def header(self) -> tuple[str, bytes]:
        """Return what its replay says of it."""
        return REPLAYED_HEADER, f"{self.partition}/{self.offset} {self.code}".encode()


def dead_letter_view(record: LogRecord, partition: int) -> DeadLetterView:
    """Return a record of the topic as the page lists it."""
    headers = {name: (text or b"").decode("utf-8", "replace") for name, text in record.headers}
    source = "/".join(headers.get(f"{OWN_PREFIX}source-{part}", "?") for part in _PLACE)
    return DeadLetterView(
        organization_id=organization_of(record),
        partition=partition,
        offset=record.offset,
        code=headers.get(f"{OWN_PREFIX}error-code", ""),
        message=headers.get(f"{OWN_PREFIX}error-message", ""),
        failed_at_ms=record.timestamp_ms,
        source=source,
        value=(record.value or b"").decode("utf-8", "replace")[:_LISTED_CHARACTERS],
    )


def dead_letters(
    topic: str, partition: int, refused: Sequence[Refusal], source: Source, now_ms: int
) -> list[Record]:
    """Return the dead letters for the refused elements of one raw record; one for very many."""
    if len(refused) > REFUSED_LETTERS:
        return [_one_for_all(topic, partition, refused, source, now_ms)]
    return [
        dead_letter(topic, partition, refusal, source, now_ms, first=not i)
        for i, refusal in enumerate(refused)
    ]


def _one_for_all(
    topic: str, partition: int, refused: Sequence[Refusal], source: Source, now_ms: int
) -> Record:
    """Return one letter for many refusals: sent again, what counted is a duplicate."""
    counts = Counter([refusal.code for refusal in refused])
    told = ", ".join(f"{count} {code}" for code, count in counts.most_common())
    first = refused[0]
    message = (
        f"{len(refused)} elements of the record are refused ({told}); the first at index "
        f"{first.index}: {first.message}"
    )
    value = source.value
    if value is None:
        # It came element by element: those that are refused are all there is.
        value = b"[" + b",".join(refusal.value for refusal in refused) + b"]"
    refusal = Refusal(RefusalCode.MANY_REFUSED, message, value)
    letter = dead_letter(topic, partition, refusal, source, now_ms, first=True)
    counted = ",".join(f"{code}={count}" for code, count in sorted(counts.items()))
    return replace(letter, headers=[*letter.headers, (_COUNTS_HEADER, counted.encode())])


def dead_letter(
    topic: str, partition: int, refusal: Refusal, source: Source, now_ms: int, *, first: bool
) -> Record:
    """Return the record: the refused bytes with the key and the headers they came with.

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
    own: list[tuple[str, bytes | None]] = [
        ("meter-error-code", refusal.code.encode()),
        ("meter-error-message", refusal.message.encode()),
        ("meter-source-topic", source.topic.encode()),
        ("meter-source-partition", b"%d" % source.partition),
        ("meter-source-offset", b"%d" % source.offset),
        ("meter-source-index", b"%d" % refusal.index),
        ("meter-failed-at", _failed_at(now_ms)),
    ]
    if source.records is not None:
        own.append(("meter-source-count", b"%d" % source.records))
    if source.organization_id is not None:
        organization = source.organization_id.encode()
        own.append((ORGANIZATION_HEADER, organization if len(organization) <= ID_BYTES else b""))
    own += [header for header in source.headers if header[0] == REPLAYED_HEADER]
    if left_out:
        own.append(("meter-left-out", ",".join(left_out).encode()))
    return Record(topic, partition, key, value, [*kept, *own])


@lru_cache(maxsize=1)
def _failed_at(now_ms: int) -> bytes:
    """Return the time as text: very many may be refused in the same millisecond."""
    return iso_milliseconds(now_ms).encode()


def _size(headers: Headers) -> int:
    sizes = [
        len(name.encode()) + len(text or b"") + _HEADER_LENGTHS_BYTES for name, text in headers
    ]
    return sum(sizes)
