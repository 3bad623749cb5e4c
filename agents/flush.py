"""Flush: a partition's changes made durable, at most every flush_interval_s.

While very many cells change it waits some times as long, unless somebody waits for the flush. Cuts
do not: they wait for progress, which is told meanwhile.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from agents.loop import whenever_wanted
from app.runtime.flush_pace import LATER
from app.runtime.partition.owned import OwnedPartition

CARRIED_WITHIN_S = 60.0
"""Seconds without a flush after which there is one for definitions that concern nobody in the
partition: a restart looks again at all that no flush has told of. Nobody else waits for that."""


async def flush(owned: OwnedPartition) -> None:
    """Flush the partition until cancelled; what cannot be tried again ends the partition here.

    One of which nothing has changed sleeps, but for a look at what was defined.
    """
    next_flush, interval_s = owned.next_flush, owned.shared.settings.flush_interval_s
    loop, flusher = asyncio.get_running_loop(), owned.flusher
    due_s = loop.time() + interval_s

    async def wanted_until(at_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout_at(at_s):
                await next_flush.wanted.wait()

    async def flush_when_due() -> None:
        nonlocal due_s
        if next_flush.is_empty() and owned.refold_queue.is_told_more:
            next_flush.note_moved()
        latest_s = due_s + (LATER - 1) * interval_s
        await wanted_until(due_s)
        while not next_flush.wanted.is_set() and loop.time() < latest_s and flusher.may_wait():
            await flusher.tell()
            await wanted_until(min(loop.time() + interval_s / 4, latest_s))
        next_flush.wanted.clear()
        next_flush.begun.clear()
        await owned.flush()
        due_s = loop.time() + interval_s
        if not next_flush.is_empty():
            next_flush.begun.set()

    await whenever_wanted(owned, next_flush.begun, lambda: CARRIED_WITHIN_S, flush_when_due)
