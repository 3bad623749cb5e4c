"""What a query asks of brokers that are silent or refuse."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaConnectionError, OffsetOutOfRangeError

from app.bounds.turns import Turns
from app.kafka import asked as module
from app.kafka.asked import Fetches, asked
from app.meter.errors import TimeBudgetExceeded, Unavailable
from app.runtime.scanning.scans import Scans
from tests.world.waiting import PATIENCE_S


async def test_nobody_waits_long_for_a_broker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "READ_WITHIN_S", 0.01)
    with pytest.raises(Unavailable):
        async with asyncio.timeout(PATIENCE_S), asked():
            await asyncio.Event().wait()


@pytest.mark.parametrize("error", [KafkaConnectionError, TimeoutError, ConnectionResetError])
async def test_what_a_client_raises_is_no_defect(error: type[Exception]) -> None:
    with pytest.raises(Unavailable, match=error.__name__):
        async with asked():
            raise error


async def test_other_errors_stay() -> None:
    with pytest.raises(KeyError):
        async with asked():
            raise KeyError


def test_brokers_that_send_nothing_are_away() -> None:
    fetches = Fetches(500)
    for fetched in (*10 * [()], ("record",), *10 * [()]):
        fetches.note(fetched)
    with pytest.raises(Unavailable):
        fetches.note(())


async def test_a_scan_that_brokers_fail_may_be_asked_for_again() -> None:
    scans = Scans(Turns())
    for _ in range(5):
        with pytest.raises(Unavailable, match="OffsetOutOfRangeError"):
            async with scans.place("explain", "o"):
                raise OffsetOutOfRangeError
    assert (scans.running, scans.waiting) == (0, 0)
    with pytest.raises(TimeBudgetExceeded):
        async with scans.place("explain", "o"):
            raise TimeBudgetExceeded("it used too much")
