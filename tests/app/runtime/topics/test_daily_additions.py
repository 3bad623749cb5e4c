"""The daily records are read on from where they were read to, and anew if that is gone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from shutil import rmtree
from typing import Any

import msgspec
import pytest
from aiokafka.admin import NewTopic

from app.bounds.discards import Discards
from app.bounds.turns import Steps, Turns
from app.bounds.work_done import WorkDone
from app.kafka.names import TopicPartition
from app.kafka.topics import USAGE_DAILY, admin_client
from app.kafka.transactions import PartitionProducer, Record
from app.runtime.offsets import Offsets
from app.runtime.topics.daily_additions import DailyAdditions
from app.settings import Settings
from tables.changelogged.added_days import AddedDays
from tests.world.live.committed import markers_written
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

YEAR = date(2024, 1, 1), date(2024, 12, 31)
PARTITIONS = (0, 1)


def record(number: int, units: str = "1.0") -> bytes:
    value = {
        "lago_subscription_id": "subscription",
        "day": f"2024-03-{1 + number % 31:02}",
        "plan_code": "plan",
        "amount_currency": "EUR",
        "billable_metric": {"code": "calls", "recurring": False},
        "delta_units": units,
    }
    return msgspec.json.encode(value)


class World:
    """Two partitions of usage-daily, and a worker that has both."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.topic = settings.topic(USAGE_DAILY)
        self.tps = [TopicPartition(self.topic, number) for number in PARTITIONS]
        self.producers = [PartitionProducer(settings, number) for number in PARTITIONS]
        self.offsets = Offsets(settings)
        self.restart()

    def restart(self) -> None:
        """Begin anew, with what local disk has."""
        self.work = WorkDone()
        self.discards = Discards()
        self.additions = DailyAdditions(
            self.settings, self.offsets, Turns(), self.work, self.discards
        )

    async def make_topic(self) -> None:
        async with admin_client(self.settings) as admin:
            await admin.create_topics([NewTopic(self.topic, len(PARTITIONS), 1)])

    async def publish(self, number: int, values: list[bytes]) -> None:
        records = [Record(self.topic, number, b"key", value) for value in values]
        await self.producers[number].commit(records)
        await markers_written(self.settings, [TopicPartition(self.topic, number)])

    async def units(self) -> list[Decimal]:
        """What all days of each partition come to."""
        async with self.additions.opened(PARTITIONS) as found:
            days = {number: list(each.of("subscription", *YEAR)) for number, each in found.items()}
        return [sum((each.units for each in days[n]), Decimal()) for n in PARTITIONS]

    def taken(self) -> int:
        """How many records were read since the last call, but for those that were known."""
        return self.work.counts.pop(("query", "log_records"), 0)


@pytest.fixture
async def world(settings: Settings, tmp_path: Path) -> AsyncIterator[World]:
    made = World(settings.model_copy(update={"state_dir": tmp_path}))
    await made.make_topic()
    await made.offsets.start()
    for producer in made.producers:
        await producer.start()
    yield made
    for producer in made.producers:
        await producer.stop()
    await made.offsets.stop()


@pytest.mark.parametrize("before", [10, 1_000, 3_000])
async def test_what_came_since_is_read_however_much_was_there(world: World, before: int) -> None:
    await world.publish(0, [record(number) for number in range(before)])
    await world.publish(1, [record(0)])
    assert await world.units() == [before, 1]
    assert world.taken() == before + 1
    assert await world.units() == [before, 1]
    assert world.taken() == 0
    await world.publish(0, [record(number) for number in range(5)])
    assert await world.units() == [before + 5, 1]
    assert world.taken() == 5
    world.restart()
    await world.publish(1, [record(7)])
    assert await world.units() == [before + 5, 2]
    assert world.taken() == 1


async def test_local_disk_that_is_lost_is_filled_anew(world: World) -> None:
    await world.publish(0, [record(number) for number in range(20)])
    assert await world.units() == [20, 0]
    rmtree(world.settings.directory_of("days"))
    assert await world.units() == [20, 0]
    assert world.taken() == 40


@pytest.mark.parametrize("anew", [0, 3, 40])
async def test_a_topic_that_was_made_anew_is_read_from_its_beginning(
    world: World, anew: int
) -> None:
    await world.publish(0, [record(number) for number in range(20)])
    assert await world.units() == [20, 0]
    async with admin_client(world.settings) as admin:
        await admin.delete_topics([world.topic])

        async def is_there() -> bool:
            return world.topic in await admin.list_topics()

        await eventually(is_there, wanted=False)
    await world.make_topic()
    for producer in world.producers:
        await producer.replace()
    if anew:
        await world.publish(0, [record(number, "2.0") for number in range(anew)])
    world.restart()
    assert await world.units() == [2 * anew, 0]
    assert world.discards.counts == {("days", "another"): 1}


async def test_what_is_no_daily_record_is_passed_over(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = record(0).replace(b"2024-03-01", b"2024-02-31")
    await world.publish(0, [record(0), wrong, b"", record(1)])
    assert await world.units() == [2, 0]
    assert caplog.text.count("is no daily record") == 2


@pytest.mark.parametrize("batches", [0, 1, 2])
async def test_reading_that_fails_half_done_goes_on_from_there(
    world: World, monkeypatch: pytest.MonkeyPatch, batches: int
) -> None:
    await world.publish(0, [record(number) for number in range(2_500)])
    taking, taken = AddedDays.taking, 0

    def failing(days: AddedDays, *arguments: Any) -> Steps[None]:
        nonlocal taken
        steps = taking(days, *arguments)
        if taken == batches:
            next(steps)
            raise OSError("no disk")
        taken += 1
        return steps

    monkeypatch.setattr(AddedDays, "taking", failing)
    with pytest.raises(OSError, match="no disk"):
        await world.units()
    monkeypatch.undo()
    assert await world.units() == [2_500, 0]


async def test_reading_that_takes_too_long_is_told(world: World) -> None:
    await world.publish(0, [record(number) for number in range(3_000)])
    with pytest.raises(TimeoutError):
        async with world.additions.opened(PARTITIONS, 0.0):
            raise AssertionError
    assert await world.units() == [3_000, 0]
