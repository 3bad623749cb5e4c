"""When the cuts of a partition are, and what holds the next one back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import Literal, NamedTuple

from app.bounds.turns import Steps
from app.runtime.context import WorkerContext
from app.runtime.partition.refold_queue import RefoldQueue
from app.runtime.progress import Progress
from app.wire.arrivals import SubscriptionKey
from tables.changelogged.checkpoint import FORGETTING_VERSION
from tables.closing.close import DueNext, next_cut
from tables.closing.forgetting import Forgetting
from tables.closing.schedule import Schedule
from tables.partition.partition import Partition

log = logging.getLogger(__name__)

POLL_S = 0.1
"""What holds a cut back does not tell when it is gone."""
PEERS_POLL_S = 1.0
"""Reports of others do tell; which of them is told to be behind follows after so long."""
LOOKS_AGAIN_S = 30.0
"""Whoever ticks wakes the closer, too, when the clock was set."""

HeldBy = Literal["raw_behind", "peer_silent", "forwarded_behind", "definitions_behind", "refolding"]


class Blocked(NamedTuple):
    """A cut that is held back."""

    cut_ms: int
    text: str
    """What it waits for."""
    since_ms: int
    held_by: HeldBy


class Cuts:
    """The cuts to come of one partition."""

    def __init__(self, state: Partition, context: WorkerContext, refold_queue: RefoldQueue):
        self._state = state
        self._context = context
        self._refold_queue = refold_queue
        self.schedule = Schedule(state, ())
        self.forgetting = Forgetting(state, self.schedule)
        self.blocked: Blocked | None = None
        """The cut that is held back."""
        self.woken = asyncio.Event()
        """The closer should look again."""
        self.asleep_until_ms = -1
        """The cut that the closer waits for."""
        self._forwarded = (-1, 0)
        """(cut, end of the forwarded events by then)"""
        self._told_ms = -1
        """The next cut as others were told of it last."""

    def pause_s(self) -> float:
        """Return how long the closer may sleep, unless it is woken."""
        self.asleep_until_ms = self.schedule.next_ms()
        blocked = self.blocked
        if self._context.settings.test_clock:
            return POLL_S
        if blocked is not None:
            return PEERS_POLL_S if blocked.held_by == "peer_silent" else POLL_S
        wait_ms = self.asleep_until_ms - self._context.clock.now_ms()
        return min(max(wait_ms / 1_000, POLL_S), LOOKS_AGAIN_S)

    def look(self) -> None:
        """Wake the closer if there may be a cut before the one that it waits for."""
        if self.schedule.next_ms() < self.asleep_until_ms:
            self.woken.set()

    def look_at(self, now_ms: int) -> None:
        """Wake the closer if the cut that it waits for is past."""
        if self.asleep_until_ms < now_ms and self.blocked is None:
            self.woken.set()

    def look_again(self) -> None:
        """Wake the closer if a cut is held back: what it waits for may have come."""
        blocked, context = self.blocked, self._context
        if blocked is None:
            return
        partitions = context.settings.raw_partitions
        if blocked.held_by == "peer_silent" and (
            context.progress.first_behind(blocked.cut_ms, partitions) is not None
        ):
            # Each of very many would find one behind, at each report of another.
            return
        self.woken.set()

    async def forwarded_end(self, cut_ms: int) -> int:
        """Return where events end that were forwarded here until a cut, which all are past.

        It is asked for once. Whatever comes behind it is later than the cut, and more may come
        all the time.
        """
        if cut_ms > self._forwarded[0]:
            self._forwarded = cut_ms, await self._context.offsets.rekeyed_end(self._state.number)
        return self._forwarded[1]

    def hold_back(self, cut_ms: int, held_by: HeldBy, text: str, now_ms: int) -> None:
        """Note what a cut waits for; for how long counts from the first time it is the same."""
        if self.blocked is None or self.blocked[:2] != (cut_ms, text):
            self.blocked = Blocked(cut_ms, text, now_ms, held_by)

    def let_go(self) -> None:
        """Note that nothing holds a cut back."""
        self.blocked = None

    def progress(self, raw_next: int, append_time_ms: int) -> Progress:
        """Return what to tell all workers when everything before is forwarded and acknowledged."""
        self._told_ms = self.schedule.next_ms()
        return Progress(
            self._state.number,
            append_time_ms,
            self._told_ms,
            self._state.checkpoint.epoch,
            self._context.url,
            raw_next,
            FORGETTING_VERSION,
        )

    def is_told(self) -> bool:
        """Return whether all workers are told of the next cut as it is now."""
        return self.schedule.next_ms() == self._told_ms

    def reschedule(self, names: Iterable[SubscriptionKey]) -> None:
        """Look for the next cuts of subscriptions, and so which corrections they show."""
        for name in sorted(names):
            self.reschedule_one(name)

    def reschedule_one(self, name: SubscriptionKey, known: DueNext | None = None) -> None:
        """Do what `reschedule` does for one; `known`: what is known of its next cut."""
        state = self._state
        if self._schedule(name, known) and state.corrections.touches(name):
            wrong_ms = state.corrections.followed.wrong_since(name, next_cut(state, name))
            if wrong_ms is not None:
                self._refold_queue.want_repair(name, wrong_ms)

    def _schedule(self, name: SubscriptionKey, known: DueNext | None = None) -> bool:
        """Note when its next cut is, if that can be told; the others' go on without it."""
        try:
            if self.schedule.update(name, known) < self.asleep_until_ms:
                self.woken.set()
        except MemoryError:
            raise
        except Exception as error:
            log.exception("It cannot be told when the next cut of %s is", name)
            self.schedule.drop(name)
            self._state.stale.park(name, repr(error))
            return False
        return True

    def rescheduling(self) -> Steps[None]:
        """Look for the next cuts of those whose cut was taken."""
        while self.schedule.has_taken:
            self.reschedule_one(*self.schedule.free())
            yield

    def scheduling(self) -> Steps[None]:
        """Learn of a restored partition when its cuts are, and pack what need not be at hand."""
        homes = self._context.homes
        yield from homes.knowing()
        yield from self._state.announcing()
        # Cells were found, maybe, that no route leads to.
        self._refold_queue.want_orphaned()
        untold_ms = yield from self._state.cuts.untold_ms()
        for name in homes.names_at(self._state.number):
            yield from self._state.cuts.announcing_grid(name, untold_ms)
            if self._schedule(name):
                if self._state.timelines.has(name):
                    self._state.packing.pack(name)
                if name not in self.schedule and self._state.packing.is_packed(name):
                    self.forgetting.note_ended(name)
            yield
