"""Restore: a partition's state from its changelogs, checked before anything is folded into it.

Counts and hash sums of the partition record must agree with what was read; a state that does not is
thrown away and rebuilt from the raw topic, which is the truth (state.md §3, §4).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
from aiokafka import TopicPartition

from app.definitions.outcome import Touch
from app.owned import PARTITION_RECORD_KEY, OwnedPartition, Shared
from app.topics import (
    CELLS_CHANGELOG,
    INDEX_CHANGELOG,
    MEMBERS_CHANGELOG,
    PRESENCE_CHANGELOG,
    PUBLISHED_CHANGELOG,
)
from tables.cells import FOLD_VERSION
from tables.dedupe import EventIndex
from tables.members import MemberName
from tables.partition import Pair, Partition, PartitionRecord, StateTooNew
from tables.stores.changelog import PartitionProducer, read_to_end
from tables.stores.index_segments import ROW_BYTES

log = logging.getLogger(__name__)

TouchesSince = Callable[[int], list[tuple[int, int, Touch]]]


async def restore(
    number: int, producer: PartitionProducer, shared: Shared, touches_since: TouchesSince
) -> OwnedPartition:
    """The partition as its last flush left it, under a new epoch, ready to be scheduled."""
    cells = await _newest(shared, CELLS_CHANGELOG, number)
    packed_record = cells.pop(PARTITION_RECORD_KEY, None)
    if packed_record is None:
        return OwnedPartition(_empty(number, shared), producer, shared)
    record = msgspec.msgpack.decode(packed_record, type=PartitionRecord)
    if record.fold_version > FOLD_VERSION:
        raise StateTooNew(
            f"partition {number} was written by fold version {record.fold_version}, this program "
            f"knows {FOLD_VERSION}: start the newer program"
        )
    table = Partition(number, shared.definitions, await _restored_index(number, shared, record))
    table.record = record
    for key, value in (await _newest(shared, PRESENCE_CHANGELOG, number)).items():
        table.presence.load(key, value)
    for key, value in (await _newest(shared, PUBLISHED_CHANGELOG, number)).items():
        table.published.load(key, value)
    for key, value in cells.items():
        table.load_cell(key, value)
    refolds = _catch_up(table, touches_since)
    intact = table.restored() and table.index.length == record.index_length
    record.epoch += 1
    if not intact:
        log.error("State of partition %s is torn: it is rebuilt from the raw topic", number)
        return _rebuilding(table, cells, producer, shared)
    await _restore_members(number, shared, table)
    owned = OwnedPartition(table, producer, shared)
    owned.definitions_taken = (record.definitions_offset, record.definitions_ms)
    if refolds:
        owned.want_refold(refolds, record.definitions_ms)
    else:
        owned.definitions_taken = shared.last_definition
    return owned


def _catch_up(table: Partition, touches_since: TouchesSince) -> set[Pair]:
    """Definitions that were applied since the flush: which pairs they send elsewhere."""
    refolds: set[Pair] = set()
    for _, append_time_ms, touch in touches_since(table.record.definitions_offset):
        if append_time_ms <= table.record.definitions_ms:
            # The same millisecond: as-of look-ups cannot tell the two apart.
            refolds |= table.pairs_of(touch)
        refolds |= table.touched(touch, until_ms=table.record.definitions_ms)
    return refolds


def _empty(number: int, shared: Shared) -> Partition:
    table = Partition(number, shared.definitions, EventIndex(memory_bytes=_memory_share(shared)))
    table.record.epoch = 1
    return table


def _rebuilding(
    torn: Partition,
    cells: dict[bytes, bytes],
    producer: PartitionProducer,
    shared: Shared,
) -> OwnedPartition:
    """An empty partition that folds everything again; what was published stays published."""
    table = _empty(torn.number, shared)
    table.record.epoch = torn.record.epoch
    table.record.flush = torn.record.flush
    table.published = torn.published
    table.forget_stored(cells)
    return OwnedPartition(table, producer, shared)


async def _newest(shared: Shared, changelog: str, number: int) -> dict[bytes, bytes]:
    """The newest value of every key of a compacted changelog; deleted keys are left out."""
    settings = shared.settings
    tp = TopicPartition(settings.topic(changelog), number)
    newest: dict[bytes, bytes] = {}
    async for _, records in read_to_end(settings, [tp]):
        for _, key, value in records:
            if value is None:
                newest.pop(key, None)
            else:
                newest[key] = value
    return newest


async def _restored_index(number: int, shared: Shared, record: PartitionRecord) -> EventIndex:
    """The event index from local disk as far as it is intact, the rest from its log."""
    settings = shared.settings
    index = EventIndex(
        _index_directory(settings.state_dir, settings.topic_prefix, number),
        memory_bytes=_memory_share(shared),
        identity=f"{settings.topic_prefix}/{number}",
    )
    if index.length > record.index_length:
        index.truncate(record.index_length)
    known_bytes = index.length * ROW_BYTES
    tp = TopicPartition(settings.topic(INDEX_CHANGELOG), number)
    read_bytes = 0
    async for _, records in read_to_end(settings, [tp]):
        for _, _, rows in records:
            if rows is None:
                continue
            fresh = rows[max(0, known_bytes - read_bytes) :]
            read_bytes += len(rows)
            if fresh:
                index.load(fresh)
    index.seal_flush(record.flush)
    return index


def _index_directory(state_dir: Path, prefix: str, number: int) -> Path:
    return state_dir / "index" / f"{prefix or 'meter'}" / str(number)


def _memory_share(shared: Shared) -> int:
    return max(1 << 20, shared.settings.dedupe_memory_bytes // shared.settings.raw_partitions)


async def _restore_members(number: int, shared: Shared, table: Partition) -> None:
    """Use the members store if it stands at the flush; else fill it from the member changelog."""
    store, record = shared.members, table.record
    if await store.stands_at(number, record.flush):
        return
    log.warning("Members of partition %s are rebuilt from their changelog", number)
    newest = await _newest(shared, MEMBERS_CHANGELOG, number)
    await store.replace_all(number, record.epoch, record.flush, _named(newest.items()))


def _named(records: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[MemberName, bytes]]:
    for key, value in records:
        yield msgspec.msgpack.decode(key, type=tuple[bytes, str]), value
