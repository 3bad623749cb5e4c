"""Partitions that wait are told together, each once while it waits."""

from __future__ import annotations

import logging

import pytest
from aiokafka.errors import KafkaTimeoutError, LeaderNotAvailableError

from app.kafka import waiting
from app.kafka.waiting import WaitingPartitions
from tests.world.waiting import until

log = logging.getLogger(__name__)


@pytest.fixture
def some() -> WaitingPartitions:
    return WaitingPartitions(log, "for brokers")


async def test_hundreds_that_wait_are_one_line(
    some: WaitingPartitions, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "TOLD_AFTER_S", 0.01)
    for number in range(256):
        some.note(number, LeaderNotAvailableError(f"raw/{number}"))
    await until(lambda: bool(caplog.messages))
    for number in range(256):
        some.note(number, LeaderNotAvailableError(f"raw/{number}"))
    (line,) = caplog.records
    assert line.getMessage() == (
        "256 partitions wait for brokers: 0, 1, 2, 3, 4, 5, 6, 7 and 248 more; "
        "the first: LeaderNotAvailableError('raw/0')"
    )
    assert line.__dict__["facts"] == {"partitions": [*range(8)], "count": 256}


async def test_one_is_told_again_where_it_waits_anew_or_for_another_reason(
    some: WaitingPartitions, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "TOLD_AFTER_S", 0.0)
    expected = []

    async def said(text: str) -> None:
        expected.append(f"Partition 3 waits for brokers: {text}")
        await until(lambda: caplog.messages == expected)

    with some.while_it_waits(3) as waits:
        waits(LeaderNotAvailableError())
        await said("LeaderNotAvailableError()")
        waits(LeaderNotAvailableError())
        waits(KafkaTimeoutError())
        await said("KafkaTimeoutError()")
    some.note(3, KafkaTimeoutError())
    await said("KafkaTimeoutError()")
