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
from app.wire.arrivals import ADMIT_HEADER
from app.wire.raw import message_key
from app.wire.records import Headers, deciding_headers
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
        # The elements of an array go out one by one: what else is in its headers would be repeated.
        kept = deciding_headers(headers)
        if isinstance(arrival, Arrival) and arrival.admitted:
            kept.append((ADMIT_HEADER, b"true"))
        position = ":".join(map(str, arrival.position)).encode()
        self.forwarded += 1
        sending: Awaitable[object] = await self._producer.send(
            self._topic,
            sent.body,
            key=message_key(arrival.organization_id, sent.external_subscription_id),
            partition=home,
            headers=[*kept, (POSITION_HEADER, position)],
        )
        return sending


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
