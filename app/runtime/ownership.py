"""Ownership: which partitions are this worker's, and how one comes, goes and comes back.

The group decides (`assign`, `release`). A partition is owned: it folds, and its agents run. Or it
is parked: released, but still ours unless somebody else has taken it. Or it is brought: taken back
from the parked, or restored, as it is new here or failed. Any other is not ours. None waits for
another one that is brought.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import Any

from app.errors import StackError
from app.kafka.clients import NOT_TAKEN
from app.kafka.transactions import Fenced
from app.kafka.waiting import WaitingPartitions
from app.log import facts, told
from app.meter.errors import BeyondRetention
from app.runtime.context import Numbered
from app.runtime.delivery import Delivery
from app.runtime.partition.commit import OutputLost
from app.runtime.partition.owned import OwnedPartition
from app.runtime.restoring.restorer import Restorer
from app.runtime.status import Tally
from app.runtime.tasks import Work, cancel, failure_of
from tables.changelogged.checkpoint import StateTooNew

log = logging.getLogger(__name__)

_PATIENCE_S = 3.0
_RELEASED_WITHIN_S = 15.0
"""Well within the rebalance timeout: until we have let go, nobody else has anything."""
_ONLY_BY_HAND = (StackError, StateTooNew, OutputLost, BeyondRetention)
"""What a partition fails with that a restore of it alone does not mend."""
_MENDED_AFTER_S = 0.5
_MENDED_AFTER_MOST_S = 30.0
"""What fails again and again is restored ever less often, and others have the time."""
_SOUND_AFTER_S = 120.0
_DELIVERED_AFTER_S = 1.0
"""How often the brokers are asked again about logs that had no leader."""
_UNCOLLECTED_S = 60.0
"""The collector rests for so long at most while partitions are restored: others fold meanwhile."""


class Ownership:
    """Implements `app.kafka.placing.PartitionOwner`."""

    def __init__(
        self,
        delivery: Delivery,
        restorer: Restorer,
        begin: Callable[[OwnedPartition], Sequence[Work]],
        crash: Callable[[BaseException], Coroutine[Any, Any, None]],
        tally: Tally,
    ):
        """Take `begin`: it tells a partition what it missed, and returns the agents beside it."""
        self._delivery = delivery
        self._restorer = restorer
        self._begin = begin
        self._crash = crash
        self._tally = tally
        self._owned: dict[int, OwnedPartition] = {}
        self._parked: dict[int, OwnedPartition] = {}
        self._waiting = WaitingPartitions(log, "for brokers")
        self._new: set[int] = set()
        """Partitions that are brought since they were given to us."""
        self.was_whole = False
        """Whether all of some partitions that were given to us were owned at a time."""
        self.assigned: frozenset[int] | None = None
        """What the group told last; None: nothing yet."""
        self._rebalancing_s: float | None = None
        """Since when it is being told anew."""
        self._torn = False
        """Whether an error, which holds what it came through, gave up a partition of late."""
        self._agents: dict[int, list[asyncio.Task[None]]] = {}
        self._mending: dict[int, asyncio.Task[None]] = {}
        """Partitions of ours that are being brought."""
        self._failures: dict[int, tuple[int, float]] = {}
        """(how often in a row, when at last) a partition failed."""
        self._crashing: list[asyncio.Task[None]] = []

    @property
    def owned(self) -> Mapping[int, OwnedPartition]:
        """The partitions that fold here."""
        return self._owned

    @property
    def parked(self) -> Mapping[int, OwnedPartition]:
        """The partitions that were released, but are still ours unless others have taken them."""
        return self._parked

    @property
    def restoring(self) -> frozenset[int]:
        """Partitions that are being taken over."""
        return frozenset(self._new)

    @property
    def coming(self) -> frozenset[int]:
        """Partitions of ours that are not owned yet: taken over, or restored as they failed."""
        return (self.restoring | self._mending.keys()) - self._owned.keys()

    @property
    def is_whole(self) -> bool:
        """Whether all that the group told last is owned."""
        return self._owned.keys() == self.assigned

    async def assign(self, partitions: frozenset[int]) -> None:
        """Begin to reclaim what nobody else took, and to restore the rest."""
        self._rebalancing_s = self._rebalancing_s or monotonic()
        await self._stop_mending(list(self._mending))
        await self.release(frozenset(self._owned))
        await self.forget(self._parked.keys() - partitions)
        self._restorer.share_memory(len(partitions), self._parked.values())
        self._tell_rebalance(partitions)
        # One that was owned may have failed meanwhile, and is brought already.
        self._bring(sorted(partitions - self._mending.keys()))

    def loads(self) -> Mapping[int, int]:
        """Return the events a minute of partitions that have been here for a while."""
        return self._tally.loads.per_minute()

    async def release(self, partitions: frozenset[int]) -> None:
        """Flush and acknowledge; the state stays at hand in case the partitions come back.

        Also a flush that the brokers do not take stays: it is sent when they come back.
        """
        self._rebalancing_s = self._rebalancing_s or monotonic()
        await self._stop_mending(partitions & self._mending.keys())
        until_s = asyncio.get_running_loop().time() + _RELEASED_WITHIN_S
        numbers = sorted(partitions & self._owned.keys())
        parking = [
            asyncio.create_task(self._park(self._owned[number], until_s)) for number in numbers
        ]
        try:
            await asyncio.gather(*parking)
        finally:
            await cancel(parking)

    def _tell_rebalance(self, partitions: frozenset[int]) -> None:
        before = self.assigned or frozenset()
        gained, lost = sorted(partitions - before), sorted(before - partitions)
        seconds = monotonic() - (self._rebalancing_s or monotonic())
        self.assigned, self._rebalancing_s = partitions, None
        self._tally.rebalances += 1
        log.info(
            "Rebalanced in %.1f s: partitions %s came, %s went",
            seconds,
            gained,
            lost,
            extra=facts("rebalance", gained=gained, lost=lost, seconds=round(seconds, 3)),
        )
        ours = sorted(partitions)
        log.info("Partitions %s are ours", ours, extra=facts("assignment", partitions=ours))

    def _bring(self, numbers: list[int]) -> None:
        """Bring each for itself, and own it then."""
        self._new = set(numbers)
        if numbers:
            # What is restored stays: the collector need not walk a million cells again and again.
            gc.disable()
            asyncio.get_running_loop().call_later(_UNCOLLECTED_S, gc.enable)
        else:
            self._settle()
        for number in numbers:
            self._mending[number] = asyncio.create_task(
                self._mended(partial(self._brought, number))
            )

    async def _brought(self, number: int) -> None:
        """Own a partition as it was left or is in Kafka, once it is delivered from there."""
        brought = await self._reclaim(number)
        if brought is None:
            brought = await self._restorer.restore(number)
        delivering = False
        try:
            delivering = await self._delivering(brought)
        finally:
            if not delivering:
                # A rebalance has begun: it is as one that was released.
                await self._leave(brought)
        if delivering:
            self._mending.pop(number, None)
            self._own(brought)
            self._new.discard(number)
            if not self._new:
                self._settle()

    async def _delivering(self, brought: OwnedPartition) -> bool:
        """Have it delivered, once its logs have leaders; return False if a rebalance has begun."""
        with self._waiting.while_it_waits(brought.number) as waits:
            while True:
                try:
                    return await self._delivery.deliver_from(brought.number, brought.next_offsets())
                except NOT_TAKEN as error:
                    waits(error)
                await asyncio.sleep(_DELIVERED_AFTER_S)

    def _settle(self) -> None:
        gc.enable()
        self._settle_memory()
        self.was_whole |= self.is_whole and bool(self._owned)

    def _own(self, owned: OwnedPartition) -> None:
        """Do nothing else between the last of its definitions and the first new one."""
        agents = self._begin(owned)
        self._owned[owned.number] = owned
        self._agents[owned.number] = [
            asyncio.create_task(self._run(owned, agent)) for agent in agents
        ]

    async def _run(self, owned: OwnedPartition, agent: Work) -> None:
        """Run an agent; only the partition ends by its failure."""
        failure = await failure_of(agent)
        if failure is not None:
            self.fail(owned, failure)

    async def _reclaim(self, number: int) -> OwnedPartition | None:
        """Return a parked partition whose producer was not fenced: it is still as we left it."""
        owned = self._parked.pop(number, None)
        if owned is None:
            return None
        began_s = monotonic()
        owned.take_back()
        try:
            await owned.flush()
        except asyncio.CancelledError:
            # Another rebalance ends it.
            await self._leave(owned)
            raise
        except Exception as error:
            await owned.give_up()
            self._torn = True
            if isinstance(error, _ONLY_BY_HAND):
                raise
            # What is at hand cannot be gone on with; Kafka has all of it.
            if not isinstance(error, Fenced):
                text, extra = "Partition %s is restored: %s", facts("note", partition=number)
                log.error(text, number, told(error), exc_info=error, extra=extra)
            return None
        self._restorer.tell_restored(number, "parked", 0, monotonic() - began_s)
        return owned

    async def _park(self, owned: OwnedPartition, until_s: float) -> None:
        number = owned.number
        await cancel(self._agents.pop(number, []))
        owned.hand_over()
        try:
            await self._last_flush(owned, until_s)
        except Exception as error:
            if not isinstance(error, Fenced):
                text, extra = "The last flush failed: %s", facts("note", partition=number)
                log.error(text, told(error), exc_info=error, extra=extra)
            text = "Partition %s could not be flushed: its next owner goes on"
            log.warning(text, number, extra=facts("note", partition=number))
            if self._owned.pop(number, None) is not None:
                await owned.give_up()
                self._torn = True
            return
        if self._owned.pop(number, None) is not None:
            await self._leave(owned)

    async def _last_flush(self, owned: OwnedPartition, until_s: float) -> None:
        """Flush; give the partition up if that takes long, which must not hold others up.

        Redis may be away, and a fold that waits for the definitions log stands in the middle of a
        batch: the log may go on only when the rebalance is over.
        """
        if owned.is_failing():
            # Nobody is asked in a rebalance whether the partition is ours yet.
            return
        flushing = asyncio.ensure_future(owned.flush())
        while not flushing.done():
            await asyncio.wait([flushing], timeout=_PATIENCE_S)
            if flushing.done():
                break
            if owned.is_failing():
                flushing.cancel()
                return
            late = asyncio.get_running_loop().time() >= until_s
            if late and owned.is_between_flushes() and not owned.waits_for_definitions:
                # It stays as it is packed. Or it is between two flushes, as when the brokers came
                # back this moment: then it stays with all that is to be packed.
                flushing.cancel()
                return
            if late or owned.waits_for_definitions or not owned.can_store_members():
                await owned.abandon()
                flushing.cancel()
                raise Fenced(f"partition {owned.number} was given up: its last flush takes long")
        flushing.result()

    async def _leave(self, owned: OwnedPartition) -> None:
        """Keep it as it is, in case it comes back."""
        self._parked[owned.number] = owned
        await owned.leave()

    async def forget(self, numbers: Iterable[int]) -> None:
        """Forget what went to other workers; a batch on its way to the fold ends there.

        At once: they may have it while much else is restored here.
        """
        for owned in [self._parked.pop(number) for number in sorted(numbers)]:
            await owned.give_up()

    def _settle_memory(self) -> None:
        """Let the collector pass over what stays: to walk it would hold the loop for seconds.

        What is given up goes without it. Only an error leads back to what it came through.
        """
        if self._torn:
            gc.unfreeze()
            gc.collect()
            self._torn = False
        gc.freeze()

    def fail(self, failed: Numbered, error: BaseException) -> None:
        """Give a partition up of which something failed, and restore it if it is ours still.

        The process and the other partitions go on.
        """
        number = failed.number
        owned = self._owned.get(number)
        if owned is None or owned is not failed:
            return
        del self._owned[number]
        owned.mark_abandoned()
        if isinstance(error, _ONLY_BY_HAND) or not self._delivery.attached:
            # No restore mends that; it says itself what does.
            self._crashing.append(asyncio.create_task(self._crash(error)))
            return
        extra = facts("note", partition=number)
        if isinstance(error, Fenced):
            log.warning("Partition %s is given up: %s", number, error, extra=extra)
        else:
            text = "Partition %s failed and is restored: %s"
            log.error(text, number, told(error), exc_info=error, extra=extra)
        self._delivery.hold(number)
        # Also if a rebalance ends the mending before it has begun: whoever waits for a flush of it
        # would hold up what is delivered.
        letting_go = asyncio.create_task(self._let_go(owned))
        mend = partial(self._mend, letting_go, number, monotonic())
        self._mending[number] = asyncio.create_task(self._mended(mend))

    async def _mended(self, mend: Work) -> None:
        failure = await failure_of(mend)
        if failure is not None:
            await self._crash(failure)

    async def _mend(self, letting_go: asyncio.Task[None], number: int, failed_s: float) -> None:
        times, last_s = self._failures.get(number, (0, failed_s))
        times = times + 1 if failed_s - last_s < _SOUND_AFTER_S else 1
        self._failures[number] = times, failed_s
        self._torn = True
        try:
            await asyncio.shield(letting_go)
        finally:
            await asyncio.wait([letting_go])
        await asyncio.sleep(min(_MENDED_AFTER_S * 2 ** (times - 1), _MENDED_AFTER_MOST_S))
        await self._delivery.heard_since(failed_s)
        await self._brought(number)

    async def _let_go(self, owned: OwnedPartition) -> None:
        await cancel(self._agents.pop(owned.number, []))
        await owned.give_up()

    async def _stop_mending(self, numbers: Iterable[int]) -> None:
        stopped = [number for number in numbers if number in self._mending]
        # Who is cancelled over it leaves them to the next one: none may be restored twice at once.
        await cancel([self._mending[number] for number in stopped])
        for number in stopped:
            self._mending.pop(number, None)
            self._new.discard(number)
        if not self._new:
            gc.enable()

    async def end_agents(self) -> None:
        """End all that runs for partitions."""
        await self._stop_mending(list(self._mending))
        for tasks in self._agents.values():
            await cancel(tasks)
        await cancel(self._crashing)

    async def close(self) -> None:
        """Let go of every partition; they were released before, unless the worker crashed."""
        for owned in [*self._owned.values(), *self._parked.values()]:
            await owned.close()
        self._owned.clear()
        self._parked.clear()
