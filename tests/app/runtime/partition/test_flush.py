"""When a flush may wait for more events, as nobody waits for what it carries; what it leaves."""

from __future__ import annotations

import asyncio
import gc
from typing import Any, cast

import pytest

from app.kafka.transactions import Fenced, Record
from app.runtime.context import WorkerContext
from app.runtime.partition.flush import FlushPacking
from app.runtime.partition.forwarder import _Forward
from app.runtime.partition.owned import OwnedPartition
from app.runtime.progress import Progress
from app.wire.arrivals import runs_of
from tests.app.runtime.alone import NoProducer, context_of
from tests.world.clock import START_MS, ManualClock
from tests.world.definitions import ORG, SETTINGS, SUBSCRIPTION, definitions_of
from tests.world.events import arrived
from tests.world.partition import Live
from tests.world.waiting import PATIENCE_S

GRID_MS = SETTINGS.close_grid_s * 1000


def owned_of(context: WorkerContext | None = None) -> OwnedPartition:
    """Return a partition of a worker whose flushes have packed very many changes."""
    live = Live(definitions_of(["count"]))
    live.define_all()
    live.partition.checkpoint.append_time_ms = START_MS
    context = context or context_of(live.partition.definitions, ManualClock(START_MS))
    context.flush_pace.is_slow = True
    return OwnedPartition(live.partition, NoProducer(), context)


async def fold(owned: OwnedPartition, at_ms: int) -> None:
    """Fold an event that was appended then."""
    runs = runs_of([arrived("count", at_ms, START_MS, at_ms, transaction_id=str(at_ms))])
    await owned.fold(runs, raw_next=at_ms + 1, append_time_ms=at_ms)


async def test_it_waits_while_very_many_cells_change() -> None:
    owned = owned_of()
    await fold(owned, START_MS + 1)
    assert owned.flusher.may_wait()
    owned.shared.flush_pace.is_slow = False
    assert not owned.flusher.may_wait()


class Reports:
    """Notes what is told."""

    def __init__(self) -> None:
        self.told: list[Progress] = []

    def tell(self, progress: Progress) -> None:
        self.told.append(progress)


async def told_by(owned: OwnedPartition) -> list[tuple[int, int]]:
    """Return (append time, raw offset) of what is told now, after a first flush up to offset 3."""
    reports = Reports()
    owned.shared.reports = cast(Any, reports)
    owned.flusher._durable = 3
    await owned.flusher.tell()
    return [(each.append_time_ms, each.raw_next) for each in reports.told]


async def test_it_waits_and_tells_its_progress_where_another_partition_has_a_cut_to_take() -> None:
    owned, cut_ms = owned_of(), START_MS + GRID_MS
    await fold(owned, cut_ms - 2 * GRID_MS)
    owned.shared.progress.note(Progress(1, cut_ms, cut_ms, 1, "", 0))
    await fold(owned, cut_ms)
    # It is past the cut with the next event only.
    assert await told_by(owned) == []
    await fold(owned, cut_ms + 1)
    assert owned.flusher.may_wait()
    # What is folded is not durable by that.
    assert await told_by(owned) == [(cut_ms + 1, 3)]
    await fold(owned, cut_ms + 2)
    assert await told_by(owned) == []
    owned.shared.progress.note(Progress(1, cut_ms + 3, cut_ms + GRID_MS, 1, "", 0))
    assert await told_by(owned) == []


async def test_it_tells_its_progress_where_it_has_a_cut_to_take_itself() -> None:
    owned = owned_of()
    await fold(owned, START_MS + 1)
    owned.cuts.reschedule([(ORG, SUBSCRIPTION)])
    cut_ms = owned.cuts.schedule.next_ms()
    await fold(owned, cut_ms)
    assert await told_by(owned) == []
    await fold(owned, cut_ms + 1)
    assert await told_by(owned) == [(cut_ms + 1, 3)]


