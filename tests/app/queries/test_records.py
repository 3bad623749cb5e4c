"""Records are found wherever a partition has them: in order, out of order, behind others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from app.billing_periods.instants import iso_milliseconds
from app.bounds.work_done import WorkDone
from app.kafka.log_readers import LogRecord
from app.kafka.log_search import LogSearch, searching
from app.kafka.names import TopicPartition
from app.kafka.transactions import Record
from app.meter.records import RecordPlace
from app.queries.records import _found
from app.settings import Settings
from tests.app.kafka.test_transactions import create_topics
from tests.world.live.committed import commit, markers_written

ROUND = 60_000
"""ms between two cuts."""


def value(identity: str, cut: int, name: str, kind: str = "usage.recorded") -> bytes:
    return msgspec.json.encode(
        {
            "id": identity,
            "cell_id": identity,
            "type": kind,
            "revision": 0,
            "organization_id": "o",
            "external_customer_id": name,
            "external_subscription_id": name,
            "period": {
                "from": "1970-01-01T00:00:00Z",
                "to": "1970-01-31T23:59:59Z",
                "timezone": "UTC",
            },
            "closed_at": iso_milliseconds(cut * ROUND),
        }
    )


NAMES = [f"n{number:03}" for number in range(200)]


def published() -> list[bytes]:
    """Return five cuts of a partition, with what stands out of their order."""
    values = []
    for cut in range(5):
        values.append(value(f"instant-{cut}", cut, "n150", "usage.instant"))
        values += [value(f"{cut}-{name}", cut, name) for name in NAMES if name != "n003"]
        # It has much to publish: it is done after all others.
        values.append(value(f"{cut}-n003", cut, "n003"))
    # What was lost is published again.
    values.append(value("lost", 1, "n007"))
    return values


def place(identity: str, cut: int, name: str) -> RecordPlace:
    return RecordPlace(name, 0, identity, 0, 0, identity, cut * ROUND)


WANTED = [
    *(place(f"{cut}-{name}", cut, name) for cut in (0, 2, 4) for name in NAMES[::50]),
    place("4-n199", 4, "n199"),
    place("2-n003", 2, "n003"),
]
LOST, NEVER = place("lost", 1, "n007"), place("never", 3, "n001")


class InMemory(LogSearch):
    """A log at hand, searched as one in Kafka is."""

    def __init__(self, values: list[bytes]):
        self.start, self.end = 0, len(values)
        self._records = [LogRecord(b"k", each, (), 0, at) for at, each in enumerate(values)]

    async def records(self, offset: int) -> AsyncIterator[list[LogRecord]]:
        yield self._records[offset:]

    async def _from(self, offset: int) -> LogRecord | None:
        return self._records[offset] if offset < self.end else None


async def test_every_record_is_found_in_a_log() -> None:
    log = InMemory([b"no record at all", *published()])
    assert (await _found(log, "o", WANTED, everywhere=False)).keys() == {one.id for one in WANTED}
    assert await _found(log, "o", [LOST, NEVER], everywhere=False) == {}
    assert (await _found(log, "o", [LOST, NEVER], everywhere=True)).keys() == {"lost"}


@pytest.mark.servers
async def test_every_record_is_found(settings: Settings) -> None:
    await create_topics(settings, "listed")
    tp = TopicPartition(settings.topic("listed"), 0)
    written = [Record(tp.topic, 0, b"k", each) for each in published()]
    await commit(settings, [Record(tp.topic, 0, b"k", b"no record at all")], written)
    await markers_written(settings, [tp])

    async with searching(settings, tp, WorkDone()) as log:
        offsets = await _found(log, "o", WANTED, everywhere=False)
        assert offsets.keys() == {one.id for one in WANTED}
        records = await log.at(offsets.values())
        for identity, offset in offsets.items():
            assert msgspec.json.decode(records[offset].value or b"")["id"] == identity
        assert await _found(log, "o", [LOST, NEVER], everywhere=False) == {}
        assert (await _found(log, "o", [LOST, NEVER], everywhere=True)).keys() == {"lost"}
