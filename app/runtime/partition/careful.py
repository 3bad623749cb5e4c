"""Find records that cannot be decoded or folded before they are folded, and set them aside.

An owner is careful for a while after the owner before it ended without handing over. It first tries
portions of records on tables of their own, in a process of their own (`app.runtime.apart`). If a
portion fails, it tries each of its records alone. A record that fails twice alone is named in the
definitions log, so that every fold skips the record. The name, the dead letter and the partition
record go in one transaction. Only the owner can commit this transaction, since it has the fence,
and it has not folded the record yet (bounded-work §1.4).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import accumulate
from typing import NamedTuple, TypeVar

from app.bounds.limits import CAREFUL_PORTION_RECORDS
from app.definitions import commands
from app.definitions.judging import Judging
from app.kafka.record_batch import RawRecord, RecordBatch
from app.kafka.topics import METER_DEFINITIONS
from app.kafka.transactions import Record
from app.log import facts
from app.runtime.apart import FirstFailure
from app.runtime.dead_letters import Source
from app.runtime.partition.owned import OwnedPartition
from app.runtime.partition.retained import reads_beyond_retention
from app.wire.arrivals import Arrival, CorrectionArrival, arrivals_of, index_of
from app.wire.decode import is_tick
from app.wire.keys import message_key
from app.wire.refusals import MAX_QUOTED, Refusal, RefusalCode
from app.wire.rekeyed import POSITION_HEADER, position_of
from tables.partition.trial import Trial

log = logging.getLogger(__name__)

Decoded = Sequence[Arrival | CorrectionArrival]
Decode = Callable[[RawRecord], Decoded]
"""Returns the part of a record that this partition folds."""

T = TypeVar("T")


class Named(NamedTuple):
    """A record or element that failed twice when tried alone."""

    record: RawRecord
    partition: int
    offset: int
    element: int | None
    """Index of the failing element; None: the record as a whole."""
    value: bytes
    reason: str
    organization_id: str | None = None
    """Organization of the record or element; None: it cannot be read."""


def needs_examining(owned: OwnedPartition, batch: RecordBatch) -> bool:
    """Return whether the records of a batch are to be tried before they are folded."""
    return not batch.examined and owned.wants_care(batch.tp, batch.start)


async def examine(owned: OwnedPartition, batch: RecordBatch) -> None:
    """Set aside what can never be folded of a batch, if its records are to be tried first."""
    if not needs_examining(owned, batch):
        return
    settings = owned.shared.settings
    is_raw = batch.tp.topic == settings.topic(settings.raw_topic)
    async with owned.shared.trying:
        await (_examine_raw if is_raw else _examine_rekeyed)(owned, batch)
    batch.examined = True


async def _examine_raw(owned: OwnedPartition, batch: RecordBatch) -> None:
    """Set aside the records and elements of a raw batch that can never be folded."""
    number, definitions = owned.number, owned.shared.definitions
    times_ms = (raw.timestamp for raw in batch)
    # What brokers stamp may go back, as with a new leader.
    reached_ms = accumulate(times_ms, max, initial=owned.state.checkpoint.append_time_ms)
    next(reached_ms)
    stamped_ms = dict(zip((raw.offset for raw in batch), reached_ms, strict=True))

    def decode(raw: RawRecord) -> Decoded:
        if is_tick(raw.key, raw.value, raw.headers):
            return ()
        aside, judging = definitions.set_asides.of(number), Judging.by(definitions)
        place = (stamped_ms[raw.offset], number, raw.offset)
        found = arrivals_of(raw.value, raw.headers, *place, judging, aside)
        homes = owned.shared.homes
        return [
            each
            for each in found
            if not isinstance(each, Refusal) and homes.of(*each.name) == number
        ]

    def whole(raw: RawRecord, reason: str) -> Named:
        return Named(raw, number, raw.offset, None, raw.value or b"", reason)

    await _examine(owned, batch, owned.state.checkpoint.raw_next, decode, whole)


async def _examine_rekeyed(owned: OwnedPartition, batch: RecordBatch) -> None:
    """Set aside the records of a batch of forwarded events that can never be folded."""
    definitions = owned.shared.definitions

    def decode(raw: RawRecord) -> Decoded:
        position = position_of(raw.headers)
        if position is None:
            return ()
        append_time_ms, partition, offset, index = position
        aside = definitions.set_asides.of(partition)
        if aside is not None and aside.holds_element(offset, index):
            return ()
        headers = [header for header in raw.headers if header[0] != POSITION_HEADER]
        judging = Judging.by(definitions).of_forwards()
        found = arrivals_of(raw.value, headers, append_time_ms, partition, offset, judging)
        return [
            each.forwarded(index, raw.offset) for each in found if not isinstance(each, Refusal)
        ]

    def whole(raw: RawRecord, reason: str) -> Named:
        _, partition, offset, index = position_of(raw.headers) or (0, owned.number, raw.offset, 0)
        return Named(raw, partition, offset, index, raw.value or b"", reason)

    await _examine(owned, batch, owned.state.checkpoint.rekeyed_next, decode, whole)


async def _examine(
    owned: OwnedPartition,
    batch: RecordBatch,
    next_offset: int,
    decode: Decode,
    whole: Callable[[RawRecord, str], Named],
) -> None:
    records = [raw for raw in batch if raw.offset >= next_offset]
    trying = _Trying(owned, decode, whole)
    named = await trying.named_of(records)
    owned.care.note_tried(len(records))
    if named:
        # After a crash the same event may have been forwarded twice.
        places = {(one.partition, one.offset, one.element): one for one in named}
        await _set_aside(owned, places.values())


class _Trying:
    """Tries records of one batch, on tables that belong to no partition."""

    def __init__(
        self, owned: OwnedPartition, decode: Decode, whole: Callable[[RawRecord, str], Named]
    ):
        self._trial = Trial(owned.number, owned.shared.definitions)
        self._first_failure: FirstFailure = owned.shared.first_failure
        self._decode = decode
        self._whole = whole

    async def named_of(self, records: Sequence[RawRecord]) -> list[Named]:
        """Return the records and elements among these that can never be folded."""
        size = CAREFUL_PORTION_RECORDS
        portions = [records[first : first + size] for first in range(0, len(records), size)]
        named: list[Named] = []
        for portion in await self._failing(self._fold_all, portions):
            for raw in await self._failing(lambda raw: self._fold_all([raw]), portion):
                named += await self._named_of_one(raw)
        return named

    async def _named_of_one(self, raw: RawRecord) -> list[Named]:
        """Return the record itself, or elements of it."""
        broken = await self._failing_twice(self._decode, [raw])
        if broken:
            return [self._whole(raw, broken[0][1])]
        found: list[Named] = []
        for each, reason in await self._failing_twice(self._fold_one, self._decode(raw)):
            sent = each.event if isinstance(each, Arrival) else each.correction
            place = (each.raw_partition, each.raw_offset, index_of(each))
            found.append(Named(raw, *place, sent.body, reason, each.organization_id))
        return found

    def _fold_all(self, records: Sequence[RawRecord]) -> None:
        self._trial.fold([each for raw in records for each in self._decode(raw)])

    def _fold_one(self, arrival: Arrival | CorrectionArrival) -> None:
        self._trial.fold([arrival])

    async def _failing_twice(
        self, work: Callable[[T], object], items: Sequence[T]
    ) -> list[tuple[T, str]]:
        """Return items that fail alone and once more, each with its failure."""
        found: list[tuple[T, str]] = []
        for each in await self._failing(work, items):
            again = await self._first_failure([partial(work, each)])
            if again is not None:
                found.append((each, again.reason))
        return found

    async def _failing(self, work: Callable[[T], object], items: Sequence[T]) -> list[T]:
        """Return items that fail."""
        found: list[T] = []
        while items:
            failed = await self._first_failure([partial(work, each) for each in items])
            if failed is None:
                break
            found.append(items[failed.number])
            items = items[failed.number + 1 :]
        return found


async def without_lost(
    owned: OwnedPartition, corrections: Sequence[CorrectionArrival]
) -> list[CorrectionArrival]:
    """Return corrections that can be taken; set aside those whose events retention has taken.

    They are named before anything of them is folded, so that no fold takes them.
    """
    lost = [each for each in corrections if await reads_beyond_retention(owned, each)]
    if not lost:
        return list(corrections)
    await _append(owned, [_lost(owned, each) for each in lost], RefusalCode.BEYOND_RETENTION)
    return [each for each in corrections if each not in lost]


_LOST = "events that it needs are deleted from the raw topic; the figures stay as they are"


def _lost(owned: OwnedPartition, each: CorrectionArrival) -> _Aside:
    settings = owned.shared.settings
    correction = each.correction
    source = Source(
        settings.topic(settings.raw_topic),
        each.raw_partition,
        each.raw_offset,
        message_key(each.organization_id, correction.external_subscription_id),
        organization_id=each.organization_id,
    )
    return _Aside(source, each.array_index, correction.body, _LOST)


async def _set_aside(owned: OwnedPartition, named: Iterable[Named]) -> None:
    settings = owned.shared.settings
    raw_topic = settings.topic(settings.raw_topic)
    asides = []
    for one in named:
        message = f"it cannot be folded: {one.reason}"[:MAX_QUOTED]
        log.error(
            # Why not, which may quote the event, is told with its dead letter.
            "Offset %s of raw partition %s cannot be folded",
            one.offset,
            one.partition,
            extra=facts("note", partition=one.partition, offset=one.offset),
        )
        key, headers = one.record.key, one.record.headers
        place_of = (raw_topic, one.partition, one.offset)
        source = Source(*place_of, key, headers, one.organization_id)
        asides.append(_Aside(source, one.element, one.value, message))
    await _append(owned, asides, RefusalCode.SET_ASIDE)


class _Aside(NamedTuple):
    source: Source
    element: int | None
    value: bytes
    message: str


async def _append(owned: OwnedPartition, asides: Sequence[_Aside], code: RefusalCode) -> None:
    """Append the names and dead letters, and wait until this worker has applied the names."""
    shared = owned.shared
    settings = shared.settings
    topic = settings.topic(METER_DEFINITIONS)
    at_ms = shared.clock.now_ms() if settings.test_clock else None
    ids = []
    for source, element, value, message in asides:
        command = commands.set_aside(
            source.partition, source.offset, index=element, code=code, message=message
        )
        ids.append(command.id)
        owned.next_flush.records.append(Record(topic, 0, None, command.encode(), (), at_ms))
        owned.verdicts.refuse([(Refusal(code, message, value, element or 0), source)])
    await owned.flush()
    known = shared.definitions.set_asides
    changed = shared.followed.changed
    async with changed:
        await changed.wait_for(
            lambda: owned.abandoned or all(known.find(identity) is not None for identity in ids)
        )
