"""What one partition forwards: in batches by home, in order, until all of it is acknowledged."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from aiokafka.errors import KafkaError
from aiokafka.producer.message_accumulator import BatchBuilder

from app.kafka.appender import FORWARDED_AT_ONCE_BYTES
from app.runtime.partition.forwarder import Forwarder, Forwards, Leaving, leaving_of
from app.settings import Settings
from app.wire.arrivals import Arrival
from app.wire.events import Event
from app.wire.rekeyed import POSITION_HEADER

SHORT = 100


class Sent:
    """Batches as aiokafka makes them, and what is in those that were sent."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.batches: list[tuple[int, list[bytes]]] = []
        self.refuses = refuses

    async def start(self) -> None:
        """Connect."""

    async def stop(self) -> None:
        """Disconnect."""

    def create_batch(self) -> Any:
        """Return one that notes the positions of its records."""
        builder = cast(Any, BatchBuilder(FORWARDED_AT_ONCE_BYTES, 0))
        appended, builder.positions = builder.append, []

        def append(*, headers: Any, **record: Any) -> Any:
            builder.positions.append(dict(headers)[POSITION_HEADER])
            return appended(headers=headers, **record)

        builder.append = append
        return builder

    async def send_batch(
        self, batch: Any, _topic: str, *, partition: int
    ) -> asyncio.Future[object]:
        """Take a batch, or have it refused later."""
        acknowledged = asyncio.get_running_loop().create_future()
        if self.refuses:
            acknowledged.set_exception(KafkaError("refused"))
        else:
            self.batches.append((partition, batch.positions))
            acknowledged.set_result(None)
        return acknowledged

    def of(self, home: int) -> list[bytes]:
        """Return the positions of all that was sent to a home."""
        return [position for to, found in self.batches if to == home for position in found]


def leaving(home: int, offset: int, size: int = SHORT) -> Leaving:
    """Return an event on its way to a home."""
    event = Event("org", "sub", "id", "code", 0, None, b"{}", b"x" * size)
    return leaving_of(home, Arrival(event, "org", 5, 1, offset, 0), ())


def forwarder_to(*producers: Sent) -> Forwarder:
    """Return one whose producers follow each other."""
    left = iter(producers)
    settings = Settings(profile="test", test_clock=True)
    return Forwarder(settings, lambda: cast(Any, next(left)))


def positions(*offsets: int) -> list[bytes]:
    """Return the positions of events of some offsets."""
    return [b"5:1:%d:0" % offset for offset in offsets]


async def test_what_has_one_home_goes_there_in_one_batch_in_order() -> None:
    sent, forwards = Sent(), Forwards()
    forwarder = forwarder_to(sent)
    await forwards.send(forwarder, [leaving(offset % 2, offset) for offset in range(200)])
    assert [(home, len(found)) for home, found in sent.batches] == [(0, 100), (1, 100)]
    assert sent.of(0) == positions(*range(0, 200, 2))
    assert (forwards.count, forwarder.forwarded) == (2, 200)
    await forwards.settle(forwards.count)
    assert len(forwards) == 0


@pytest.mark.parametrize("size", [0, SHORT, FORWARDED_AT_ONCE_BYTES // 2 - 300])
async def test_a_batch_holds_no_more_than_there_is_room_for(size: int) -> None:
    sent, forwards, count = Sent(), Forwards(), 5 * FORWARDED_AT_ONCE_BYTES // (size + 300)
    await forwards.send(forwarder_to(sent), [leaving(3, n, size) for n in range(count)])
    assert sent.of(3) == positions(*range(count))
    assert len(sent.batches) > 1


async def test_what_is_larger_goes_alone() -> None:
    sent, forwards, large = Sent(), Forwards(), FORWARDED_AT_ONCE_BYTES + 1
    sizes = (SHORT, large, large, SHORT)
    await forwards.send(forwarder_to(sent), [leaving(3, n, size) for n, size in enumerate(sizes)])
    assert [found for _, found in sent.batches] == [positions(n) for n in range(4)]


async def test_after_a_refusal_all_is_sent_again_in_order() -> None:
    refusing, sent, forwards = Sent(refuses=True), Sent(), Forwards()
    forwarder = forwarder_to(refusing, sent)
    await forwards.send(forwarder, [leaving(0, 0), leaving(1, 1), leaving(0, 2)])
    with pytest.raises(KafkaError):
        await forwards.settle(forwards.count)
    # What comes now waits until all before it has gone out.
    await forwards.send(forwarder, [leaving(0, 3)])
    assert sent.batches == []
    await forwards.settle(forwards.count)
    assert (sent.of(0), sent.of(1)) == (positions(0, 2, 3), positions(1))
    assert len(forwards) == 0
