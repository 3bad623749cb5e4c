"""Ticks on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic

from agents import tick
from agents.tick import POLL_S, Ticker
from app.clock import SystemClock
from app.definitions.periods import NEVER_MS
from app.definitions.state import Definitions
from app.kafka.appender import Appender
from app.kafka.log_readers import bounds
from app.kafka.topics import admin_client
from app.runtime.partition.owned import OwnedPartition
from app.runtime.progress import Progress, ProgressTable
from app.settings import Settings
from tests.world.waiting import eventually, until

pytestmark = pytest.mark.servers


def ticker_of(
    settings: Settings,
    owned: list[OwnedPartition],
    progress: ProgressTable | None = None,
    appender: Appender | None = None,
    followed: object = None,
) -> Ticker:
    """The ticks of a worker that has these parts and nothing else."""
    worker: Any = SimpleNamespace(
        settings=settings,
        clock=SystemClock(),
        definitions=Definitions(),
        progress=progress or ProgressTable(),
        appender=appender or Appender(settings),
        followed=followed or SimpleNamespace(wanted_ms=-1),
        owned=dict(enumerate(owned)),
        coming=(),
    )
    return Ticker(worker)


OWNED = cast(
    OwnedPartition,
    SimpleNamespace(
        number=1,
        state=SimpleNamespace(checkpoint=SimpleNamespace(append_time_ms=0)),
        cuts=SimpleNamespace(
            schedule=SimpleNamespace(next_ms=lambda: 1), asleep_until_ms=1, look_at=int
        ),
    ),
)
"""A partition whose log has not passed its next cut."""


@asynccontextmanager
async def _ticking(settings: Settings, message_bytes: int) -> AsyncIterator[None]:
    """Tick a raw topic that takes records of so many bytes."""
    topic = settings.topic(settings.raw_topic)
    configs: dict[str, Any] = {"max.message.bytes": str(message_bytes)}
    async with admin_client(settings) as admin:
        await admin.create_topics([NewTopic(topic, 2, 1, topic_configs=configs)])
    appender = Appender(settings)
    await appender.start()
    ticking = asyncio.create_task(ticker_of(settings, [OWNED], appender=appender).run())
    try:
        yield
    finally:
        ticking.cancel()
        await asyncio.wait([ticking])
        await appender.stop()


async def test_ticks_are_appended_again_and_again(settings: Settings) -> None:
    tp = TopicPartition(settings.topic(settings.raw_topic), 1)

    async def are_several() -> bool:
        return (await bounds(settings, tp))[1] > 1

    async with _ticking(settings, 1_000):
        await eventually(are_several, True)


async def test_a_tick_that_is_refused_is_told_and_sent_again(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        return [message for message in caplog.messages if "was refused" in message]

    async with _ticking(settings, 10):
        await until(lambda: len(told()) > 1)
    assert "MessageSizeTooLargeError" in told()[0]


async def test_an_error_without_words_is_told_by_its_name(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ticking: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    ticking.set_exception(TimeoutError())
    tick._tell("events-raw/2", cast(Any, ticking))
    assert caplog.messages == ["A tick of events-raw/2 was refused: TimeoutError"]


async def test_partitions_are_not_looked_at_while_no_cut_is_past_and_nobody_reports(
    settings: Settings,
) -> None:
    looked: list[int] = []
    cuts = SimpleNamespace(
        schedule=SimpleNamespace(next_ms=lambda: NEVER_MS),
        asleep_until_ms=NEVER_MS,
        look_at=looked.append,
    )
    checkpoint = SimpleNamespace(append_time_ms=-1)
    idle = cast(
        OwnedPartition,
        SimpleNamespace(number=1, state=SimpleNamespace(checkpoint=checkpoint), cuts=cuts),
    )
    progress = ProgressTable()
    ticking = asyncio.create_task(ticker_of(settings, [idle], progress).run())
    try:
        await until(lambda: bool(looked))
        await asyncio.sleep(0.5)
        assert len(looked) == 1
        progress.note(Progress(1, 0, NEVER_MS, 1, "", 0))
        await until(lambda: len(looked) == 2)
        cuts.asleep_until_ms = 1
        await until(lambda: len(looked) > 3)
    finally:
        ticking.cancel()


async def test_a_report_or_who_waits_for_definitions_is_looked_at_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing else wakes the ticks while all is quiet."""
    monkeypatch.setattr("agents.tick.TICK_EVERY_S", 600.0)
    wanted_ms, asked = -1, list[int]()

    class Followed:
        @property
        def wanted_ms(self) -> int:
            asked.append(wanted_ms)
            return wanted_ms

    progress = ProgressTable()
    ticker = ticker_of(settings, [], progress, followed=Followed())
    ticking = asyncio.create_task(ticker.run())
    try:
        await until(lambda: bool(asked))
        await asyncio.sleep(5 * POLL_S)
        looks = len(asked)
        await asyncio.sleep(5 * POLL_S)
        assert len(asked) == looks
        progress.note(Progress(1, 0, NEVER_MS, 1, "", 0))
        await until(lambda: len(asked) > looks)
        await asyncio.sleep(5 * POLL_S)
        looks, wanted_ms = len(asked), 2**62
        progress.stirred.set()
        # It goes on until they are there.
        await until(lambda: len(asked) > looks + 3)
    finally:
        ticking.cancel()
