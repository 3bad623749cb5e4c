"""Records are found wherever a partition has them: in order, out of order, behind others."""

from __future__ import annotations

import msgspec
import pytest

from app.billing_periods.instants import iso_milliseconds
from app.bounds.work_done import WorkDone
from app.kafka.log_search import searching
from app.kafka.names import TopicPartition
from app.kafka.transactions import PartitionProducer, Record
from app.meter.records import RecordPlace
from app.queries.records import _found
from app.settings import Settings
from tests.app.kafka.test_transactions import create_topics

pytestmark = pytest.mark.servers

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


async def test_every_record_is_found(settings: Settings) -> None:
    names = [f"n{number:03}" for number in range(200)]
    values = []
    for cut in range(5):
        values.append(value(f"instant-{cut}", cut, "n150", "usage.instant"))
        values += [value(f"{cut}-{name}", cut, name) for name in names if name != "n003"]
        # It has much to publish: it is done after all others.
        values.append(value(f"{cut}-n003", cut, "n003"))
    # What was lost is published again.
    values.append(value("lost", 1, "n007"))
    await create_topics(settings, "listed")
    tp = TopicPartition(settings.topic("listed"), 0)
    producer = PartitionProducer(settings, 0)
    await producer.start()
    await producer.commit([Record(tp.topic, 0, b"k", b"no record at all")])
    await producer.commit([Record(tp.topic, 0, b"k", each) for each in values])
    await producer.stop()

    def place(identity: str, cut: int, name: str) -> RecordPlace:
        return RecordPlace(name, 0, identity, 0, 0, identity, cut * ROUND)

    wanted = [place(f"{cut}-{name}", cut, name) for cut in (0, 2, 4) for name in names[::50]]
    wanted += [place("4-n199", 4, "n199"), place("2-n003", 2, "n003")]
    lost, never = place("lost", 1, "n007"), place("never", 3, "n001")
    async with searching(settings, tp, WorkDone()) as log:
        offsets = await _found(log, "o", wanted, everywhere=False)
        assert offsets.keys() == {one.id for one in wanted}
        records = await log.at(offsets.values())
        for identity, offset in offsets.items():
            assert msgspec.json.decode(records[offset].value or b"")["id"] == identity
        assert await _found(log, "o", [lost, never], everywhere=False) == {}
        assert (await _found(log, "o", [lost, never], everywhere=True)).keys() == {"lost"}
