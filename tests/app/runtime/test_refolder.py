"""A large refold is fed by a child of the worker; whatever it comes to, the bytes are the same."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from app.bounds.turns import Turns, Work
from app.cli.children import of_child
from app.definitions.periods import NEVER_MS
from app.ledger.blocks import Located
from app.ledger.ledger import LedgerPart, LedgerRoom, Place
from app.runtime.homes import HomePartitions
from app.runtime.refolder import Refolder
from app.runtime.scanning.scan import Scan
from app.runtime.scanning.scans import ScanTurn, feeding
from app.wire.arrivals import Arrival, Arrived, CorrectionArrival, plain_arrival, runs_of
from app.wire.events import Correction
from tables.changelogged.presence import REST
from tables.partition.refold import Refold
from tables.partition.refold_apart import TakingOver
from tests.app.runtime.alone import settings_of
from tests.world.clock import START_MS
from tests.world.definitions import METRICS, ORG, SUBSCRIPTION, definitions_of
from tests.world.events import raw
from tests.world.partition import Live
from tests.world.waiting import until

CODES = tuple(METRICS)
FLUSHES, OF_EACH = 4, 600
NAME = (ORG, SUBSCRIPTION)


@pytest.fixture(autouse=True)
def _every_refold_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.runtime.refolder.REFOLD_ON_LOOP_BYTES", 0)


class World:
    """A partition and its ledger on disk, without Kafka."""

    def __init__(self, directory: Path):
        self.live = Live(definitions_of(CODES, presents=True))
        self.live.define_all()
        self.partition = self.live.partition
        self.lags = False
        self.refolder = Refolder(1.0, lambda: self.lags)
        room = LedgerRoom(directory, 1 << 40)
        self.ledger = room.of(0, self.partition.checkpoint, _nothing)
        self.turn = ScanTurn(Turns(), Work("refold"))

    async def fill(self) -> None:
        """Fold events of all metrics; all but the last are on disk."""
        for flush in range(FLUSHES + 1):
            first = flush * OF_EACH
            self._take([_arrived(number) for number in range(first, first + OF_EACH)])
            if flush < FLUSHES:
                self.ledger.pack()
                self.ledger.commit()
                await self.ledger.rest()

    def _take(self, arrivals: Sequence[Arrival]) -> None:
        self.live.deliver(arrivals)
        checkpoint = self.partition.checkpoint
        checkpoint.raw_next = arrivals[-1].raw_offset + 1
        checkpoint.append_time_ms = arrivals[-1].append_time_ms
        self.ledger.note(runs_of(arrivals), plain=True)

    def begun(self) -> Refold:
        """A refold of everything."""
        return Refold(self.partition, self.partition.event_ranges.meter_keys_of(NAME))

    async def refold(self, job: Refold) -> None:
        """Do what an owner does, and find the cells as the live fold has them."""
        cells = self.live.cells()
        settings, definitions = settings_of(), self.partition.definitions
        homes = HomePartitions(definitions, 1)
        work = self.partition.work
        async with Scan(settings, 0, homes, definitions, work, self.ledger) as scan:
            scan.seek_only(*job.sought())
            scan.start(self.partition.checkpoint, *job.start_offsets())
            await self.refolder.feed(job, scan, self.turn)
            place = scan, self.partition.checkpoint, feeding(job.feed)
            await self.turn.near(*place)
            async with self.turn.caught_up(asyncio.Lock(), *place):
                pass
        assert job.events == (FLUSHES + 1) * OF_EACH
        assert job.swap()
        assert self.live.cells() == cells


def _arrived(number: int) -> Arrival:
    properties = {
        "v": str(number % 7 / 4),
        "g": f"g{number % 11}",
        "u": f"u{number % 50}",
        "operation_type": "remove" if number % 5 == 0 else "add",
    }
    at_ms = START_MS + number * 60_000
    body = msgspec.json.encode(raw(CODES[number % len(CODES)], f"t{number}", at_ms, **properties))
    arrival = plain_arrival(body, at_ms, 0, number, ORG)
    assert arrival is not None
    return arrival


async def _nothing(_: Sequence[Place]) -> Mapping[Place, Arrived]:
    return {}


@pytest.fixture
async def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    await made.fill()
    return made


async def test_a_child_feeds_what_is_on_disk_and_the_loop_the_rest(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, fed = world.begun(), list[int]()
    feed = job.feed

    def noted(some: Sequence[Arrival]) -> None:
        fed.append(len(some))
        feed(some)

    monkeypatch.setattr(job, "feed", noted)
    await world.refold(job)
    assert world.refolder.fed == {"child": 1}
    assert sum(fed) == OF_EACH
    assert world.refolder.memory_bytes > 1 << 20


Failing = Callable[[World, pytest.MonkeyPatch], None]


def _signalled(world: World, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> None:
    """The child gets a signal while it waits for entries of the index."""
    find_many = world.partition.index.find_many

    def found(ids: Sequence[bytes]) -> Any:
        if world.refolder.pid is not None:
            os.kill(world.refolder.pid, number)
        return find_many(ids)

    monkeypatch.setattr(world.partition.index, "find_many", found)


def _it_is_killed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    _signalled(world, monkeypatch, signal.SIGKILL)


def _it_stands_still(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.runtime.refolder.REFOLD_SILENT_S", 2.0)
    _signalled(world, monkeypatch, signal.SIGSTOP)


def _what_it_tells_is_not_taken(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    take, left = TakingOver.take, iter(range(3))

    def taken(self: TakingOver, part: Any) -> None:
        if next(left, None) is None:
            raise MemoryError
        take(self, part)

    monkeypatch.setattr(TakingOver, "take", taken)


def _there_is_no_process(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("subprocess.Popen", refused)


def _its_files_are_damaged(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    read, kept = world.ledger.read, dict[Path, bytes]()

    async def again(part: LedgerPart) -> list[bytes] | None:
        if isinstance(part.chunks, Located) and part.chunks.path in kept:
            part.chunks.path.write_bytes(kept.pop(part.chunks.path))
        return await read(part)

    for file in world.ledger._files:
        kept[file.path] = file.path.read_bytes()
        file.path.write_bytes(bytes(len(kept[file.path])))
    monkeypatch.setattr(world.ledger, "read", again)


@pytest.mark.parametrize(
    "failing",
    [
        _it_is_killed,
        _it_stands_still,
        _what_it_tells_is_not_taken,
        _there_is_no_process,
        _its_files_are_damaged,
    ],
    ids=lambda failing: failing.__name__.strip("_"),
)
async def test_where_the_child_fails_the_loop_feeds_it_all(
    world: World, monkeypatch: pytest.MonkeyPatch, failing: Failing
) -> None:
    failing(world, monkeypatch)
    await world.refold(world.begun())
    assert world.refolder.fed == {"loop": 1}
    assert world.refolder.pid is None


async def test_who_is_cancelled_ends_the_child(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    refolding = asyncio.create_task(world.refold(world.begun()))
    await until(lambda: world.refolder.pid is not None)
    process = psutil.Process(world.refolder.pid)
    refolding.cancel()
    with suppress(asyncio.CancelledError):
        await refolding
    await until(lambda: not process.is_running())
    assert world.refolder.pid is None


async def test_without_a_share_there_is_no_child(world: World) -> None:
    world.refolder = Refolder(0, lambda: False)
    await world.refold(world.begun())
    assert not world.refolder.fed


async def test_less_of_the_share_is_used_while_a_partition_lags() -> None:
    lags = False
    refolder = Refolder(0.5, lambda: lags)
    assert refolder.share_now == 0.5
    lags = True
    assert refolder.share_now == 0.2


async def test_workers_of_one_parent_share_the_core() -> None:
    whole = settings_of(refold_share=0.5)
    assert of_child(whole, 1, 4).refold_share == 0.125


async def test_what_the_child_does_not_know_the_loop_feeds(world: World) -> None:
    """Corrections, names nothing has defined, whose usage has changed, and half of a refold."""
    keys = world.partition.event_ranges.meter_keys_of(NAME)
    assert Refold(world.partition, keys).stands_alone
    assert not Refold(world.partition, keys, {NAME: NEVER_MS}).stands_alone
    assert not Refold(world.partition, [REST]).stands_alone
    fed = Refold(world.partition, keys)
    fed.feed([_arrived(0)])
    assert not fed.stands_alone
    told = Correction(ORG, SUBSCRIPTION, "t0", "cancel", None, "c0", b"")
    assert world.partition.corrected.correct(CorrectionArrival(told, ORG, 10**13, 0, 10**6, 0))
    assert not Refold(world.partition, keys).stands_alone
