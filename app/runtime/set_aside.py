"""Setting aside by hand: records of the raw topic that nothing can or shall count.

Whoever names a record takes the fence of the partition that would fold it first, so that nobody
folds meanwhile, and makes sure that it is not folded yet. The owner is fenced by that and takes the
partition over again. Records that are deleted are named the same way; the next owner passes them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from contextlib import AsyncExitStack
from itertools import chain

import msgspec

from app.definitions import commands
from app.definitions.command import Command
from app.definitions.judging import Judging
from app.definitions.model import SetAside
from app.definitions.state import Definitions
from app.kafka.log_readers import LogRecord, bounds, read_to_end, scan
from app.kafka.names import TopicPartition
from app.kafka.topics import CELLS_CHANGELOG, METER_DEFINITIONS, METER_PROGRESS
from app.kafka.transactions import PartitionProducer, Record
from app.meter.errors import NotSetAside
from app.runtime.believed import Append, append_believed
from app.runtime.homes import HomePartitions
from app.runtime.progress import Seal
from app.runtime.topics.changelogs import CHECKPOINT_KEY
from app.settings import Settings
from app.wire.arrivals import ADMIT_HEADER, Arrived, arrivals_of, index_of
from app.wire.decode import decode_record, is_tick
from app.wire.refusals import Refusal
from tables.changelogged.checkpoint import Checkpoint

Element = tuple[int, int]
"""(raw offset, array index)"""


async def set_aside(
    settings: Settings,
    definitions: Definitions,
    number: int,
    first: int,
    after: int,
    *,
    code: str,
    message: str,
    timestamp_ms: int | None = None,
) -> list[Command]:
    """Set aside the offsets from `first` up to and without `after`; what was appended for it.

    Raises:
        NotSetAside: there is no such partition or offset, or some of it is folded and may be
            published.
        Fenced: another worker took a partition over meanwhile; some of it may be set aside.
    """
    if not 0 <= number < settings.raw_partitions:
        last = settings.raw_partitions - 1
        raise NotSetAside(f"there is no partition {number}; the last is {last}")
    raw = TopicPartition(settings.topic(settings.raw_topic), number)
    start, end = await bounds(settings, raw)
    if not 0 <= first < after <= end:
        raise NotSetAside(f"partition {number} ends at offset {end}: name offsets before it")
    spread = await _spread(settings, definitions, raw, max(start, first), after)
    offsets = {offset for elements in spread.values() for offset, _ in elements}
    appended: dict[int, list[Command]] = {
        home: [
            commands.set_aside(number, offset, index=index, code=code, message=message)
            for offset, index in elements
        ]
        for home, elements in spread.items()
    }
    for begin, upto in _between(first, after, offsets):
        whole = commands.set_aside(number, begin, count=upto - begin, code=code, message=message)
        appended.setdefault(number, []).append(whole)
    async with AsyncExitStack() as stack:
        fences: dict[int, PartitionProducer] = {}
        for home in appended:
            producer = fences[home] = PartitionProducer(settings, home)
            stack.push_async_callback(producer.stop)
            await producer.start()
        # No owner can replace these any more.
        newest: dict[int, Checkpoint] = {}
        for home, producer in fences.items():
            packed = await producer.newest(settings.topic(CELLS_CHANGELOG), CHECKPOINT_KEY)
            newest[home] = (
                msgspec.msgpack.decode(packed, type=Checkpoint) if packed else Checkpoint()
            )
            if newest[home].raw_next < await _told(settings, home):
                raise NotSetAside(f"partition {home} is folded anew; wait until it is done")
            _require_unfolded(newest[home], number, home, first, spread.get(home, ()))
        for home, made in appended.items():
            records = _records_of(settings, home, made, newest[home], timestamp_ms)
            await fences[home].commit(records)
    return [command for made in appended.values() for command in made]


async def _spread(
    settings: Settings, definitions: Definitions, raw: TopicPartition, first: int, after: int
) -> dict[int, dict[Element, None]]:
    """Return the elements that are to be folded at other homes, in order, by home."""
    spread: dict[int, dict[Element, None]] = defaultdict(dict)
    homes = HomePartitions(definitions, settings.raw_partitions)
    judging = Judging.by(definitions)
    async with scan(settings, raw, first, after) as batches:
        async for records in batches:
            away = (_away(record, raw.partition, homes, judging) for record in records)
            for home, element in chain.from_iterable(away):
                spread[home][element] = None
    return spread


def _records_of(
    settings: Settings,
    home: int,
    made: Iterable[Command],
    checkpoint: Checkpoint,
    timestamp_ms: int | None,
) -> list[Record]:
    """Return what is committed under the fence of one home."""
    topic = settings.topic(METER_DEFINITIONS)
    records = [Record(topic, 0, None, c.encode(), (), timestamp_ms) for c in made]
    if checkpoint.flush > 0:
        # Whoever has a flush that was not taken sees by it that it is not the owner.
        checkpoint.epoch += 1
        value = msgspec.msgpack.encode(checkpoint)
        changelog = settings.topic(CELLS_CHANGELOG)
        records.append(Record(changelog, home, CHECKPOINT_KEY, value))
    return records


def _away(
    record: LogRecord, number: int, homes: HomePartitions, judging: Judging
) -> list[tuple[int, Element]]:
    """Return (home, element) of each element of a record; [] if all are at home here."""
    try:
        found = arrivals_of(
            record.value, record.headers, record.timestamp_ms, number, record.offset, judging
        )
    except Exception:
        # Nobody has made anything of it: it was never forwarded.
        return []
    placed = [(_home(each, number, homes), (record.offset, index_of(each))) for each in found]
    return placed if any(home != number for home, _ in placed) else []


def _home(arrived: Arrived, number: int, homes: HomePartitions) -> int:
    return number if isinstance(arrived, Refusal) else homes.of(*arrived.name)


def _between(first: int, after: int, without: Iterable[int]) -> list[tuple[int, int]]:
    """Return the ranges of [first, after) that are left without some offsets."""
    ranges = []
    for offset in [*sorted(without), after]:
        if first < offset:
            ranges.append((first, offset))
        first = offset + 1
    return ranges


async def _told(settings: Settings, number: int) -> int:
    """Return the highest raw offset that owners reported; a lost state had reached it, too."""
    told, seal = 0, Seal(settings)
    tp = TopicPartition(settings.topic(METER_PROGRESS), 0)
    async with read_to_end(settings, [tp]) as batches:
        async for _, records in batches:
            for _, key, value in records:
                if key == str(number).encode() and value is not None:
                    progress = seal.open(value)
                    told = max(told, 0 if progress is None else progress.raw_next)
    return told


def _require_unfolded(
    checkpoint: Checkpoint, number: int, home: int, first: int, elements: Iterable[Element]
) -> None:
    if home == number:
        folded = first if first < checkpoint.raw_next else None
    else:
        mark = checkpoint.marks.get(number, (-1, -1))
        folded = next((offset for offset, index in elements if (offset, index) <= mark), None)
    if folded is not None:
        raise NotSetAside(
            f"events of offset {folded} are folded on partition {home}, and may be in published "
            "records. Cancel them by transaction_id (`meter events cancel`)"
        )


async def append_again(
    settings: Settings, definitions: Definitions, one: SetAside, append: Append
) -> int:
    """Append what is set aside anew, where it was, admitted; how many records that makes.

    What retention has taken is not appended. Done twice it changes nothing: what counted is a
    duplicate.
    """
    raw = TopicPartition(settings.topic(settings.raw_topic), one.partition)
    start, end = await bounds(settings, raw)
    appended = 0
    first, after = max(start, one.offset), min(end, one.offset + one.count)
    async with scan(settings, raw, first, after) as batches:
        async for records in batches:
            for record in records:
                value = record.value
                if is_tick(record.key, value, record.headers):
                    continue
                if one.index is not None:
                    element = dict(decode_record(value, record.headers))[one.index]
                    value = element.value if isinstance(element, Refusal) else element.body
                headers = [*record.headers, (ADMIT_HEADER, b"true")]
                place = (record.key, value, one.partition, headers)
                # Whose it is it says as before.
                await append_believed(settings, definitions, append, None, *place, granted_by=None)
                appended += 1
    return appended
