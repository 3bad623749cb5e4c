"""Flush: a partition's changes made durable, at most every flush_interval_s."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from agents.loop import whenever_wanted
from app.runtime.partition.owned import OwnedPartition


async def flush(owned: OwnedPartition) -> None:
    """Flush the partition until cancelled; what cannot be tried again ends the partition here.

    One of which nothing has changed sleeps.
    """
    next_flush, interval_s = owned.next_flush, owned.shared.settings.flush_interval_s
    loop = asyncio.get_running_loop()
    due_s = loop.time() + interval_s

    async def flush_when_due() -> None:
        nonlocal due_s
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due_s):
                await next_flush.wanted.wait()
        next_flush.wanted.clear()
        next_flush.begun.clear()
        await owned.flush()
        due_s = loop.time() + interval_s
        if not next_flush.is_empty():
            next_flush.begun.set()

    await whenever_wanted(owned, next_flush.begun, lambda: None, flush_when_due)
