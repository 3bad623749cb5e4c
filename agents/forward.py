"""Forward: events found off their home partition, with their position, to events-rekeyed.

Delivery: in order, and nothing after one that failed; every forward is acknowledged before the
flush that moves the raw offset past it. The home skips what it has taken of each raw partition, so
forwarding again after a crash changes nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from app.clients import InOrderProducer
from app.settings import Settings
from app.topics import EVENTS_REKEYED
from app.wire.raw import message_key
from app.wire.records import Headers
from tables.corrections import CorrectionArrival
from tables.fold import Arrival

POSITION_HEADER = "meter-position"
"""`append_time_ms:raw partition:raw offset:array index` of the raw record."""

Position = tuple[int, int, int, int]


class Forwarder:
    """Sends what is not at home on a worker's partitions to where it is."""

    def __init__(self, settings: Settings, producer: InOrderProducer):
        self._topic = settings.topic(EVENTS_REKEYED)
        self._producer = producer
        self.forwarded = 0

    async def forward(
        self, home: int, arrival: Arrival | CorrectionArrival, headers: Headers
    ) -> Awaitable[object]:
        """Send an event or correction to its home; the result is awaited by the flush."""
        sent = arrival.event if isinstance(arrival, Arrival) else arrival.correction
        key = message_key(arrival.organization_id, sent.external_subscription_id)
        return await self._send(home, key, sent.body, arrival.position, headers)

    async def _send(
        self, home: int, key: bytes, value: bytes, position: Position, headers: Headers
    ) -> Awaitable[object]:
        self.forwarded += 1
        text = ":".join(map(str, position)).encode()
        kept = [(name, value or b"") for name, value in headers if name != POSITION_HEADER]
        sent: Awaitable[object] = await self._producer.send(
            self._topic,
            value,
            key=key,
            partition=home,
            headers=[*kept, (POSITION_HEADER, text)],
        )
        return sent


def position_of(headers: Sequence[tuple[str, bytes | None]]) -> Position | None:
    """The position a forward carries; None if it carries none that can be read."""
    for name, text in headers:
        if name == POSITION_HEADER and text is not None:
            try:
                append_time_ms, partition, offset, index = map(int, text.split(b":"))
            except ValueError:
                return None
            return append_time_ms, partition, offset, index
    return None
