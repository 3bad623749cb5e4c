"""Decide which scans may read logs again now, and for how long.

Explain, trace, series, listed events, regrouped usage, verify and preview may read a whole
partition. Two scans run at a time, and organizations take turns. Each scan has a budget of time,
except verify and preview, which report their progress instead.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec

from app.bounds.limits import (
    SCAN_S,
    SCAN_TURNS_S,
    SCANS_AT_ONCE,
    SCANS_WAITING,
    SCANS_WAITING_OF_ORGANIZATION,
)
from app.bounds.turns import TURN_S, Steps, T, Turns, Work, in_steps
from app.kafka.names import KafkaError
from app.meter.errors import TimeBudgetExceeded, TooManyScans, Unavailable
from app.runtime.partition.owned import OwnedPartition
from app.runtime.scanning.scan import Scan
from app.wire.arrivals import Arrival
from tables.changelogged.checkpoint import Checkpoint

Scanner = Callable[[OwnedPartition], Scan]
"""Makes a reader of the logs of a partition."""

NEAR_RECORDS = 64
"""Most records that a scan may read while the live fold waits: one fetch, one turn."""

FAR_RECORDS = 2_000
"""Most records that a scan may read while the live fold waits, if `NEAR_RECORDS` cannot be reached:
the live fold is faster than the scan, or verify reads for many partitions."""


class ScanTurn:
    """Time on the event loop for one scan."""

    def __init__(self, turns: Turns, work: Work, most_s: float | None = None):
        self._turns, self._work, self._most_s = turns, work, most_s
        self._urgent = work._replace(urgent=True)
        self.used_s = 0.0
        self._paused_s = turns.clock()

    async def run(self, steps: Steps[T], *, urgent: bool = False) -> T:
        """Run steps to their end, 10 ms at a turn; `urgent`: while a live fold waits for it.

        Raises:
            TimeBudgetExceeded: that was more than it may use.
        """
        work = self._urgent if urgent else self._work
        return await self._turns.run(work, self._limited(steps))

    async def pause(self) -> None:
        """Leave the loop to others for a moment, once it was held for a turn."""
        clock = self._turns.clock
        if clock() - self._paused_s >= TURN_S:
            await self._turns.wait(self._work)
            self._paused_s = clock()

    def watched(self, task: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """Run a coroutine, with the time counted for which it holds the loop."""
        return self._turns.watched(self._work, task)

    def _limited(self, steps: Steps[T]) -> Steps[T]:
        clock, most_s = self._turns.clock, self._most_s
        try:
            while True:
                began_s = clock()
                try:
                    next(steps)
                finally:
                    self.used_s += clock() - began_s
                if most_s is not None and self.used_s > most_s:
                    raise TimeBudgetExceeded(f"it used {most_s:.0f} s of the worker's time")
                yield
        except StopIteration as end:
            outcome: T = end.value
            return outcome
        finally:
            steps.close()

    async def near(
        self, scan: Scan, checkpoint: Checkpoint, feed: Callable[[list[Arrival]], Steps[None]]
    ) -> None:
        """Feed arrivals until the scan is so near the live fold that the fold may wait."""
        async for _ in self.stretches(scan, checkpoint, feed):
            pass

    async def stretches(
        self, scan: Scan, checkpoint: Checkpoint, feed: Callable[[list[Arrival]], Steps[None]]
    ) -> AsyncIterator[int]:
        """Feed like `near`; yield by how many records each stretch came nearer to the live fold."""
        behind = scan.behind(checkpoint)
        while behind > NEAR_RECORDS:
            # To where the live fold stands now: it goes on meanwhile.
            async for part in scan.read(msgspec.structs.replace(checkpoint), self):
                await self.run(feed(part))
            before, behind = behind, scan.behind(checkpoint)
            yield before - behind
            if behind > before // 2 and behind <= FAR_RECORDS:
                return

    @asynccontextmanager
    async def caught_up(
        self,
        lock: asyncio.Lock,
        scan: Scan,
        checkpoint: Checkpoint,
        feed: Callable[[list[Arrival]], Steps[None]],
    ) -> AsyncIterator[None]:
        """Feed the rest, and hold the live fold there by its lock for the length of a block.

        For brokers that send nothing the live fold does not wait.
        """
        while True:
            async with lock:
                async for part in scan.read(checkpoint, self, urgent=True):
                    await self.run(feed(part), urgent=True)
                if not scan.behind(checkpoint):
                    yield
                    return
            async for part in scan.read(msgspec.structs.replace(checkpoint), self):
                await self.run(feed(part))


def feeding(take: Callable[[list[Arrival]], object]) -> Callable[[list[Arrival]], Steps[None]]:
    """Return how to feed a part of what is read, some arrivals at a step."""
    return lambda part: in_steps(part, lambda some: take(list(some)))


@dataclass(eq=False)
class _Scan:
    """A scan that runs or waits."""

    organization_id: str
    endless: bool
    may_begin: asyncio.Future[None]


class Scans:
    """Hands out the places of one worker."""

    def __init__(self, turns: Turns):
        self._turns = turns
        self._running: set[_Scan] = set()
        self._waiting: dict[str, deque[_Scan]] = {}
        """By organization, in the order in which they are looked at."""

    @property
    def running(self) -> int:
        """Number of scans that run."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """Number of scans that wait."""
        return sum(map(len, self._waiting.values()))

    def check(self, organization_id: str) -> None:
        """Raise TooManyScans when one more could not even wait."""
        of_organization = len(self._waiting.get(organization_id, ()))
        if of_organization >= SCANS_WAITING_OF_ORGANIZATION or self.waiting >= SCANS_WAITING:
            raise TooManyScans

    @asynccontextmanager
    async def place(
        self, what: str, organization_id: str, subscription: str = "", *, endless: bool = False
    ) -> AsyncIterator[ScanTurn]:
        """Hold a place for the length of a block.

        `endless`: it has no budget of time, and but one such runs at a time.

        Raises:
            TooManyScans: too many wait already.
            TimeBudgetExceeded: it took too long.
            Unavailable: the brokers do not give what it reads.
        """
        work = Work("scan", what, organization_id, subscription)
        turn = ScanTurn(self._turns, work, None if endless else SCAN_TURNS_S)
        try:
            async with asyncio.timeout(None if endless else SCAN_S) as deadline:
                scan = await self._begun(organization_id, endless)
                try:
                    yield turn
                finally:
                    self._running.discard(scan)
                    self._hand_out()
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise TimeBudgetExceeded(f"it took longer than {SCAN_S:.0f} s") from error
        except KafkaError as error:
            raise Unavailable(f"the brokers do not give what is read: {error!r}") from error

    async def _begun(self, organization_id: str, endless: bool) -> _Scan:
        mine = _Scan(organization_id, endless, asyncio.get_running_loop().create_future())
        queue = self._waiting.setdefault(organization_id, deque())
        queue.append(mine)
        self._hand_out()
        if mine not in self._running:
            if len(queue) > SCANS_WAITING_OF_ORGANIZATION or self.waiting > SCANS_WAITING:
                self._forget(mine)
                raise TooManyScans
            try:
                await mine.may_begin
            except asyncio.CancelledError:
                self._forget(mine)
                raise
        return mine

    def _forget(self, scan: _Scan) -> None:
        """Forget a scan that waits or runs no more."""
        self._running.discard(scan)
        queue = self._waiting.get(scan.organization_id, deque())
        if scan in queue:
            queue.remove(scan)
        if not queue:
            self._waiting.pop(scan.organization_id, None)
        self._hand_out()

    def _hand_out(self) -> None:
        while len(self._running) < SCANS_AT_ONCE:
            scan = next(self._fitting(), None)
            if scan is None:
                return
            queue = self._waiting.pop(scan.organization_id)
            queue.remove(scan)
            if queue:
                # Its others come after those of everybody else.
                self._waiting[scan.organization_id] = queue
            self._running.add(scan)
            if not scan.may_begin.done():
                scan.may_begin.set_result(None)

    def _fitting(self) -> Iterator[_Scan]:
        """Yield scans that may begin now, the fairest first."""
        has_endless = any(scan.endless for scan in self._running)
        busy = {scan.organization_id for scan in self._running}
        fitting = [
            next((scan for scan in queue if not (scan.endless and has_endless)), None)
            for queue in self._waiting.values()
        ]
        found = [scan for scan in fitting if scan is not None]
        yield from (scan for scan in found if scan.organization_id not in busy)
        yield from found
