"""What a query asks of the brokers: whoever waits for it is told soon that none answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from app.kafka.clients import NOT_TAKEN
from app.meter.errors import Unavailable

READ_WITHIN_S: Final = 5.0
"""Seconds the brokers, or Redis, have to answer. A worker waits twice as long for another one."""


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


HELD_S: Final = 1.0
"""Seconds that a live fold waits for brokers that send nothing to whoever reads again."""


class Fetches:
    """Fetches of what is there: brokers that send nothing of it are away."""

    def __init__(self, timeout_ms: int) -> None:
        """Take after how long a fetch ends that brings nothing."""
        self._timeout_ms = timeout_ms
        self._empty = 0
        """How many have brought nothing since the last one that did."""

    def note(self, fetched: object) -> None:
        """Take note of what a fetch brought, if anything.

        Raises:
            Unavailable: none has brought anything for `READ_WITHIN_S`.
        """
        if self.silent_s(fetched) > READ_WITHIN_S:
            raise Unavailable("brokers send nothing")

    def silent_s(self, fetched: object) -> float:
        """Take note of the same; return for how long none has brought anything."""
        self._empty = 0 if fetched else self._empty + 1
        return self._empty * self._timeout_ms / 1_000
