"""What a query asks of the brokers: whoever waits for it is told soon that none answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Final

from app.kafka.clients import NOT_TAKEN
from app.meter.errors import Unavailable

READ_WITHIN_S: Final = 5.0
"""Seconds the brokers have to answer. A worker waits twice as long for another worker."""


@asynccontextmanager
async def asked() -> AsyncIterator[None]:
    """Ask for something within a block.

    Raises:
        Unavailable: no broker answers, or not within `READ_WITHIN_S`.
    """
    try:
        async with asyncio.timeout(READ_WITHIN_S):
            yield
    except NOT_TAKEN as error:
        raise Unavailable(f"no broker answers: {error!r}") from error


class Fetches:
    """Fetches of what is there: brokers that send nothing of it are away."""

    def __init__(self) -> None:
        self._heard_s = monotonic()

    def note(self, fetched: object) -> None:
        """Take note of what a fetch brought, if anything.

        Raises:
            Unavailable: none has brought anything for `READ_WITHIN_S`.
        """
        if fetched:
            self._heard_s = monotonic()
        elif monotonic() - self._heard_s > READ_WITHIN_S:
            raise Unavailable("brokers send nothing")
