"""Forward: events found off their home partition, with their position, to events-rekeyed.

Delivery: in order, and nothing after one that failed; every forward is acknowledged before the
flush that moves the raw offset past it. The home skips what it has taken of each raw partition, so
forwarding again after a crash changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from app.bounds.cancellation import retrieve
from app.kafka.clients import NOT_TAKEN, InOrderProducer, start
from app.kafka.names import KafkaError
from app.kafka.topics import EVENTS_REKEYED
from app.settings import Settings
from app.wire.arrivals import ADMIT_HEADER, Arrival, CorrectionArrival
from app.wire.decode import Headers, deciding_headers
from app.wire.keys import message_key
from app.wire.rekeyed import POSITION_HEADER

_POLL_S: Final = 0.05


class _Forward:
    """One record that is on its way, or is to be sent again."""

    __slots__ = ("headers", "home", "key", "sending", "value")

    def __init__(self, home: int, key: bytes, value: bytes, headers: Headers):
        self.home = home
        self.key = key
        self.value = value
        self.headers = headers
        self.sending: asyncio.Future[object] | None = None

    @property
    def acknowledged(self) -> bool:
        sending = self.sending
        return (
            sending is not None
            and sending.done()
            and not sending.cancelled()
            and sending.exception() is None
        )


class Forwarder:
    """The producer of what is not at home on a worker's partitions, replaced when it failed."""

    def __init__(self, settings: Settings, make: Callable[[], InOrderProducer]):
        self._topic = settings.topic(EVENTS_REKEYED)
        self._make = make
        self._replacing = asyncio.Lock()
        self._stopping: set[asyncio.Task[None]] = set()
        self.producer = make()
        self.forwarded = 0

    async def start(self) -> None:
        """Connect."""
        await self.producer.start()

    async def stop(self) -> None:
        """Deliver what was sent and close the connections."""
        await self.producer.stop()
        if self._stopping:
            await asyncio.wait(self._stopping)

    async def send(self, producer: InOrderProducer, forward: _Forward) -> None:
        """Send it after what was sent before; `forward.sending` tells of its end."""
        sending: asyncio.Future[object] = await producer.send(
            self._topic,
            forward.value,
            key=forward.key,
            partition=forward.home,
            headers=forward.headers,
        )
        sending.add_done_callback(retrieve)
        forward.sending = sending

    async def after(self, failed: InOrderProducer) -> InOrderProducer:
        """Return the producer in place of one that failed."""
        async with self._replacing:
            if self.producer is failed:
                # Nobody waits for its end: what it holds is sent again.
                stopping = asyncio.create_task(_stop(failed))
                self._stopping.add(stopping)
                stopping.add_done_callback(self._stopping.discard)
                self.producer = await start(self._make())
            return self.producer


class Forwards:
    """What one partition forwards, in order, kept until it is acknowledged.

    Homes pass over what lies before the last they took, so after a failure nothing new goes out
    before all of it has been sent again, in the same order; what arrives twice is passed over.
    """

    def __init__(self) -> None:
        self._forwarder: Forwarder | None = None
        self._producer: InOrderProducer | None = None
        self._broken = False
        self._pending: list[_Forward] = []
        self._settling = asyncio.Lock()
        self.count = 0
        """How many there were in all."""

    def __len__(self) -> int:
        return len(self._pending)

    async def send(
        self,
        forwarder: Forwarder,
        home: int,
        arrival: Arrival | CorrectionArrival,
        headers: Headers,
    ) -> None:
        """Send an event or correction to its home; `settle` waits for the acknowledgement."""
        sent = arrival.event if isinstance(arrival, Arrival) else arrival.correction
        # The elements of an array go out one by one: what else is in its headers would be repeated.
        kept = deciding_headers(headers)
        if isinstance(arrival, Arrival) and arrival.admitted:
            kept.append((ADMIT_HEADER, b"true"))
        position = ":".join(map(str, arrival.position)).encode()
        forwarder.forwarded += 1
        forward = _Forward(
            home,
            message_key(arrival.organization_id, sent.external_subscription_id),
            sent.body,
            [*kept, (POSITION_HEADER, position)],
        )
        self._forwarder = forwarder
        if self._producer is not forwarder.producer:
            self._broken |= bool(self._pending)
            self._producer = self._producer if self._broken else forwarder.producer
        self._pending.append(forward)
        self.count += 1
        if self._broken or self._producer is None:
            return
        try:
            await forwarder.send(self._producer, forward)
        except NOT_TAKEN:
            self._broken = True

    async def settle(self, count: int) -> None:
        """Wait until the first `count` of all are acknowledged.

        Raises:
            KafkaError, OSError, TimeoutError: the brokers do not take them; call again.
        """
        async with self._settling:
            if self._broken:
                await self._send_again()
            settled = 0
            try:
                while self.count - len(self._pending) + settled < count:
                    await self._acknowledged(self._pending[settled])
                    settled += 1
            finally:
                del self._pending[:settled]

    async def _acknowledged(self, forward: _Forward) -> None:
        while forward.sending is None:
            # Whoever sends it waits for room, and it may come to nothing.
            await asyncio.sleep(_POLL_S)
            if self._broken:
                raise KafkaError("a forward could not be sent")
        if not forward.sending.done():
            await asyncio.wait([forward.sending])
        if not forward.acknowledged:
            self._broken = True
            forward.sending.result()

    async def _send_again(self) -> None:
        forwarder, failed = self._forwarder, self._producer
        if forwarder is None or failed is None:
            return
        self._producer = producer = await forwarder.after(failed)
        for forward in self._pending:
            if not forward.acknowledged:
                forward.sending = None
        position = 0
        # More may come meanwhile: it goes out here, after what was before.
        while position < len(self._pending):
            forward = self._pending[position]
            if forward.sending is None:
                await forwarder.send(producer, forward)
            position += 1
        self._broken = False


async def _stop(producer: InOrderProducer) -> None:
    with suppress(*NOT_TAKEN):
        await producer.stop()
