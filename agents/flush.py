"""Flush: a partition's changes made durable, at most every flush_interval_s."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from app.owned import OwnedPartition


async def flush(owned: OwnedPartition) -> None:
    """Flush the partition until cancelled; what cannot be tried again ends the partition here."""
    interval_s = owned.shared.settings.flush_interval_s
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(interval_s):
                await owned.flush_wanted.wait()
        owned.flush_wanted.clear()
        try:
            await owned.flush()
        except Exception as error:
            owned.shared.fail(owned, error)
            return
