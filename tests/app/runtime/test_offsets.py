"""Where the logs of a partition stood at a time, as a real broker tells."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock

import pytest
from aiokafka.admin import RecordsToDelete

from app.definitions.periods import NEVER_MS
from app.kafka.clients import Producer
from app.kafka.names import TopicPartition
from app.kafka.topics import EVENTS_REKEYED, admin_client, ensure_topics
from app.runtime.offsets import Offsets
from app.settings import Settings
from tables.changelogged.presence import LogsKept
from tables.partition.left_out import appended_from

pytestmark = pytest.mark.servers


async def test_it_is_the_first_record_since_then_or_the_end(settings: Settings) -> None:
    async with admin_client(settings) as admin:
        await ensure_topics(settings, admin)
    raw, rekeyed = settings.topic(settings.raw_topic), settings.topic(EVENTS_REKEYED)
    producer = Producer(**settings.kafka_options())
    await producer.start()
    appended_ms = []
    for _ in range(3):
        sent = await producer.send_and_wait(raw, b"{}", partition=0)
        assert sent.timestamp_type == 1, "the broker stamps it"
        appended_ms.append(sent.timestamp)
        await asyncio.sleep(0.02)
    later_ms = (await producer.send_and_wait(rekeyed, b"{}", partition=0)).timestamp
    await producer.stop()
    offsets = Offsets(settings)
    await offsets.start()
    try:
        assert await offsets.logs_since(0, 0) == (0, 0)
        assert await offsets.logs_since(0, appended_ms[1]) == (1, 0)
        assert await offsets.logs_since(0, appended_ms[1] + 1) == (2, 0)
        assert await offsets.logs_since(0, later_ms) == (3, 0)
        assert await offsets.logs_since(0, later_ms + 1) == (3, 1)
        assert await offsets.logs_since(0, appended_from(NEVER_MS)) == (3, 1)
        assert await offsets.kept(0) == LogsKept()
        # Of what is deleted nobody can tell whether it came since then, unless more is left.
        tp = TopicPartition(raw, 0)
        for deleted in (1, 2, 3):
            async with admin_client(settings) as admin:
                await admin.delete_records({tp: RecordsToDelete(deleted)})
            since = 2 if deleted < 2 else 0
            assert await offsets.logs_since(0, appended_ms[1] + 1) == (since, 0)
            kept = LogsKept(deleted, 0, (*appended_ms, NEVER_MS)[deleted])
            assert await offsets.kept(0) == kept
            # Nobody asks for the same again.
            assert await offsets.kept(0) is await offsets.kept(0)
    finally:
        await offsets.stop()


async def test_times_of_a_test_clock_tell_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = AsyncMock(side_effect=AssertionError("brokers are asked for a time"))
    monkeypatch.setattr("app.runtime.offsets.first_from", asked)
    offsets = Offsets(settings.model_copy(update={"test_clock": True}))
    assert await offsets.logs_since(0, 1) == (0, 0)
    await offsets._look_at({0: (3, 2)})
    assert offsets._kept_of(0) == LogsKept(3, 2)
    await offsets.stop()
