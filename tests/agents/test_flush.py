"""When a partition is flushed: what changes nothing is not looked at, and much waits for more."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import cast

import pytest

import agents.flush
from agents.flush import flush
from app.definitions.state import Definitions
from app.runtime.flush_pace import LATER, FlushPace
from app.runtime.partition.next_flush import NextFlush
from app.runtime.partition.owned import OwnedPartition
from app.runtime.partition.refold_queue import RefoldQueue
from tables.event_index.index import EventIndex
from tables.partition.partition import Partition
from tests.simulation.loop import in_virtual_time
from tests.world.waiting import until

INTERVAL_S = 0.2


class Flushed:
    """A partition that notes when it is flushed."""

    def __init__(self) -> None:
        self.next_flush = NextFlush()
        self.refold_queue = RefoldQueue(Partition(0, Definitions(), EventIndex()))
        self.shared = SimpleNamespace(settings=SimpleNamespace(flush_interval_s=INTERVAL_S))
        self.at_s: list[float] = []
        self.waits = False
        self.told = 0
        self.flusher = self

    async def tell(self) -> None:
        self.told += 1

    def may_wait(self) -> bool:
        return self.waits

    async def flush(self) -> None:
        self.at_s.append(asyncio.get_running_loop().time())
        self.next_flush.begin()
        self.next_flush.take_records()
        self.next_flush.take_batches()
        self.refold_queue.take_definitions()


@in_virtual_time
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


@in_virtual_time
async def test_what_was_defined_is_flushed_once_though_it_concerns_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A restart would look at all of it again."""
    monkeypatch.setattr(agents.flush, "CARRIED_WITHIN_S", INTERVAL_S)
    owned = Flushed()
    flushes: list[bool] = []

    async def counted() -> None:
        flushes.append(owned.next_flush.moved)
        await Flushed.flush(owned)

    monkeypatch.setattr(owned, "flush", counted)
    flushing = asyncio.create_task(flush(cast(OwnedPartition, owned)))
    try:
        await until(lambda: len(flushes) == 2)
        owned.refold_queue.note_told(8, 17)
        owned.refold_queue.note_told(9, 18)
        await until(lambda: len(flushes) == 5)
        # Where nothing moved there is nothing to pack.
        assert flushes.count(True) == 1
        assert owned.refold_queue.definitions_taken == (9, 18)
    finally:
        flushing.cancel()


@in_virtual_time
async def test_a_flush_waits_for_more_unless_it_is_wanted() -> None:
    owned = Flushed()
    owned.waits = True
    flushing = asyncio.create_task(flush(cast(OwnedPartition, owned)))
    try:
        begun_s = asyncio.get_running_loop().time()
        owned.next_flush.note_moved()
        await until(lambda: len(owned.at_s) == 1)
        assert owned.at_s[0] - begun_s >= (LATER - 1) * INTERVAL_S
        # Meanwhile a cut need not wait for it.
        assert owned.told >= LATER
        owned.next_flush.note_moved()
        owned.next_flush.wanted.set()
        await until(lambda: len(owned.at_s) == 2)
        assert owned.at_s[1] - owned.at_s[0] < INTERVAL_S
        owned.next_flush.note_moved()
        owned.waits = False
        await until(lambda: len(owned.at_s) == 3)
        assert owned.at_s[2] - owned.at_s[1] < 2 * INTERVAL_S
    finally:
        flushing.cancel()


def test_flushes_wait_while_very_many_cells_change() -> None:
    pace = FlushPace()
    rates = [(9_000, False), (11_000, True), (4_000, True), (2_000, False), (9_000, False)]
    for second, (each_s, slow) in enumerate(rates):
        for step in range(1, 11):
            pace.note(each_s, 10 * second + step)
        assert pace.is_slow is slow, each_s


@pytest.mark.parametrize(("partitions", "slow"), [(4, False), (32, False), (64, True)])
def test_flushes_of_very_many_partitions_wait(partitions: int, slow: bool) -> None:
    pace = FlushPace()
    for second in range(30):
        # Those that wait come to one in so many seconds.
        if not pace.is_slow or second % LATER == 0:
            for number in range(partitions):
                pace.note(2, second + number / partitions)
        assert pace.is_slow is (slow and second > 0), second


def test_a_second_of_very_many_changes_is_enough_to_wait() -> None:
    pace = FlushPace()
    pace.note(0, 1)
    for changes, at_s, slow in ((9_000, 1.5, False), (9_000, 2.1, True), (0, 7.0, True)):
        pace.note(changes, at_s)
        assert pace.is_slow is slow, at_s
    pace.note(2_000, 7.2)
    assert not pace.is_slow
