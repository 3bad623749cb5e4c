"""Decide when a request begins: organizations in rotation, as many at once as memory allows.

Requests begin a few at a turn of the loop, so that a slice of events is folded between them. They
wait by organization; those without a known key have a small queue of their own. When too many wait
already, a request is told to come again later.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from app.api.http.errors import too_many_requests
from app.bounds.limits import (
    BASE_WORKING_BYTES,
    BEGUN_A_TURN,
    BODIES_BYTES,
    REFUSED_A_TURN,
    REQUEST_WORKING_BYTES,
    WAITING_IN_ALL,
    WAITING_OF_ORGANIZATION,
    WAITING_S,
    WAITING_WITHOUT_KEY,
    WORKING_BYTES,
    WORKING_BYTES_A_BYTE,
)

NOBODY = ""
"""Name in place of an organization for requests without a key, or with an unknown one."""

RETRY_AFTER_S = 1
_POOLS = 2
"""Pools of memory: one for clients' requests, one for those of other workers. The latter are never
forwarded, so they always end, and no two workers wait for each other's memory."""

_SHARES = 2
"""Shares of a pool; one organization has one at most. An organization that sends slowly thus cannot
keep the others waiting."""


class Memory(NamedTuple):
    """Memory that requests take or may take, in bytes: their bodies, and the work on them."""

    body: int
    working: int

    @classmethod
    def of(cls, body_bytes: int) -> Memory:
        """Return the memory that a request with a body of this size counts for."""
        needed = BASE_WORKING_BYTES + WORKING_BYTES_A_BYTE * body_bytes
        return cls(body_bytes, min(needed, REQUEST_WORKING_BYTES))

    def fits(self, more: Memory, most: Memory) -> bool:
        return self.body + more.body <= most.body and self.working + more.working <= most.working

    def plus(self, more: Memory, sign: int = 1) -> Memory:
        return Memory(self.body + sign * more.body, self.working + sign * more.working)


_NOTHING = Memory(0, 0)
_POOL = Memory(BODIES_BYTES // _POOLS, WORKING_BYTES // _POOLS)
_SHARE = Memory(_POOL.body // _SHARES, _POOL.working // _SHARES)


class _Waiting(NamedTuple):
    memory: Memory
    begins: asyncio.Future[None]


class Admission:
    """Decides which requests of one pool begin now, and lets the others wait."""

    def __init__(self) -> None:
        self._queues: dict[str, deque[_Waiting]] = {}
        """Waiting requests by organization, never empty; the first organization is the next one."""
        self._waiting = 0
        self._begun = 0
        """Requests begun in this turn of the loop."""
        self._next_turn: asyncio.Handle | None = None
        self._taken = _NOTHING
        self._taken_by: dict[str, Memory] = {}
        self._refusals = asyncio.Semaphore(REFUSED_A_TURN)

    @asynccontextmanager
    async def admitted(self, organization: str, body_bytes: int) -> AsyncIterator[None]:
        """Wait for the request's turn, and hold its memory. Raises 429 `too_many_requests`."""
        memory = Memory.of(body_bytes)
        if organization not in self._queues and self._may_begin(organization, memory):
            self._begin(organization, memory)
        else:
            await self._wait(organization, memory)
        try:
            yield
        finally:
            self._release(organization, memory)

    def _may_begin(self, organization: str, memory: Memory) -> bool:
        taken = self._taken_by.get(organization, _NOTHING)
        return (
            self._begun < BEGUN_A_TURN
            and self._taken.fits(memory, _POOL)
            and taken.fits(memory, _SHARE)
        )

    def _begin(self, organization: str, memory: Memory) -> None:
        self._begun += 1
        self._taken = self._taken.plus(memory)
        self._taken_by[organization] = self._taken_by.get(organization, _NOTHING).plus(memory)
        self._look_next_turn()

    def _release(self, organization: str, memory: Memory) -> None:
        self._taken = self._taken.plus(memory, -1)
        left = self._taken_by.pop(organization).plus(memory, -1)
        if left.working:
            self._taken_by[organization] = left
        if self._queues:
            self._look_next_turn()

    async def _wait(self, organization: str, memory: Memory) -> None:
        queue = self._queues.get(organization, ())
        most = WAITING_OF_ORGANIZATION if organization else WAITING_WITHOUT_KEY
        if len(queue) >= most or (organization and self._waiting >= WAITING_IN_ALL):
            await self._refuse()
        mine = _Waiting(memory, asyncio.get_running_loop().create_future())
        self._queues.setdefault(organization, deque()).append(mine)
        self._waiting += bool(organization)
        self._look_next_turn()
        try:
            async with asyncio.timeout(WAITING_S):
                await mine.begins
        except BaseException as error:
            if mine.begins.done() and not mine.begins.cancelled():
                self._release(organization, memory)
            else:
                self._leave(organization, mine)
            if isinstance(error, TimeoutError):
                raise too_many_requests(RETRY_AFTER_S) from error
            raise

    async def _refuse(self) -> None:
        # To refuse thousands at once would take as long as answering hundreds.
        await self._refusals.acquire()
        asyncio.get_running_loop().call_soon(self._refusals.release)
        raise too_many_requests(RETRY_AFTER_S)

    def _leave(self, organization: str, waiting: _Waiting) -> None:
        queue = self._queues.get(organization)
        if queue is None or waiting not in queue:
            return
        queue.remove(waiting)
        self._waiting -= bool(organization)
        if not queue:
            del self._queues[organization]

    def _look_next_turn(self) -> None:
        if self._next_turn is None:
            self._next_turn = asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._next_turn, self._begun = None, 0
        begun = -1
        while self._begun > begun:
            begun = self._begun
            for organization in list(self._queues):
                self._begin_first_of(organization)

    def _begin_first_of(self, organization: str) -> None:
        """Begin an organization's first request if it may begin; move the organization last."""
        queue = self._queues[organization]
        while queue and queue[0].begins.done():
            # Its client has gone just now.
            self._leave(organization, queue[0])
        if not queue or not self._may_begin(organization, queue[0].memory):
            return
        first = queue[0]
        self._leave(organization, first)
        if queue:
            self._queues[organization] = self._queues.pop(organization)
        self._begin(organization, first.memory)
        first.begins.set_result(None)
