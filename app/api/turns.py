"""Turns: a flood of requests must not keep the event loop from folding.

Requests begin a few at a turn of the loop, so that a slice of events is folded between them. When
too many wait already, a request is told to come again later.
"""

from __future__ import annotations

import asyncio

from app.api.errors import too_many_requests

BEGUN_AT_ONCE = 8
REFUSED_AT_ONCE = 32
MOST_WAITING = 256
RETRY_AFTER_S = 1


class Turns:
    """Who may begin now."""

    def __init__(self) -> None:
        self._begins = asyncio.Semaphore(BEGUN_AT_ONCE)
        self._refusals = asyncio.Semaphore(REFUSED_AT_ONCE)
        self._waiting = 0

    async def begin(self) -> None:
        """Return when it is a request's turn. Raises 429 `too_many_requests`."""
        if self._waiting >= MOST_WAITING:
            # To refuse thousands at once would take as long as answering hundreds.
            await _next(self._refusals)
            raise too_many_requests(RETRY_AFTER_S)
        self._waiting += 1
        try:
            await _next(self._begins)
        finally:
            self._waiting -= 1


async def _next(places: asyncio.Semaphore) -> None:
    await places.acquire()
    # Free again at the next turn of the loop, whether the request is answered by then or not.
    asyncio.get_running_loop().call_soon(places.release)
