"""A place in a log is found by halving, markers of transactions between its records."""

from __future__ import annotations

import pytest

from app.bounds.work_done import WorkDone
from app.kafka.log_readers import LogRecord
from app.kafka.log_search import searching
from app.kafka.names import TopicPartition
from app.kafka.transactions import Record
from app.settings import Settings
from tests.app.kafka.test_transactions import create_topics
from tests.world.live.committed import commit, markers_written

pytestmark = pytest.mark.servers

RECORDS, A_FLUSH = 3_000, 35


def number_of(record: LogRecord) -> int:
    return int(record.value or b"")


@pytest.fixture
async def tp(settings: Settings) -> TopicPartition:
    """A partition with 0, 0, 2, 2, 4, 4, …, 35 of them in a transaction."""
    await create_topics(settings, "found")
    topic = settings.topic("found")
    values = [b"%d" % (number - number % 2) for number in range(RECORDS)]
    flushes = (values[first : first + A_FLUSH] for first in range(0, RECORDS, A_FLUSH))
    await commit(settings, *([Record(topic, 0, b"k", each) for each in some] for some in flushes))
    await markers_written(settings, [TopicPartition(topic, 0)])
    return TopicPartition(topic, 0)


async def test_the_first_record_that_is_not_before(settings: Settings, tp: TopicPartition) -> None:
    for wanted in (0, 1, 2, 731, 1_500, RECORDS - 2, RECORDS):
        await _is_found(settings, tp, wanted)


async def _is_found(settings: Settings, tp: TopicPartition, wanted: int) -> None:
    work = WorkDone()
    async with searching(settings, tp, work) as log:
        offset = await log.first_not_before(lambda record: number_of(record) < wanted)
        looked_at = work.counts["query", "log_records"]
        found = [record async for records in log.records(offset) for record in records]
        again = await log.first_not_before(lambda record: number_of(record) < wanted, offset)
        assert again == offset
        places = [record.offset for record in found[:3]]
        assert list(await log.at([*places, log.end + 5])) == places
    assert [number_of(record) for record in found] == [
        number - number % 2 for number in range(RECORDS) if number - number % 2 >= wanted
    ]
    assert looked_at < 40
