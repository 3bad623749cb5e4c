"""Readings: whoever stops early leaves no connection open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from itertools import islice

import pytest

from app.kafka.reading import driven, reading


class Log:
    """Three batches, and whether somebody is connected."""

    def __init__(self) -> None:
        self.connected = False

    @reading
    async def batches(self) -> AsyncGenerator[list[int], None]:
        self.connected = True
        try:
            for number in range(3):
                await asyncio.sleep(0)
                yield [number]
        finally:
            await asyncio.sleep(0)
            self.connected = False


async def test_a_loop_that_is_left_early_leaves_nothing_open() -> None:
    log = Log()
    async with log.batches() as batches:
        async for batch in batches:
            assert (batch, log.connected) == ([0], True)
            break
    assert not log.connected


def test_code_without_an_event_loop_reads_everything() -> None:
    log = Log()
    with asyncio.Runner() as runner, driven(runner, log.batches()) as batches:
        assert list(batches) == [[0], [1], [2]]
        assert list(batches) == []


@pytest.mark.parametrize("read", [0, 1, 3])
def test_code_without_an_event_loop_may_stop_early(read: int) -> None:
    log = Log()
    with asyncio.Runner() as runner:
        with driven(runner, log.batches()) as batches:
            assert len(list(islice(batches, read))) == read
        assert not log.connected


def test_code_without_an_event_loop_may_fail_while_it_reads() -> None:
    log = Log()
    with asyncio.Runner() as runner:
        with pytest.raises(ZeroDivisionError), driven(runner, log.batches()) as batches:
            raise ZeroDivisionError(*next(batches))
        assert not log.connected
