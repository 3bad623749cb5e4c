"""Loop: a partition's work, done again when it is wanted or some time has passed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from app.owned import OwnedPartition


async def whenever_wanted(
    owned: OwnedPartition,
    wanted: asyncio.Event,
    most_s: float,
    work: Callable[[], Awaitable[object]],
) -> None:
    """Work again and again until cancelled; an error ends the partition here.

    `most_s`: longest pause before it is done without being wanted.
    """
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s):
                await wanted.wait()
        wanted.clear()
        try:
            await work()
        except Exception as error:
            owned.shared.fail(owned, error)
            return
