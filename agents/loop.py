"""Loop: work that is done again and again, when it is wanted or after some time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress

from app.kafka.clients import NOT_TAKEN
from app.log import facts
from app.runtime.partition.owned import OwnedPartition

log = logging.getLogger(__name__)

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


async def beginning_again(owned: OwnedPartition, text: str, work: Work) -> None:
    """Work; where brokers do not take it, log that it begins again, and pause as others do."""
    try:
        await work()
    except NOT_TAKEN as error:
        log.warning(text, error, extra=facts("note", partition=owned.number))
        await owned.shared.brokers.pause(0)


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
