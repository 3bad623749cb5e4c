"""Rebuild: a partition whose state is torn or lost folds its logs from the start.

What it published stays published, as far as usage-records has it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

from app.bounds.turns import Work
from app.kafka.names import RecordsToDelete, TopicPartition
from app.kafka.topics import (
    CELLS_CHANGELOG,
    CORRECTIONS_CHANGELOG,
    DAILY_CHANGELOG,
    EVALUATIONS_CHANGELOG,
    EVENTS_REKEYED,
    FIGURES_CHANGELOG,
    INDEX_CHANGELOG,
    INSTANTS_CHANGELOG,
    MEMBERS_CHANGELOG,
    PRESENCE_CHANGELOG,
    PUBLISHED_CHANGELOG,
    admin_client,
)
from app.kafka.transactions import Fenced, PartitionProducer, Record
from app.meter.errors import BeyondRetention
from app.runtime.context import WorkerContext
from app.runtime.partition.member_sync import fill
from app.runtime.partition.owned import OwnedPartition
from app.runtime.topics.changelogs import CHECKPOINT_KEY, newest_values
from app.runtime.topics.daily_topic import daily_of
from app.runtime.topics.instants_topic import read_instants
from app.runtime.topics.spooled_newest import SpooledNewest, spool_of
from app.settings import Settings
from tables.cells.grids import decided_until
from tables.changelogged.checkpoint import Checkpoint, OutputMark
from tables.changelogged.checksum import taking_over
from tables.changelogged.corrections import CorrectionTable
from tables.changelogged.evaluations import EvaluationTable
from tables.changelogged.instants import InstantTable
from tables.changelogged.piece_store import PieceStore
from tables.changelogged.published import PublishedTable, Stands
from tables.event_index.index import EventIndex
from tables.event_index.row_log import RowLog
from tables.partition.partition import Partition
from tables.partition.tables import Carried

_FOLDED_ANEW = (
    MEMBERS_CHANGELOG,
    PRESENCE_CHANGELOG,
    CORRECTIONS_CHANGELOG,
    INSTANTS_CHANGELOG,
)
_EPOCH_BITS = 20


async def fold_anew(
    number: int,
    known: Checkpoint,
    durable: bytes | None,
    newest: Mapping[str, Mapping[bytes, bytes]],
    published: PublishedRecords,
    producer: PartitionProducer,
    shared: WorkerContext,
) -> OwnedPartition:
    """Return a partition that folds its logs from the start.

    Records in usage-records stay published. Records missing there are published again with the
    same bytes and ids, since every record is a function of the logs.

    The first flush at the latest deletes all that an earlier state left behind. With old members
    and index rows, events folded again would look like repetitions, or count twice.

    Raises BeyondRetention, and leaves everything as it is, if events are deleted; Fenced if another
    owner goes on with it.
    """
    settings, store = shared.settings, shared.members
    await _require_newest(number, durable, producer, shared)
    await _require_whole(number, known, shared)
    void = _FOLDED_ANEW if published.whole else (*_FOLDED_ANEW, PUBLISHED_CHANGELOG)
    unread = [name for name in void if name not in newest]
    newest = {**newest, **await newest_values(settings, unread, number)}
    log_start = await _emptied(settings, number)
    stored = await store.state(number)
    epoch = max(known.epoch, stored.epoch) + 1
    # Epochs begin again when all that knew them is lost; offsets never do.
    begun = (log_start << _EPOCH_BITS) + epoch
    checkpoint = Checkpoint(epoch=epoch, index_epoch=begun, output=published.newest)
    # Of one that is torn it was counted by the restore that found it so.
    checkpoint.attempt = max(1, known.attempt)
    # Redis never stood at it: what it may go back to is not taken for what is filled in here.
    checkpoint.flush = max(known.flush, stored.flush or 0) + 1
    corrections = CorrectionTable(spool_of(settings))
    evaluations, torn = await evaluations_of(known, newest[EVALUATIONS_CHANGELOG], shared)
    # Grid cuts are not taken again: what they decided hung on definitions that are others now.
    daily = await daily_of(number, known, newest[DAILY_CHANGELOG], shared)
    # The newest may be half done: a cut ends with the checkpoint, and taken again it says the same.
    begun_ms = max(evaluations.newest_ms, daily.table.newest_ms)
    checkpoint.grid_ms = max(known.grid_done_ms, begun_ms - 1)
    checkpoint.evaluations_lost_ms = known.evaluations_lost_ms
    checkpoint.changed_ms = max(known.cut_ms, known.changed_ms)
    checkpoint.changed_name = known.changed_name
    instants = await _instants(number, shared, begun)
    tables = (published.table, corrections, evaluations, instants, daily.table)
    carried = Carried(checkpoint, None, *tables, *shared.homes.at(number))
    index = open_index(number, shared, begun)
    table = Partition(number, shared.definitions, index, carried=carried, work=shared.tally.work)
    untold = shared.followed.impacts_since(table.changed.next_offset)
    await shared.turns.run(Work("restore", "definitions"), table.changed.telling_again(untold))
    table.snapshot.forget_stored(newest[CELLS_CHANGELOG])
    await shared.turns.run(Work("restore", "daily records"), daily.looking_at_all(table, shared))
    await fill(store, number, checkpoint.epoch, checkpoint.flush, SpooledNewest(spool_of(settings)))
    owned = OwnedPartition(
        table, producer, shared, durable, folds_anew=True, is_new=known.flush == 0
    )
    # Figures that are lost are decided again, each over the cells that there were at its cut.
    loses = _may_lose_figures(known, published, shared)
    checkpoint.figures_whole = not loses
    seen = _decided(shared, -1 if loses else checkpoint.grid_ms)
    owned.renewal.note_seen(seen[0])
    owned.refold_queue.stand_under(seen)
    gone = [(EVALUATIONS_CHANGELOG, torn), (DAILY_CHANGELOG, daily.gone)]
    for name, keys in (*((name, newest[name]) for name in void), *gone):
        topic = settings.topic(name)
        owned.next_flush.add(Record(topic, number, key, None) for key in keys)
    return owned


async def _require_newest(
    number: int, durable: bytes | None, producer: PartitionProducer, shared: WorkerContext
) -> None:
    """Raise Fenced if there is another checkpoint than that of the state that is torn.

    Then a newer owner has flushed while it was read, and goes on with its logs.
    """
    changelog = shared.settings.topic(CELLS_CHANGELOG)
    if await producer.newest(changelog, CHECKPOINT_KEY) != durable:
        raise Fenced(f"partition {number} has a newer owner")


async def _require_whole(number: int, known: Checkpoint, shared: WorkerContext) -> None:
    """Raise BeyondRetention unless its logs have their first records, or it has no state yet."""
    if known.flush == 0:
        return
    settings = shared.settings
    topics = settings.topic(settings.raw_topic), settings.topic(EVENTS_REKEYED)
    begins = zip(topics, await shared.offsets.log_starts(number), strict=True)
    told = " and ".join(f"{topic} begins at offset {start}" for topic, start in begins if start)
    if told:
        raise BeyondRetention(
            f"The state of partition {number} is torn, and {told}: what is left of the events does "
            "not come to it again. Nothing is changed. Put the changelogs back from a copy, or all "
            "of the events (`meter import`, docs/operating.md, Restore)"
        )


async def _emptied(settings: Settings, number: int) -> int:
    """Empty the logs that local disk has; return the offset at which that of the index begins."""
    index, figures = (
        TopicPartition(settings.topic(name), number)
        for name in (INDEX_CHANGELOG, FIGURES_CHANGELOG)
    )
    all_of_it = RecordsToDelete(-1)
    async with admin_client(settings) as admin:
        starts: dict[TopicPartition, int] = await admin.delete_records(
            {index: all_of_it, figures: all_of_it}
        )
    for name in ("index", "figures"):
        rmtree(_directory(settings, name, number), ignore_errors=True)
    return starts[index]


async def _instants(number: int, shared: WorkerContext, begun: int) -> InstantTable:
    """Return the figures that usage-records has; those that it lacks are decided again."""
    instants = InstantTable(open_figures(number, shared, begun))
    if shared.is_state_read_by_all():
        instants.let_rest()
    await read_instants(instants, shared.settings, shared.definitions, number)
    return instants


def _may_lose_figures(
    known: Checkpoint, published: PublishedRecords, shared: WorkerContext
) -> bool:
    """Return whether usage-records may lack figures of events that were decided before."""
    # A state that had cuts to take again may not have come to them yet.
    whole = published.whole and known.flush > 0 and known.cut_ms >= known.grid_ms
    return bool(shared.definitions.plan_index.in_advance) and not whole


def _decided(shared: WorkerContext, grid_done_ms: int) -> tuple[int, int]:
    """Return (next offset, append time) of the definitions that a grid cut to come may show.

    The caller takes over what was defined since: it has grid cuts of its own, or waits for one.
    """
    definitions = shared.definitions
    decided_ms = decided_until(grid_done_ms, definitions.close_grids_ms())
    decided_ms = max(decided_ms, definitions.first_watched_ms - 1)
    if decided_ms >= shared.followed.last[1]:
        return shared.followed.last
    return definitions.last_offset_at(decided_ms) + 1, decided_ms


async def evaluations_of(
    checkpoint: Checkpoint, changelog: Mapping[bytes, bytes], shared: WorkerContext
) -> tuple[EvaluationTable, Iterable[bytes]]:
    """Return what alerts came to, and the keys to delete of a changelog that is torn.

    The checkpoint notes until when it is lost.
    """
    table = EvaluationTable()
    await shared.turns.run(Work("restore", "alerts"), taking_over(table.load, changelog))
    if checkpoint.evaluations_sum in (None, table.sum):
        return table, ()
    checkpoint.evaluations_lost_ms = checkpoint.grid_done_ms
    return EvaluationTable(), list(changelog)


def open_index(number: int, shared: WorkerContext, begun: int) -> EventIndex:
    """Open the index on local disk, unless it was begun before its log was emptied last."""
    directory, identity = _disk_of("index", number, shared.settings, begun)
    tell = partial(shared.discards.tell, "index", number)
    return EventIndex(directory, memory_bytes=shared.index_bytes, identity=identity, tell=tell)


def open_figures(number: int, shared: WorkerContext, begun: int) -> RowLog:
    """Open what rests of figures on local disk, unless its log was emptied since."""
    directory, identity = _disk_of("figures", number, shared.settings, begun)
    tell = partial(shared.discards.tell, "figures", number)
    return RowLog(directory, memory_bytes=shared.figures_bytes, identity=identity, tell=tell)


def _disk_of(name: str, number: int, settings: Settings, begun: int) -> tuple[Path, str]:
    """Return where local disk has a log of a partition, and the identity of what is there."""
    return _directory(settings, name, number), f"{settings.topic_prefix}/{number}/{begun}"


def published_store(number: int, shared: WorkerContext) -> PieceStore[Stands]:
    """Open what local disk has of what a partition has published."""
    settings = shared.settings
    path = settings.directory_of("published") / f"{number}.db"
    tell = partial(shared.discards.tell, "published", number)
    return PieceStore(path, f"{settings.topic_prefix}/{number}", Stands, tell)


def _directory(settings: Settings, name: str, number: int) -> Path:
    return settings.directory_of(name) / str(number)


class PublishedRecords(NamedTuple):
    """The usage records that a partition has published."""

    table: PublishedTable
    newest: OutputMark | None
    whole: bool
    """False: usage-records is not what the checkpoint expects, and `table` is what it has now."""
