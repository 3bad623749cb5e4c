"""Loop: work that is done again and again, when it is wanted or after some time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from app.kafka.clients import NOT_TAKEN
from app.runtime.partition.owned import OwnedPartition

Work = Callable[[], Awaitable[object]]


async def whenever_wanted(
    owned: OwnedPartition,
    wanted: asyncio.Event,
    most_s: Callable[[], float | None],
    work: Work,
) -> None:
    """Work again and again until cancelled; an error ends the partition here.

    `most_s`: longest pause before it is done without being wanted; None: it has to be wanted.
    """
    while True:
        with suppress(TimeoutError):
            async with asyncio.timeout(most_s()):
                await wanted.wait()
        wanted.clear()
        try:
            await work()
        except Exception as error:
            owned.fail(error)
            return


async def every(
    pause_s: float,
    work: Work,
    interrupted: Callable[[Exception], object] = lambda error: None,
    by: tuple[type[Exception], ...] = NOT_TAKEN,
) -> None:
    """Work after each pause until cancelled; what interrupts it is told, and it is tried again."""
    while True:
        await asyncio.sleep(pause_s)
        try:
            await work()
        except by as error:
            interrupted(error)
