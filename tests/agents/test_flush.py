"""When a partition is flushed: what changes nothing is not looked at."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

from agents.flush import flush
from app.runtime.partition.next_flush import NextFlush
from app.runtime.partition.owned import OwnedPartition
from tests.world.waiting import until

INTERVAL_S = 0.2


class Flushed:
    """A partition that notes when it is flushed."""

    def __init__(self) -> None:
        self.next_flush = NextFlush()
        self.shared = SimpleNamespace(settings=SimpleNamespace(flush_interval_s=INTERVAL_S))
        self.at_s: list[float] = []

    async def flush(self) -> None:
        self.at_s.append(asyncio.get_running_loop().time())
        self.next_flush.begin()
        self.next_flush.take_records()
        self.next_flush.take_batches()


async def test_a_partition_is_flushed_when_something_changed_and_no_more_often_than_told() -> None:
    owned = Flushed()
    flushing = asyncio.create_task(flush(cast(OwnedPartition, owned)))
    try:
        await asyncio.sleep(3 * INTERVAL_S)
        assert owned.at_s == []
        owned.next_flush.note_moved()
        await until(lambda: len(owned.at_s) == 1)
        owned.next_flush.note_moved()
        await until(lambda: len(owned.at_s) == 2)
        assert owned.at_s[1] - owned.at_s[0] >= INTERVAL_S
        owned.next_flush.note_moved()
        owned.next_flush.wanted.set()
        await until(lambda: len(owned.at_s) == 3)
        await asyncio.sleep(3 * INTERVAL_S)
        assert len(owned.at_s) == 3
    finally:
        flushing.cancel()