async def test_it_tells_nothing_that_is_not_acknowledged() -> None:
    owned, reports = owned_of(), Reports()
    owned.shared.reports = cast(Any, reports)
    owned.flusher._durable = 3
    forward = _Forward(1)
    forward.sending = asyncio.get_running_loop().create_future()
    owned.forwards._pending.append(forward)
    owned.forwards.count = 1
    cut_ms = START_MS + GRID_MS
    owned.shared.progress.note(Progress(1, cut_ms, cut_ms, 1, "", 0))
    await fold(owned, cut_ms + 1)
    telling = asyncio.create_task(owned.flusher.tell())
    for _ in range(10):
        await asyncio.sleep(0)
    assert reports.told == []
    forward.sending.set_result(None)
    await telling
    assert [each.append_time_ms for each in reports.told] == [cut_ms + 1]


async def test_it_tells_nothing_before_its_first_flush() -> None:
    """Nobody knows yet what of it is durable."""
    owned, reports, cut_ms = owned_of(), Reports(), START_MS + GRID_MS
    owned.shared.reports = cast(Any, reports)
    owned.shared.progress.note(Progress(1, cut_ms, cut_ms, 1, "", 0))
    await fold(owned, cut_ms + 1)
    await owned.flusher.tell()
    assert reports.told == []


async def test_it_does_not_wait_with_records_that_others_read() -> None:
    owned = owned_of()
    await fold(owned, START_MS + 1)
    owned.next_flush.add([Record("topic", 0, b"key", b"value")])
    assert not owned.flusher.may_wait()


async def test_it_does_not_wait_where_the_partition_is_handed_over() -> None:
    owned = owned_of()
    await fold(owned, START_MS + 1)
    owned.hand_over()
    assert not owned.flusher.may_wait()


@pytest.mark.parametrize("code", ["sum", "seats"])
async def test_what_a_flush_packs_does_not_call_the_collector(code: str) -> None:
    """It would walk the young several times in a flush of 50,000 cells, or members."""
    live = Live(definitions_of([code]))
    live.define_all()
    owned = OwnedPartition(live.partition, NoProducer(), context_of(live.partition.definitions))
    names = [f"g{number}" if code == "sum" else "g" for number in range(300)]
    events = [
        arrived(code, number, START_MS, transaction_id=f"{number}", g=name, u=f"{number}", v="1")
        for number, name in enumerate(names)
    ]
    await owned.fold(runs_of(events), raw_next=300, append_time_ms=START_MS)
    flushing = asyncio.create_task(owned.flush())
    try:
        gc.collect()
        gc.disable()
        while owned.commits.unsent is None:
            await asyncio.sleep(0)
        made, *_ = gc.get_count()
    finally:
        gc.enable()
    assert len(owned.commits.unsent.records) > 300
    await owned.flusher.suspend()
    await asyncio.gather(flushing, return_exceptions=True)
    # A member's name is made as it is flushed.
    assert made < 250 + (len(names) if code == "seats" else 0)


async def changed(context: WorkerContext | None = None) -> OwnedPartition:
    """Return a partition of a worker, with a cell to flush."""
    owned = owned_of(context)
    await fold(owned, START_MS + 1)
    return owned


async def test_partitions_that_are_flushed_at_once_stand_still_one_after_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By turns each would hold its fold up until the last of all is packed."""
    first = await changed()
    all_owned = [first, *[await changed(first.shared) for _ in range(3)]]
    locked = list[int]()

    async def take_out(packing: FlushPacking) -> None:
        for _ in range(5):
            locked.append(sum(owned.lock.locked() for owned in all_owned))
            await asyncio.sleep(0)
        raise Fenced("it goes no further")

    monkeypatch.setattr(FlushPacking, "take_out", take_out)
    await asyncio.gather(*(owned.flush() for owned in all_owned), return_exceptions=True)
    assert locked == [1] * 20


async def test_a_fold_that_waits_holds_up_no_flush_of_another_partition(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It waits for Redis, for as long as that is away."""
    monkeypatch.setattr("app.runtime.partition.flush.PACKED_IN_TURN_S", 0.01)
    waiting, packed = await changed(), list[int]()
    other = await changed(waiting.shared)

    async def take_out(packing: FlushPacking) -> None:
        packed.append(1)
        raise Fenced("it goes no further")

    monkeypatch.setattr(FlushPacking, "take_out", take_out)
    async with waiting.lock:
        held = asyncio.create_task(waiting.flush())
        await asyncio.sleep(0)
        with pytest.raises(Fenced):
            async with asyncio.timeout(PATIENCE_S):
                await other.flush()
        assert packed == [1]
    with pytest.raises(Fenced):
        await held
    assert packed == [1, 1]
