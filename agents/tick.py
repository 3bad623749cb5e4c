"""Tick: time passes only by the logs, so a cut that waits for it appends a record without content.

Ticks are no events. The broker stamps them: a clock of ours that is wrong only means trying again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from operator import attrgetter

from app.bounds.limits import TRUST_AFTER_MS
from app.definitions.periods import NEVER_MS
from app.kafka.names import RecordMetadata
from app.kafka.topics import METER_DEFINITIONS
from app.runtime.engine import Engine
from app.runtime.partition.owned import OwnedPartition
from app.wire.decode import TICK_HEADER

log = logging.getLogger(__name__)

TICK_EVERY_S = 1.0
POLL_S = 0.1
_asleep_until_ms = attrgetter("cuts.asleep_until_ms")


async def tick(worker: Engine) -> None:
    """Tick until cancelled."""
    await Ticker(worker).run()


class Ticker:
    """Appends ticks to the raw partitions owned here, and to the definitions with partition 0.

    Who waits for the definitions in the middle of a fold ticks them too: in a rebalance nobody may
    own partition 0.
    """

    def __init__(self, worker: Engine):
        self._worker = worker
        self._settings = worker.settings
        self._clock = worker.clock
        self._definitions = worker.definitions
        self._progress = worker.progress
        self._ticked_s: dict[str, float] = {}
        self._sending: dict[str, asyncio.Task[RecordMetadata]] = {}
        """The last tick of each partition."""
        self._quiet_until_ms = -1
        """The earliest cut that reports told of at the last look."""
        self._behind_ms = -1
        """When the definitions have passed this they keep up with the events, in ms."""
        self._asleep_until_ms = -1
        """The earliest cut that a closer here waits for, as they said when they were last asked."""
        self._asked_s = -TICK_EVERY_S

    async def run(self) -> None:
        """Tick until cancelled; try again what is refused."""
        is_quiet, wanted_ms = False, -1
        while True:
            await self._pause(is_quiet and not self._is_before(wanted_ms))
            partitions = list(self._worker.owned.values())
            if not (is_quiet := self._is_quiet(partitions)):
                self._progress.stirred.clear()
                self._quiet_until_ms = self._progress.next_cut_ms(-1)
                past_ms = self._progress.latest_past_ms(self._clock.now_ms())
                for partition in partitions:
                    partition.cuts.look_at(self._clock.now_ms())
                    await self.tick_where_needed(partition, past_ms)
                for number in self._worker.coming:
                    # Nobody else passes its log on while it is restored.
                    if past_ms is not None and self._progress.append_time_ms(number) <= past_ms:
                        await self._tick_raw(number)
            # A fold stands until then.
            wanted_ms = self._worker.followed.wanted_ms
            await self._tick_definitions(wanted_ms, self._clock.now_ms(), POLL_S)

    async def _pause(self, is_quiet: bool) -> None:
        """Wait for the next look; while all is quiet, until a report comes or a cut is past."""
        if not is_quiet or self._settings.test_clock:
            # A clock of tests jumps.
            await asyncio.sleep(POLL_S)
            return
        quiet_ms = min(self._quiet_until_ms, self._asleep_until_ms) - self._clock.now_ms() + 1
        with suppress(TimeoutError):
            async with asyncio.timeout(min(max(quiet_ms / 1_000, POLL_S), TICK_EVERY_S)):
                await self._progress.stirred.wait()

    def _is_before(self, wanted_ms: int) -> bool:
        """Return whether the definitions have yet to pass a time that somebody waits for."""
        return 0 <= wanted_ms >= self._definitions.append_time_ms

    def _is_quiet(self, partitions: Sequence[OwnedPartition]) -> bool:
        """Return whether there is nothing new to look at: no report came, and no cut is past."""
        if self._progress.stirred.is_set() or self._is_before(self._behind_ms):
            return False
        now_s = self._clock.monotonic_s()
        if now_s - self._asked_s >= TICK_EVERY_S:
            # With many partitions this is most of what a look costs.
            self._asked_s = now_s
            self._asleep_until_ms = min(map(_asleep_until_ms, partitions), default=NEVER_MS)
        return min(self._quiet_until_ms, self._asleep_until_ms) > self._clock.now_ms()

    async def tick_where_needed(self, owned: OwnedPartition, past_ms: int | None) -> None:
        """Append a tick if a cut anywhere waits for this partition's logs and it is past it.

        `past_ms`: the latest cut before now that somebody waits for.
        """
        now_ms, at_ms = self._clock.now_ms(), owned.state.checkpoint.append_time_ms
        waited_for = past_ms is not None and at_ms <= past_ms
        if waited_for or at_ms <= owned.cuts.schedule.next_ms() < now_ms:
            await self._tick_raw(owned.number)
        if owned.number == 0:
            own_ms = owned.cuts.schedule.next_ms()
            cut_ms = self._progress.next_cut_ms(self._definitions.append_time_ms, own_ms)
            if cut_ms < now_ms:
                every_s = min(self._definitions.settings_at().close_grid_s, 60)
                await self._tick_definitions(cut_ms, now_ms, every_s)
            # Events need none of their own while the definitions keep up with them so far.
            self._behind_ms = self._newest_ms(owned) - TRUST_AFTER_MS // 2
            await self._tick_definitions(self._behind_ms, now_ms, TICK_EVERY_S)

    async def _tick_raw(self, number: int) -> None:
        await self._tick(self._settings.topic(self._settings.raw_topic), number, TICK_EVERY_S)

    def _newest_ms(self, owned: OwnedPartition) -> int:
        """Return the append time of the newest event anywhere."""
        told = [progress.append_time_ms for progress in self._progress.all()]
        return max([owned.state.checkpoint.append_time_ms, *told])

    async def _tick_definitions(self, wanted_ms: int, now_ms: int, every_s: float) -> None:
        if self._is_before(wanted_ms) and wanted_ms < now_ms:
            await self._tick(self._settings.topic(METER_DEFINITIONS), 0, every_s)

    async def _tick(self, topic: str, partition: int, every_s: float) -> None:
        name, now_s = f"{topic}/{partition}", self._clock.monotonic_s()
        if now_s - self._ticked_s.get(name, -every_s) < every_s:
            return
        last = self._sending.get(name)
        if last is not None and not last.done():
            # Nobody leads the partition; nothing but this tick waits for that.
            return
        self._ticked_s[name] = now_s
        timestamp_ms = self._clock.now_ms() if self._settings.test_clock else None
        ticking = self._worker.appender.append(
            topic, None, None, partition, [(TICK_HEADER, b"1")], timestamp_ms
        )
        self._sending[name] = asyncio.create_task(ticking)
        self._sending[name].add_done_callback(partial(_tell, name))


def _tell(name: str, ticking: asyncio.Task[RecordMetadata]) -> None:
    error = None if ticking.cancelled() else ticking.exception()
    if error is not None:
        # Some errors have no words of their own.
        log.warning("A tick of %s was refused: %s", name, str(error) or type(error).__name__)
