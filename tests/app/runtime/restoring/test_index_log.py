"""What a start reads of the log of the event index."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiokafka.admin import NewTopic

from app.bounds.turns import drained
from app.bounds.work_done import WorkDone
from app.kafka.names import TopicPartition
from app.kafka.topics import admin_client
from app.kafka.transactions import PartitionProducer, Record
from app.runtime.restoring.index_log import load_index, load_log
from app.runtime.topics.changelogs import PLACE_HEADER
from app.settings import Settings
from tables.event_index.entries import Entry
from tables.event_index.index import EventIndex, LogDiffers
from tables.event_index.log import log_records
from tables.event_index.row_log import RowLog
from tests.world.live.committed import markers_written

FLUSH_ROWS = 20


class World:
    """An index on local disk, and its log."""

    def __init__(self, settings: Settings, directory: Path):
        self.settings = settings
        self.directory = directory
        self.producer = PartitionProducer(settings, 0)
        self.tp = TopicPartition(settings.topic("index"), 0)
        self.index = EventIndex(directory)
        self.flushes = 0

    async def flush(self, *, places: bool = True) -> None:
        """Add rows, and write them as a flush does; programs before wrote no places."""
        first = self.index.length
        numbers = range(first, first + FLUSH_ROWS)
        self.index.add_many(
            [b"%012d" % n for n in numbers], [Entry(n, 0, n, 0, -1, n) for n in numbers]
        )
        records = [
            Record(self.tp.topic, 0, b"", rows, [(PLACE_HEADER, place.packed())] if places else [])
            for place, rows in log_records(self.index.log_place, self.index.pending())
        ]
        await self.producer.commit(records)
        self.flushes += 1
        self.index.seal_flush(self.flushes)

    async def settle(self) -> None:
        """Wait until a reader sees all flushes, as a new owner does by its producer's start."""
        await markers_written(self.settings, [self.tp])

    async def restarted(self) -> int:
        """Open the index again and load its log; return how many rows were read."""
        work = WorkDone()
        await self.settle()
        self.index = EventIndex(self.directory)
        await load_index(self.settings, work, self.tp, self.index)
        length = self.flushes * FLUSH_ROWS
        assert self.index.length == length
        assert all(self.index.find_many([b"%012d" % n for n in range(length)]))
        return work.counts["restore", "index_rows"]


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    made = World(settings, tmp_path / "index")
    async with admin_client(settings) as admin:
        await admin.create_topics([NewTopic(made.tp.topic, 1, 1)])
    await made.producer.start()
    yield made
    await made.producer.stop()
    made.index.close()


@pytest.mark.servers
@pytest.mark.parametrize("flushes", [20, 100])
async def test_a_start_reads_what_local_disk_lacks_however_long_the_log(
    world: World, flushes: int
) -> None:
    for _ in range(flushes):
        await world.flush()
    world.index.close()
    assert await world.restarted() == FLUSH_ROWS
    # It ends without a word: what was flushed since is on no disk.
    for _ in range(4):
        await world.flush()
    assert await world.restarted() <= 4 * 4 * FLUSH_ROWS


@pytest.mark.servers
async def test_a_log_of_programs_before_is_read_from_its_start(world: World) -> None:
    for _ in range(10):
        await world.flush(places=False)
    world.index.close()
    assert await world.restarted() == 10 * FLUSH_ROWS
    for _ in range(3):
        await world.flush()
    world.index.close()
    assert await world.restarted() == FLUSH_ROWS


@pytest.mark.servers
async def test_without_local_disk_all_of_the_log_is_read(world: World, tmp_path: Path) -> None:
    for _ in range(10):
        await world.flush()
    world.index.close()
    world.directory = tmp_path / "another"
    assert await world.restarted() == 10 * FLUSH_ROWS


@pytest.mark.servers
async def test_a_log_that_went_on_otherwise_is_noticed_by_its_tail(
    world: World, tmp_path: Path
) -> None:
    for _ in range(10):
        await world.flush()
    world.index.close()
    kept = world.directory
    ours = EventIndex(tmp_path / "theirs")
    ours.add_many([b"other row   "], [Entry(0, 0, 0, 0, -1, 0)])
    ours.seal_flush(1)
    world.index, world.directory = ours, tmp_path / "theirs"
    for _ in range(10):
        await world.flush()
    await world.settle()
    with pytest.raises(LogDiffers):
        await load_index(world.settings, WorkDone(), world.tp, EventIndex(kept))


@pytest.mark.servers
async def test_figures_are_read_from_where_their_file_ends(world: World, tmp_path: Path) -> None:
    async def restarted(directory: Path) -> int:
        figures, work = RowLog(directory), WorkDone()
        await load_log(world.settings, work, world.tp, figures.index, figures.load)
        assert all(figures.get(b"%012d" % n) == b"figure %d" % n for n in range(20 * FLUSH_ROWS))
        figures.close()
        return work.counts["restore", "index_rows"]

    figures = RowLog(tmp_path / "figures")
    for flush in range(20):
        for number in range(flush * FLUSH_ROWS, (flush + 1) * FLUSH_ROWS):
            figures.put(b"%012d" % number, b"figure %d" % number)
        records = [
            Record(world.tp.topic, 0, b"", value, [(PLACE_HEADER, place.packed())])
            for place, value in drained(figures.taking())
        ]
        await world.producer.commit(records)
        figures.seal_flush(flush)
    figures.close()
    await world.settle()
    assert await restarted(tmp_path / "figures") == FLUSH_ROWS
    assert await restarted(tmp_path / "another disk") == 20 * FLUSH_ROWS
