"""Restore: a partition's state from its changelogs, checked before anything is folded into it.

Counts and hash sums of the checkpoint must agree with what was read; a state that does not is
thrown away and rebuilt from the raw topic, which is the truth (state.md §3, §4).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from functools import partial
from itertools import chain

import msgspec

from app.bounds.discards import Discarded
from app.bounds.turns import Steps, Work, in_steps
from app.definitions.model import FOLD_VERSION
from app.definitions.outcome import Impact
from app.kafka.log_readers import LogRecord, bounds, read_tail
from app.kafka.names import TopicPartition
from app.kafka.topics import (
    CELLS_CHANGELOG,
    CORRECTIONS_CHANGELOG,
    DAILY_CHANGELOG,
    EVALUATIONS_CHANGELOG,
    INSTANTS_CHANGELOG,
    METER_DEFINITIONS,
    PRESENCE_CHANGELOG,
    PUBLISHED_CHANGELOG,
    output_tp,
)
from app.kafka.transactions import PartitionProducer, Record
from app.log import facts
from app.runtime.context import WorkerContext
from app.runtime.followed import DefinitionsLost
from app.runtime.partition.member_sync import fill
from app.runtime.partition.owned import OwnedPartition
from app.runtime.restoring.index_log import restored_figures, restored_index
from app.runtime.restoring.rebuild import (
    PublishedRecords,
    evaluations_of,
    fold_anew,
    published_store,
)
from app.runtime.topics.changelogs import (
    ANY_METER_KEY,
    CHECKPOINT_KEY,
    Take,
    newest_into,
    read_changelogs,
)
from app.runtime.topics.daily_topic import daily_of
from app.runtime.topics.published_topic import output_stands, read_published
from app.runtime.topics.spooled_newest import newest_members, spool_of
from app.wire.arrivals import MeterKey
from tables.changelogged.checkpoint import Checkpoint, StateTooNew
from tables.changelogged.checksum import taking_over
from tables.changelogged.corrections import CorrectionTable
from tables.changelogged.instants import InstantTable
from tables.changelogged.piece_store import PieceStore
from tables.changelogged.published import PublishedTable, Stands
from tables.changelogged.published_key import cut_in
from tables.partition.partition import Partition
from tables.partition.tables import Carried

log = logging.getLogger(__name__)

_RESTORED_FROM = (
    CELLS_CHANGELOG,
    PRESENCE_CHANGELOG,
    EVALUATIONS_CHANGELOG,
    INSTANTS_CHANGELOG,
    DAILY_CHANGELOG,
)
_RESTORING = Work("restore", "state")
"""In turns with the fold: partitions taken over before go on meanwhile."""


async def restore(
    number: int, producer: PartitionProducer, shared: WorkerContext, told_epoch: int
) -> tuple[OwnedPartition, Steps[None] | None]:
    """Return the partition as its last flush left it, under a new epoch, ready to be scheduled.

    With steps that queue what it has to fold again, which the caller takes before; None: there is
    nothing. `told_epoch`: the highest that anybody reported progress of it under.
    """
    newest: dict[str, dict[bytes, bytes]] = {name: {} for name in _RESTORED_FROM}
    takes = {name: newest_into(values) for name, values in newest.items()}
    corrections, keys = CorrectionTable(spool_of(shared.settings)), dict[bytes, bytes]()
    takes[CORRECTIONS_CHANGELOG], newest[CORRECTIONS_CHANGELOG] = _loading(corrections, keys), keys
    store = published_store(number, shared)
    _, kept = await asyncio.gather(
        read_changelogs(shared.settings, takes, number), _load_published(number, shared, store)
    )
    # Who had it before may have been ahead: its cells stand under what is to be read here yet. And
    # what it set aside just before it was fenced must not be folded here. After the state is read,
    # for whoever stands still in between reads that of a newer owner.
    end = await shared.followed.caught_up()
    cells = newest[CELLS_CHANGELOG]
    packed_checkpoint = cells.pop(CHECKPOINT_KEY, None)
    if packed_checkpoint is None:
        unknown = Checkpoint(epoch=told_epoch)
        published = await _published(number, shared, unknown, store, kept)
        return await fold_anew(number, unknown, None, newest, published, producer, shared), None
    checkpoint = _readable(number, packed_checkpoint, end, shared)
    index = await restored_index(number, shared, checkpoint)
    instants = InstantTable(await restored_figures(number, shared, checkpoint))
    published = await _published(number, shared, checkpoint, store, kept)
    checkpoint.output = published.newest
    evaluations, torn = await evaluations_of(checkpoint, newest[EVALUATIONS_CHANGELOG], shared)
    daily = await daily_of(number, checkpoint, newest[DAILY_CHANGELOG], shared)
    tables = (published.table, corrections, evaluations, instants, daily.table)
    carried = Carried(checkpoint, None, *tables, *shared.homes.at(number))
    state = Partition(number, shared.definitions, index, carried=carried, work=shared.tally.work)
    await shared.turns.run(_RESTORING, _loading_state(state, newest))
    # What is defined from here on, the caller takes over.
    seen = shared.followed.last
    impacts = shared.followed.impacts_since(checkpoint.definitions_offset)
    refolds, unclear = await shared.turns.run(_RESTORING, _catching_up(state, impacts, shared))
    untold = shared.followed.impacts_since(state.changed.next_offset)
    await shared.turns.run(_RESTORING, state.changed.telling_again(untold))
    intact = await shared.turns.run(_RESTORING, state.restored())
    intact = intact and state.index.length == checkpoint.index_length
    checkpoint.epoch = max(checkpoint.epoch, told_epoch) + 1
    checkpoint.attempt += 1
    intact = intact and await _restore_members(number, shared, state)
    if not intact:
        shared.rebuilds["partition"] += 1
        text = "State of partition %s is torn: it is rebuilt from the raw topic"
        log.error(text, number, extra=facts("note", partition=number))
    if not (intact and published.whole):
        state.index.close()
        state.instants.close()
        owned = await fold_anew(
            number, checkpoint, packed_checkpoint, newest, published, producer, shared
        )
        # Whatever was before the flush has gone to its homes; others wait for what came since.
        owned.note_forwarded(checkpoint.raw_next, checkpoint.append_time_ms)
        return owned, None
    newest.clear()
    cells.clear()
    await shared.turns.run(_RESTORING, daily.looking_at_all(state, shared))
    owned = OwnedPartition(state, producer, shared, packed_checkpoint)
    for changelog, gone in ((EVALUATIONS_CHANGELOG, torn), (DAILY_CHANGELOG, daily.gone)):
        topic = shared.settings.topic(changelog)
        owned.next_flush.add(Record(topic, number, key, None) for key in gone)
    owned.renewal.note_seen(seen[0])
    return owned, _queueing(owned, refolds, unclear, seen)


def _readable(number: int, packed: bytes, end: int, shared: WorkerContext) -> Checkpoint:
    """Return the checkpoint, if this program can go on with it.

    `end`: where the definitions log ends.

    Raises:
        StateTooNew: a newer program wrote it.
        DefinitionsLost: it was folded with definitions that the log does not have.
    """
    checkpoint = msgspec.msgpack.decode(packed, type=Checkpoint)
    if checkpoint.is_too_new:
        raise StateTooNew(
            f"partition {number} was written by fold version {checkpoint.fold_version}, this "
            f"program knows {FOLD_VERSION}: start the newer program"
        )
    if checkpoint.definitions_offset > end:
        raise DefinitionsLost(
            shared.settings.topic(METER_DEFINITIONS),
            f"ends at offset {end}, but partition {number} was folded with definitions up to "
            f"{checkpoint.definitions_offset}",
        )
    return checkpoint


def _loading_state(state: Partition, newest: dict[str, dict[bytes, bytes]]) -> Steps[None]:
    for changelog, load in (
        (PRESENCE_CHANGELOG, state.event_ranges.load),
        (CELLS_CHANGELOG, state.packing.load_cell),
        (INSTANTS_CHANGELOG, state.instants.load),
    ):
        yield from taking_over(load, newest[changelog])
        state.work.add("restore", "log_records", len(newest[changelog]))
    yield from state.loaded()


def _queueing(
    owned: OwnedPartition,
    refolds: Iterable[MeterKey],
    unclear: Iterable[MeterKey],
    seen: tuple[int, int],
) -> Steps[None]:
    """Queue all that is to be folded again; `seen`: the definitions there are, by offset and time.

    `refolds`: what the definitions since the last flush send elsewhere. `unclear`: whose routes may
    show them already, which a cut before them must not.
    """
    queue, state = owned.refold_queue, owned.state
    checkpoint = state.checkpoint
    queue.stand_under((checkpoint.definitions_offset, checkpoint.definitions_ms))
    # One that was queued may be for an earlier copy of an event: all cuts to come wait for it.
    for meter_key in chain(refolding_keys(state), unclear):
        queue.want((meter_key,), checkpoint.cut_ms)
        yield
    for meter_key in refolds:
        queue.want((meter_key,), checkpoint.definitions_ms, redefined=True)
        yield
    queue.want_orphaned()
    if not queue.meter_keys and state.standing.behind_since_ms is None:
        queue.stand_under(seen)
    # Which of them the cells show is not written down.
    for name in (yield from state.corrected.following_all()):
        queue.requeue_corrections((name,), checkpoint.cut_ms)
        yield


def refolding_keys(state: Partition) -> Iterable[MeterKey]:
    """Return what was under a refold, or to be, at the last flush."""
    meter_keys = state.checkpoint.refolding
    return state.event_ranges.all_meter_keys() if ANY_METER_KEY in meter_keys else meter_keys


def _loading(corrections: CorrectionTable, keys: dict[bytes, bytes]) -> Take:
    """Return what takes corrections over as they are read: all of them have no room in memory.

    `keys` gets the keys of what the changelog has, without values.
    """

    def take(key: bytes, value: bytes | None) -> None:
        corrections.load(key, value)
        if value is None:
            keys.pop(key, None)
        else:
            keys[key] = b""

    return take


def _catching_up(
    state: Partition, impacts: Iterable[tuple[int, int, Impact]], shared: WorkerContext
) -> Steps[tuple[set[MeterKey], set[MeterKey]]]:
    """Apply definitions that came since the flush; return which meter keys they send elsewhere.

    And those of whose cells it is not known under which of them they stand.
    """
    checkpoint, refolds, unclear = state.checkpoint, set[MeterKey](), set[MeterKey]()
    for _, append_time_ms, impact in impacts:
        if shared.homes.of_impact(impact) not in (None, state.number):
            # Of those at home elsewhere it is not told while it is owned either.
            yield
            continue
        if append_time_ms <= checkpoint.definitions_ms or checkpoint.refolding or checkpoint.behind:
            # The same millisecond: as-of look-ups cannot tell the two apart. Or some meter keys
            # were refolded for one of them, or looked at, and others, at the flush, were to be.
            for meter_key in state.redirection.meter_keys_of(impact, append_time_ms):
                unclear.add(meter_key)
                yield
        state.redefinition.tell(impact, append_time_ms, until_ms=checkpoint.definitions_ms)
        yield
    for renewed in state.redefinition.renewing(waits=True):
        refolds |= renewed.refold if renewed is not None else set()
        yield
    return refolds, unclear


async def _published(
    number: int,
    shared: WorkerContext,
    checkpoint: Checkpoint,
    store: PieceStore[Stands],
    kept: PublishedTable,
) -> PublishedRecords:
    """Return what was published by its changelog; if that is torn, by the usage records.

    `kept`: what was loaded of `store` and the changelog.

    Both are asked: a topic that was deleted or cut has not what its changelog says.
    """
    settings, expected = shared.settings, checkpoint.published_sum
    if kept.began is not None and expected != kept.sum:
        why = Discarded("another", "its log, or a flush that the brokers have lost")
        shared.discards.tell("published", number, why)
        store.discard()
        kept = await _load_published(number, shared, store)
    torn, mark = expected not in (None, kept.sum), checkpoint.output
    stands = mark is not None and await output_stands(settings, number, mark)
    if torn:
        shared.rebuilds["published"] += 1
        text = "What was published of partition %s is torn: usage-records are read"
        log.error(text, number, extra=facts("note", partition=number))
    elif mark is None and kept.sum.records == 0:
        return PublishedRecords(kept, None, whole=True)
    elif stands:
        return PublishedRecords(kept, mark, whole=True)
    found, newest = await read_published(settings, shared.definitions, number)
    # The sum says nothing of records of single events, but the mark does.
    if torn and found.sum == expected and (stands or mark is None):
        found.take_over(store)
        return PublishedRecords(found, newest, whole=True)
    tp = output_tp(settings, number)
    if not torn and mark is None:
        # Retention may have taken what the topic lacks: nothing was noted to tell a cut one by.
        start, _ = await bounds(settings, tp)
        if start > 0 or found.sum == kept.sum:
            return PublishedRecords(kept, newest, whole=True)
    shared.rebuilds["published"] += not torn
    log.error(
        "%s is not what partition %s published: what it lacks is published again",
        tp.topic,
        number,
        extra=facts("note", partition=number),
    )
    found.take_over(store)
    return PublishedRecords(found, newest, whole=False)


async def _load_published(
    number: int, shared: WorkerContext, store: PieceStore[Stands] | None
) -> PublishedTable:
    """Return what local disk has, and of the changelog what came since; None: all of that."""
    table = PublishedTable(store)
    tp = TopicPartition(shared.settings.topic(PUBLISHED_CHANGELOG), number)
    is_early = None if table.began is None else partial(_is_before, table.began.cut_ms)
    async with read_tail(shared.settings, tp, is_early) as batches:
        async for records in batches:
            await shared.turns.run(_RESTORING, in_steps(records, partial(_load_records, table)))
            shared.tally.work.add("restore", "log_records", len(records))
            takes = await shared.turns.run(_RESTORING, table.loading())
            if not takes and store is not None:
                text = "Local disk takes nothing of what partition %s published, memory does: %s"
                extra = facts("note", partition=number)
                log.warning(text, number, store.disk_error, extra=extra)
                store.discard()
                return await _load_published(number, shared, None)
            if table.began is not None:
                # To make very much last at once would hold the loop.
                await shared.turns.run(_RESTORING, table.storing())
    await shared.turns.run(_RESTORING, table.storing())
    return table


def _load_records(table: PublishedTable, records: Iterable[LogRecord]) -> None:
    table.load_all([(record.key or b"", record.value) for record in records])


def _is_before(cut_ms: int, record: LogRecord) -> bool:
    """Return whether a record, and so all records before it, is of an earlier cut."""
    return record.value is not None and cut_in(record.key or b"", record.value) < cut_ms


async def _restore_members(number: int, shared: WorkerContext, state: Partition) -> bool:
    """Use the members store if it stands at the flush; else fill it from the member changelog.

    While it does not answer, whoever needs it first finds out. False when that changelog has to be
    read and is torn.
    """
    store, checkpoint = shared.members, state.checkpoint
    stands = await store.stands_at(number, checkpoint.flush)
    if stands and checkpoint.members_sum is not None:
        return True
    members = await newest_members(shared.settings, number)
    found = await members.sum()
    if checkpoint.members_sum not in (None, found):
        return False
    state.members.sum = found
    if stands is False:
        shared.rebuilds["members"] += 1
        text = "Members of partition %s are rebuilt from their changelog"
        log.warning(text, number, extra=facts("note", partition=number))
        # Kafka may have gone back by some owners, and Redis not.
        checkpoint.epoch = max(checkpoint.epoch, (await store.state(number)).epoch + 1)
        await fill(store, number, checkpoint.epoch, checkpoint.flush, members)
    return True
