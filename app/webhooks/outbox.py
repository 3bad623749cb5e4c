"""What waits for one endpoint and is on its way there, and when it is tried again.

Deliveries of a lane go one after another. One that fails waits apart for its next attempt: those
behind it go on, and so do all other lanes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Final, NamedTuple

from app.webhooks.message import Message

AT_ONCE: Final = 512
"""Requests at once, to all endpoints together."""
DOUBTFUL_AT_ONCE: Final = AT_ONCE // 2
"""Requests at once to all endpoints that fail, are slow or were never asked."""
WIDTH: Final = 16
"""Requests at once to an endpoint that takes what it is sent."""
DOUBTFUL_WIDTH: Final = 2
"""Requests at once to one that does not, or was never asked, so that it ties up little."""
SWIFT_S: Final = 1.0
"""An endpoint that takes longer is waited for by nobody."""


class Delivery:
    """One message on its way to one endpoint."""

    __slots__ = ("attempts", "done", "endpoint_id", "message")

    def __init__(self, message: Message, endpoint_id: str, done: Callable[[], None]):
        self.message = message
        self.endpoint_id = endpoint_id
        self.done = done
        """Called once, when it was taken or is given up."""
        self.attempts = 0

    @property
    def size(self) -> int:
        """Bytes that it holds in memory; those of its body mostly."""
        return len(self.message.body) + 1_000


class Attempt(NamedTuple):
    """What an attempt came to: it is over, or tried again after a wait."""

    succeeded: bool
    took_s: float
    wait_s: float | None = None
    """Seconds until the next attempt; None: there is none."""


class Outbox:
    """The deliveries of one endpoint."""

    def __init__(
        self,
        attempt: Callable[[Delivery], Awaitable[Attempt]],
        ended: Callable[[Delivery], None],
        failed: Callable[[BaseException], None],
        doubtful: asyncio.Semaphore,
    ):
        """Tell `ended` of each delivery that leaves the outbox, `failed` of a defect of ours.

        `doubtful`: of all outboxes whose endpoints may not take what they are sent.
        """
        self._attempt = attempt
        self._doubtful = doubtful
        self._ended = ended
        self._failed = failed
        self._lanes: dict[str, deque[Delivery]] = {}
        """Deliveries by lane; the first of each is ready or on its way."""
        self._ready: deque[tuple[Delivery, bool]] = deque()
        """Deliveries to be tried next; True: it is the first of its lane."""
        self._waiting: dict[Delivery, asyncio.TimerHandle] = {}
        """Deliveries that failed, until they are tried again."""
        self._running: set[asyncio.Task[None]] = set()
        self.count = 0
        self.size = 0
        self.is_swift = True
        """Whether the last attempt succeeded, and soon; True before the first."""
        self._is_doubtful = True
        """Whether it did not; True before the first."""

    def put(self, delivery: Delivery) -> None:
        """Take a delivery to be made after those of its lane."""
        self.count += 1
        self.size += delivery.size
        lane = self._lanes.get(delivery.message.lane)
        if lane is None:
            self._lanes[delivery.message.lane] = deque((delivery,))
            self._ready.append((delivery, True))
        else:
            lane.append(delivery)
        self._go_on()

    def stop(self) -> None:
        """Drop everything: nothing of it is done."""
        for timer in self._waiting.values():
            timer.cancel()
        for task in self._running:
            task.cancel()
        self._waiting.clear()
        self._ready.clear()

    def _go_on(self) -> None:
        width = DOUBTFUL_WIDTH if self._is_doubtful else WIDTH
        while self._ready and len(self._running) < width:
            task = asyncio.create_task(self._try(*self._ready.popleft()))
            self._running.add(task)
            task.add_done_callback(self._tried)

    def _tried(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._failed(error)
        self._go_on()

    async def _try(self, delivery: Delivery, leads: bool) -> None:
        async with self._doubtful if self._is_doubtful else nullcontext():
            attempt = await self._attempt(delivery)
        self.is_swift = attempt.succeeded and attempt.took_s <= SWIFT_S
        self._is_doubtful = not self.is_swift
        if attempt.wait_s is None:
            self._end(delivery)
        else:
            loop = asyncio.get_running_loop()
            self._waiting[delivery] = loop.call_later(attempt.wait_s, self._again, delivery)
        if leads:
            self._next_of(delivery.message.lane)

    def _end(self, delivery: Delivery) -> None:
        self.count -= 1
        self.size -= delivery.size
        delivery.done()
        self._ended(delivery)

    def _next_of(self, name: str) -> None:
        lane = self._lanes[name]
        lane.popleft()
        if lane:
            self._ready.append((lane[0], True))
        else:
            del self._lanes[name]

    def _again(self, delivery: Delivery) -> None:
        del self._waiting[delivery]
        self._ready.append((delivery, False))
        self._go_on()
