"""Forward: events found off their home partition, with their position, to events-rekeyed.

Delivery: in order, and nothing after one that failed; every forward is acknowledged before the
flush that moves the raw offset past it. The home skips what it has taken of each raw partition, so
forwarding again after a crash changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Final

from app.bounds.cancellation import retrieve
from app.bounds.turns import STEP_ITEMS
from app.kafka.appender import FORWARDED_AT_ONCE_BYTES
from app.kafka.clients import NOT_TAKEN, InOrderProducer, start
from app.kafka.names import KafkaError
from app.kafka.topics import EVENTS_REKEYED
from app.settings import Settings
from app.wire.arrivals import (
    ADMIT_HEADER,
    REPLAYED_HEADER,
    Arrival,
    CorrectionArrival,
    ReplayedArrival,
)
from app.wire.decode import Headers, deciding_headers, envelope_headers
from app.wire.keys import message_key
from app.wire.rekeyed import POSITION_HEADER

_POLL_S: Final = 0.05
_FRAME_BYTES: Final = 256
_HEADER_BYTES: Final = 16
"""What a record takes at most beside key and value, and each header beside its own position's."""

Forwarded = tuple[bytes, bytes, bytes, Sequence[tuple[str, bytes]]]
"""(key, body, text of the position, headers that decide)"""

Leaving = tuple[int, int, int, Forwarded]
"""(raw offset, array index, home, what is sent there)"""


class _Forward:
    """Records of one home that are on their way in one batch, or are to be sent again."""

    __slots__ = ("home", "records", "room_bytes", "sending")

    def __init__(self, home: int) -> None:
        self.home = home
        self.records: list[Forwarded] = []
        self.room_bytes = FORWARDED_AT_ONCE_BYTES
        self.sending: asyncio.Future[object] | None = None

    def add(self, record: Forwarded) -> bool:
        """Add a record; return False if there is no room for it, as there is for a first one."""
        key, value, _, kept = record
        size = _FRAME_BYTES + len(key) + len(value)
        for name, text in kept:
            size += _HEADER_BYTES + len(name) * 4 + len(text)
        if self.records and size > self.room_bytes:
            return False
        self.records.append(record)
        self.room_bytes -= size
        return True

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
        """Deliver what was sent, if brokers take it, and close the connections."""
        await self.producer.stop()
        if self._stopping:
            await asyncio.wait(self._stopping)

    async def send(self, producer: InOrderProducer, forward: _Forward) -> None:
        """Send it after what was sent before; `forward.sending` tells of its end."""
        batch = producer.create_batch()
        for key, value, position, kept in forward.records:
            headers = [*kept, (POSITION_HEADER, position)]
            if batch.append(key=key, value=value, timestamp=None, headers=headers) is None:
                raise RuntimeError("a batch of forwards has less room than was thought")
        sending: asyncio.Future[object] = await producer.send_batch(
            batch, self._topic, partition=forward.home
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
        """How many batches there were in all."""

    def __len__(self) -> int:
        return len(self._pending)

    async def send(self, forwarder: Forwarder, leaving: Iterable[Leaving]) -> None:
        """Send events and corrections to their homes; `settle` waits for the acknowledgement."""
        filling: dict[int, _Forward] = {}
        for count, (_, _, home, record) in enumerate(leaving, 1):
            forward = filling.get(home)
            if forward is None or not forward.add(record):
                if forward is not None:
                    await self._send(forwarder, forward)
                filling[home] = forward = _Forward(home)
                forward.add(record)
            forwarder.forwarded += 1
            if count % STEP_ITEMS == 0:
                await asyncio.sleep(0)
        for forward in filling.values():
            await self._send(forwarder, forward)

    async def _send(self, forwarder: Forwarder, forward: _Forward) -> None:
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


def leaving_of(home: int, arrival: Arrival | CorrectionArrival, headers: Headers) -> Leaving:
    """Return what is to be forwarded of an event or correction whose record has these headers."""
    sent = arrival.event if isinstance(arrival, Arrival) else arrival.correction
    # The elements of an array go out one by one: what else is in its headers would be repeated.
    envelope = arrival.event.envelope if isinstance(arrival, Arrival) else b""
    kept = envelope_headers(envelope) if envelope else deciding_headers(headers)
    if isinstance(arrival, Arrival) and arrival.admitted:
        kept.append((ADMIT_HEADER, b"true"))
    if isinstance(arrival, ReplayedArrival):
        kept.append((REPLAYED_HEADER, arrival.replayed))
    position = b"%d:%d:%d:%d" % arrival.position
    key = message_key(arrival.organization_id, sent.external_subscription_id)
    place = arrival.raw_offset, arrival.array_index
    return *place, home, (key, sent.body, position, kept)


async def _stop(producer: InOrderProducer) -> None:
    with suppress(*NOT_TAKEN):
        await producer.stop()
