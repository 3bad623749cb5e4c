"""The logs of event index and figures: a start reads of them what local disk does not have."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Final, Literal

from app.bounds.discards import Discarded
from app.bounds.work_done import WorkDone
from app.kafka.log_readers import LogRecord, read_tail
from app.kafka.names import TopicPartition
from app.kafka.reading import Reading
from app.kafka.topics import FIGURES_CHANGELOG, INDEX_CHANGELOG
from app.runtime.context import WorkerContext
from app.runtime.restoring.rebuild import open_figures, open_index
from app.runtime.topics.changelogs import PLACE_HEADER
from app.settings import Settings
from tables.changelogged.checkpoint import Checkpoint
from tables.event_index.index import EventIndex, LogDiffers
from tables.event_index.log import LOG_START, RECORD_BYTES, LogPlace
from tables.event_index.row_log import RowLog

LOADED_BYTES: Final = 1 << 16
"""Bytes of figures that are loaded in one step, in some 2 ms."""

_NOWHERE: Final = LogPlace(-1, 0)


async def restored_index(number: int, shared: WorkerContext, checkpoint: Checkpoint) -> EventIndex:
    """Return the event index, from local disk as far as it is intact, the rest from its log."""
    index = open_index(number, shared, checkpoint.index_epoch)
    if index.length > checkpoint.index_length:
        index.truncate(checkpoint.index_length)
    settings, work = shared.settings, shared.tally.work
    tp = TopicPartition(settings.topic(INDEX_CHANGELOG), number)
    load = partial(load_index, settings, work, tp, index)
    await _loaded(shared, "index", tp, load, partial(index.truncate, 0))
    index.seal_flush(checkpoint.flush)
    return index


async def restored_figures(number: int, shared: WorkerContext, checkpoint: Checkpoint) -> RowLog:
    """Return what rests of figures, as `restored_index` does the event index.

    Of a log that has a gap it returns nothing, which is not what the checkpoint says.
    """
    figures = open_figures(number, shared, checkpoint.index_epoch)
    if checkpoint.at_rest == LOG_START:
        # Most have none, and then nothing is asked for.
        figures.begin_anew()
        return figures
    if figures.index.length > checkpoint.at_rest.length:
        figures.index.truncate(checkpoint.at_rest.length)
    settings, work = shared.settings, shared.tally.work
    tp = TopicPartition(settings.topic(FIGURES_CHANGELOG), number)
    load = partial(load_log, settings, work, tp, figures.index, figures.load, LOADED_BYTES)
    try:
        await _loaded(shared, "figures", tp, load, figures.begin_anew)
    except LogDiffers:
        figures.begin_anew()
    figures.seal_flush(checkpoint.flush)
    return figures


async def _loaded(
    shared: WorkerContext,
    what: Literal["index", "figures"],
    tp: TopicPartition,
    load: Callable[[], Awaitable[None]],
    begin_anew: Callable[[], object],
) -> None:
    """Load of a log what local disk lacks; all of it where local disk has something else.

    Raises:
        LogDiffers: so it is when all of it is read.
    """
    try:
        await load()
    except LogDiffers as differs:
        # Brokers lost what was flushed last, and another worker went on from before it.
        shared.rebuilds[what] += 1
        shared.discards.tell(what, tp.partition, Discarded("another", str(differs)))
        begin_anew()
        await load()


async def load_index(
    settings: Settings, work: WorkDone, tp: TopicPartition, index: EventIndex
) -> None:
    """Load the log of the event index, as `load_log` does."""
    await load_log(settings, work, tp, index, lambda parts: index.load(b"".join(parts)))


async def load_log(
    settings: Settings,
    work: WorkDone,
    tp: TopicPartition,
    index: EventIndex,
    take: Callable[[list[bytes]], None],
    most_bytes: int = RECORD_BYTES,
) -> None:
    """Load a log from where local disk ends; from its start if that is not to be found.

    `index`: what finds its rows. `take` takes over some records, in one step, which have so many
    bytes at most if they are several.

    Raises:
        LogDiffers: local disk has other rows than the log.
    """
    begun = False
    async with _tail(settings, tp, index) as batches:
        async for records in batches:
            place = _place_of(records[0])
            if not begun and 0 < place.length <= index.length:
                index.read_from(place)
            begun = True
            for parts in _some_of(records, most_bytes):
                length = index.log_place.length
                take(parts)
                work.add("restore", "index_rows", index.log_place.length - length)
                await asyncio.sleep(0)
    if not index.is_of_log:
        raise LogDiffers("the log has fewer rows than the event index on local disk")


def _tail(settings: Settings, tp: TopicPartition, index: EventIndex) -> Reading[list[LogRecord]]:
    return read_tail(
        settings,
        tp,
        (lambda record: 0 <= _place_of(record).length <= index.length) if index.length else None,
    )


def _place_of(record: LogRecord) -> LogPlace:
    """Return where a record stands in the log; it has no place if it does not say."""
    for name, packed in record.headers:
        if name == PLACE_HEADER and packed is not None:
            try:
                return LogPlace.unpacked(packed)
            except struct.error:
                break
    return _NOWHERE


def _some_of(records: list[LogRecord], most_bytes: int) -> Iterator[list[bytes]]:
    """Yield the rows of small records together."""
    parts: list[bytes] = []
    size = 0
    for record in records:
        rows = record.value or b""
        if parts and size + len(rows) > most_bytes:
            yield parts
            parts, size = [], 0
        parts.append(rows)
        size += len(rows)
    yield parts
