"""Take definitions over: look at whom they concern, in turns, while events fold on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing

from app.bounds.turns import Steps, Work
from app.definitions.outcome import Impact
from app.runtime.context import WorkerContext
from app.runtime.partition.cuts import Cuts
from app.runtime.partition.next_flush import NextFlush
from app.runtime.partition.refold_queue import RefoldQueue
from app.runtime.partition.table_work import TableWork
from tables.closing.close import entering_history
from tables.partition.partition import Partition
from tables.partition.redirection import A_STEP, Renewed

RENEWING = Work("reschedule", "definitions")
_AT_ONCE = 8
"""How many looks one step has at most, but for those that find something to be refolded."""


class Renewal:
    """Definitions that one partition has heard of, and has yet to look at."""

    def __init__(
        self,
        state: Partition,
        context: WorkerContext,
        work: TableWork,
        refold_queue: RefoldQueue,
        cuts: Cuts,
        next_flush: NextFlush,
    ):
        self._state = state
        self._context = context
        self._work = work
        self._refold_queue = refold_queue
        self._cuts = cuts
        self._next_flush = next_flush
        self.seen = context.followed.last[0]
        """Next offset of the definitions log: everything before has been taken over or queued."""
        self.wanted = asyncio.Event()

    def note_seen(self, offset: int) -> None:
        """Note up to which offset a restore has taken definitions over."""
        self.seen = offset

    def define(self, impact: Impact, offset: int, append_time_ms: int) -> None:
        """Take note of one definition that was applied; `renew` looks at whom it concerns."""
        self.pass_over(offset + 1, append_time_ms)
        self._state.redefinition.tell(impact, append_time_ms)
        self.wanted.set()
        self._move()
        self._cuts.look()
        self._cuts.look_again()

    def pass_over(self, next_offset: int, append_time_ms: int) -> None:
        """Take note of how far the definitions are applied: none before is left to be told."""
        if next_offset > self.seen:
            self.seen = next_offset
            self._refold_queue.note_told(next_offset, append_time_ms)

    def _move(self) -> None:
        """Have a flush tell the next cut, if a definition has moved it: others tick for it."""
        if not self._cuts.is_told():
            self._next_flush.note_moved()

    async def renew(self) -> None:
        """Look at whom definitions concern, in turns; cuts at or after them wait for that.

        Cuts before what is queued meanwhile come in between.
        """
        while True:
            async with self._work.shaping:
                if self._looks_since() is None:
                    # None is left, or the cut before it comes first: who takes that asks again.
                    break
                # Whoever is cancelled leaves none half looked at.
                with closing(self._looking()) as looking:
                    concerns = await self._work.run(RENEWING, looking)
                self._refold_queue.note_definitions(*self._context.followed.last)
                if concerns or self._state.checkpoint.behind:
                    self._next_flush.note_moved()
                self._move()
            self._cuts.woken.set()
        self._cuts.woken.set()

    def _looks_since(self) -> int | None:
        """Return the append time of the first definition that may be looked at; None: none may."""
        standing = self._state.standing
        since_ms = standing.behind_since_ms
        return None if since_ms is None or since_ms > standing.looks_until_ms else since_ms

    def _looking(self) -> Steps[bool]:
        """Look at whom definitions concern; return whether that is anybody who has events."""
        yield from self._context.homes.knowing()
        since_ms = self._looks_since()
        if since_ms is None:
            # One came meanwhile that waits, of the same millisecond.
            return False
        with closing(self._state.redefinition.renewing(waits=True)) as looking:
            return (yield from self.taking_over(looking, since_ms, redefined=True))

    async def enter_history(self) -> None:
        """Put the next history records in force; every cut before them is published."""
        since_ms = self._state.standing.next_history_ms()
        with closing(entering_history(self._state)) as looking:
            await self._work.run(RENEWING, self.taking_over(looking, since_ms))
        self._next_flush.note_moved()
        if self._state.standing.looks:
            # A definition may have waited for a grid cut that is none any more.
            self.wanted.set()

    def taking_over(
        self, looking: Iterator[Renewed | None], since_ms: int, *, redefined: bool = False
    ) -> Steps[bool]:
        """Queue what has to be refolded for it, and the cuts that are others now.

        Return whether it concerns anybody who has events: all else a restart finds again.
        `redefined`: for definitions; history records change periods that are final, too.
        """
        state, concerns = self._state, False
        packing, timelines, event_ranges = state.packing, state.timelines, state.event_ranges
        for number, renewed in enumerate(looking, 1):
            if renewed is A_STEP:
                yield
                continue
            if renewed is not None:
                concerns = concerns or bool(event_ranges.codes_of(renewed.name) or renewed.refold)
                if renewed.refold:
                    self._refold_queue.want(renewed.refold, since_ms, redefined=redefined)
                if renewed.cut_moved:
                    self._cuts.reschedule_one(renewed.name)
                if timelines.has(renewed.name):
                    packing.spare(renewed.name)
            # A step of its own takes as long as a third of a look at most of them.
            if number % _AT_ONCE == 0 or (renewed is not None and renewed.refold):
                yield
        self._refold_queue.want_orphaned()
        self._cuts.reschedule(self._state.cuts.take_late_names())
        return concerns
