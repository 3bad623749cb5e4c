"""The outboxes of all endpoints: who is told what, and how much may wait.

An endpoint that takes what it is sent is waited for where its outbox is full. One that fails or is
slow holds nobody back: what does not fit is given up at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from app.definitions.model import WebhookEndpoint
from app.definitions.state import Definitions
from app.webhooks.message import Message
from app.webhooks.metrics import Metrics
from app.webhooks.outbox import DOUBTFUL_AT_ONCE, Attempt, Delivery, Outbox
from app.webhooks.reasons import Reason

MOST_OF_ONE: Final = 5_000
MOST_BYTES_OF_ONE: Final = 32 * 1024 * 1024
MOST_BYTES: Final = 256 * 1024 * 1024
"""Bytes of all outboxes together. Failing endpoints may fill half of them."""


class Outboxes:
    """Puts messages into the outbox of each endpoint that wants them."""

    def __init__(
        self,
        definitions: Definitions,
        attempt: Callable[[Delivery], Awaitable[Attempt]],
        give_up: Callable[[WebhookEndpoint, Delivery, str], None],
        metrics: Metrics,
        failed: Callable[[BaseException], None],
    ):
        self._definitions = definitions
        self._attempt = attempt
        self._give_up = give_up
        self._metrics = metrics
        self._failed = failed
        self._of: dict[str, Outbox] = {}
        self._size = 0
        self._freed = asyncio.Event()
        self._doubtful = asyncio.Semaphore(DOUBTFUL_AT_ONCE)

    async def put(
        self, message: Message, begin: Callable[[], None], done: Callable[[], None]
    ) -> None:
        """Put a message into the outbox of each endpoint that wants it, once there is room.

        `begin` is called for each of them, `done` when one is told or given up.
        """
        endpoints = self._definitions.webhook_endpoints
        wanting = endpoints.wanting(message.organization_id, message.webhook_type)
        for _ in wanting:
            begin()
        for endpoint in wanting:
            delivery = Delivery(message, endpoint.id, done)
            if await self._has_room(delivery):
                self._metrics.waits.begin(delivery)
                self._box(endpoint.id).put(delivery)
                self._size += delivery.size
                self._tell(1)
            else:
                self._give_up(endpoint, delivery, Reason.FULL)
                done()

    def stop(self) -> None:
        """Drop everything: whoever goes on reads it again."""
        for box in self._of.values():
            self._tell(-box.count)
            box.stop()
        self._of.clear()
        self._size = 0
        self._metrics.waiting_bytes.set(0)
        self._metrics.waits.clear()

    async def _has_room(self, delivery: Delivery) -> bool:
        """Wait for room in the outbox of a swift endpoint; return False if there is none."""
        while True:
            box = self._box(delivery.endpoint_id)
            most_bytes = MOST_BYTES if box.is_swift else MOST_BYTES // 2
            fits = (
                box.count < MOST_OF_ONE
                and box.size + delivery.size <= MOST_BYTES_OF_ONE
                and self._size + delivery.size <= most_bytes
            )
            if fits or not box.is_swift:
                return fits
            self._freed.clear()
            await self._freed.wait()

    def _box(self, endpoint_id: str) -> Outbox:
        box = self._of.get(endpoint_id)
        if box is None:
            about = self._attempt, self._left, self._failed, self._doubtful
            box = self._of[endpoint_id] = Outbox(*about)
        return box

    def _left(self, delivery: Delivery) -> None:
        self._size -= delivery.size
        self._metrics.waits.end(delivery)
        self._tell(-1)
        self._freed.set()
        box = self._of.get(delivery.endpoint_id)
        known = self._definitions.webhook_endpoints.of(delivery.message.organization_id)
        if box is not None and not box.count and delivery.endpoint_id not in known:
            del self._of[delivery.endpoint_id]

    def _tell(self, more: int) -> None:
        self._metrics.waiting.inc(more)
        self._metrics.waiting_bytes.set(self._size)
