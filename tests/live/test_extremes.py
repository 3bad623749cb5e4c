"""The largest of everything that is admitted, on real servers: no partition stands still for it."""

from __future__ import annotations

import time
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from app.bounds.limits import ID_BYTES, NAME_CHARACTERS, PROPERTIES_BYTES, VALUE_BYTES
from app.kafka.topics import METER_DEFINITIONS, admin_client
from app.main import running_worker
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from app.wire.decode import MAX_ELEMENTS
from tests.live.weekly import define, subscribe
from tests.world.live.api import Api, Json, api_of
from tests.world.live.consumer import read_ledger, records_of
from tests.world.live.offline import fold_offline
from tests.world.live.producer import (
    encoded,
    foreign_producer,
    raw_event,
    send_in_turn,
    send_with_header,
)
from tests.world.live.worker import SESSIONS
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers

DAY_S = 86_400
FILTERS = [{"key": "region", "values": ["eu"]}]
SEVEN_F = "\x7f"
"""A character that JSON takes as it is, and Python quotes as four."""
NOTE_BYTES = PROPERTIES_BYTES - 1_000 - ID_BYTES
"""The rest of the properties has room."""

TRACE = ("trace", b"x" * 1_000_000)


Header = tuple[str, bytes | None]


def _compressing(settings: Settings) -> AIOKafkaProducer:
    """A producer whose records are small only on the wire. Not started."""
    return AIOKafkaProducer(
        compression_type="gzip", max_request_size=2**30, **settings.kafka_options()
    )


def _cloud_event(name: str, *more: Header) -> list[Header]:
    """Headers of a CloudEvent in binary mode."""
    return [
        ("ce_id", name.encode()),
        ("ce_type", b"gb"),
        ("ce_subject", b"s"),
        ("ce_organizationid", LOCAL_ORGANIZATION_ID.encode()),
        *more,
    ]


def _extremes(number: int) -> list[tuple[bytes, list[Header]]]:
    """Values and headers; of gb 28 counts."""
    repeated = f"{number}{SEVEN_F * 850_000}"
    no_event: Json = {"no": "event"}
    array = [*[no_event] * (MAX_ELEMENTS - 1), raw_event("s", f"last-{number}", "gb", gb=4)]
    return [
        (encoded(raw_event("s", repeated, "gb", gb=1)), [TRACE]),
        (encoded(raw_event("s", repeated, "gb", gb=2)), []),
        (encoded(raw_event("n" * 950_000, f"t-{number}", "gb", gb=1)), [TRACE]),
        (encoded(array), [TRACE]),
        (b"{", [TRACE]),
        (b'{"gb":8}', _cloud_event(f"no-time-{number}", ("ce_time", None), TRACE)),
        (b'{"gb":16}', _cloud_event(f"caf\xe9-{number}")),
        (b'{"gb":32}', _cloud_event("latin-1", ("ce_id", b"caf\xe9"))),
        (b'{"gb":64}', _cloud_event("y" * 2_000_000)),
    ]


REFUSED = {
    "many_refused": 1,
    "too_large": 4,
    "invalid_json": 1,
    "invalid_event": 1,
}
"""On each partition, by code."""

GIANTS: list[tuple[int, bytes, list[Header]]] = [
    (0, b"x" * 50_000_000, []),
    (1, b"{", [("trace", b"x" * 50_000_000)]),
]
"""Of these one partition has each: partition, value and headers."""


async def test_no_record_is_too_large_for_what_becomes_of_it(
    live_settings: Settings, tmp_path: Path
) -> None:
    """On whatever partition it lies: counted or refused, as the fold of an export says."""
    topic, partitions = live_settings.topic(live_settings.raw_topic), live_settings.raw_partitions
    async with (
        running_worker(live_settings, **SESSIONS) as worker,
        api_of(worker.url) as api,
        _compressing(live_settings) as producer,
        foreign_producer(live_settings) as plain,
    ):
        await define(api, filters=FILTERS)
        await subscribe(api, "s", time.time() - DAY_S)
        for partition in range(partitions):
            for value, headers in _extremes(partition):
                await producer.send_and_wait(topic, value, partition=partition, headers=headers)
            for at, value, headers in GIANTS:
                if at == partition:
                    await producer.send_and_wait(topic, value, partition=at, headers=headers)
            odd = encoded(raw_event("s", f"odd-{partition}", "gb", gb=128))
            await send_with_header(plain, TopicPartition(topic, partition), odd, (b"\xff", b""))
        await eventually(lambda: api.units("c", "s"), {"gb": Decimal(156 * partitions)}, 120)
        wanted = Counter({code: partitions * count for code, count in REFUSED.items()})
        wanted += Counter(too_large=1, invalid_json=1)
        await eventually(lambda: _refused(live_settings), wanted, 120)
        await api.call("DELETE", "/subscriptions/s")
        await eventually(lambda: _published(live_settings), [f"{156 * partitions}.0"])
        ledger = await read_ledger(live_settings)
        assert ledger.records == await fold_offline(live_settings, tmp_path)


async def _refused(settings: Settings) -> Counter[str]:
    """Dead letters by code."""
    records = await records_of(settings, settings.dead_letter_topic)
    return Counter(dict(record.headers)["meter-error-code"].decode() for record in records)


async def _published(settings: Settings) -> list[str]:
    """Units of the cells."""
    ledger = await read_ledger(settings)
    return [r["units"] for r in ledger.newest.values() if r["type"] != "period.completed"]


async def test_the_largest_usage_record_is_published_and_its_cell_restored(
    live_settings: Settings, tmp_path: Path
) -> None:
    """Every text in it as large as a request, or an event, may be."""
    name, now_s = "s" * ID_BYTES, time.time()
    texts = {"group": "g" * VALUE_BYTES, "region": "eu"}
    first, late = (
        raw_event(name, f"t{gb}", "gb", now_s - 5 * DAY_S, gb=gb, **texts) for gb in (3, 5)
    )
    async with running_worker(live_settings, **SESSIONS) as worker, api_of(worker.url) as api:
        await define(api, filters=FILTERS)
        await api.call(
            "PUT", "/billable_metrics/gb", {"billable_metric": {"name": "n" * NAME_CHARACTERS}}
        )
        _, answer = await api.call("GET", "/plans/weekly")
        (charge,) = answer["plan"]["charges"]
        for change in (
            {"code": "c" * ID_BYTES},
            {"properties": {"amount": "0", "note": "p" * NOTE_BYTES}},
            {
                "filters": [
                    {
                        "values": {"region": ["eu"]},
                        "properties": {
                            "amount": "0",
                            "note": "f" * NOTE_BYTES,
                            "pricing_group_keys": ["group", "k" * ID_BYTES],
                        },
                    }
                ]
            },
        ):
            body = {"plan": {"charges": [{"id": charge["lago_id"], **change}]}}
            status, answer = await api.call("PUT", "/plans/weekly", body)
            assert status == 200, answer
        await _send(live_settings, first)
        # Its first week is published at once, under the definitions that there are.
        await subscribe(api, name, now_s - 9 * DAY_S, customer="c" * len(name))
        await eventually(lambda: _published(live_settings), ["3.0"])
    records = await records_of(live_settings, "usage-records")
    assert 35_000 < max(len(record.value) for record in records) < 2**20
    async with running_worker(live_settings, **SESSIONS) as worker, api_of(worker.url) as api:
        await _send(live_settings, late)
        await eventually(lambda: _published(live_settings), ["8.0"])
        ledger = await read_ledger(live_settings)
        assert ledger.records == await fold_offline(live_settings, tmp_path)


async def _send(settings: Settings, event: Json) -> None:
    """One event, to the home of its subscription."""
    async with _compressing(settings) as producer:
        await send_in_turn(producer, settings.topic(settings.raw_topic), [event])


async def test_a_definition_that_its_topic_does_not_take_is_refused(
    live_settings: Settings, api: Api
) -> None:
    """And the next one is taken."""
    customer = {"external_id": "c", "metadata": [{}] * 200_000}
    status, answer = await api.call("POST", "/customers", {"customer": customer})
    assert (status, answer["code"]) == (413, "too_large")
    plan = {"code": "p", "charges": [{}] * 25_000}
    status, answer = await api.call("POST", "/plans", {"plan": plan})
    assert (status, answer["error_details"]) == (422, {"charges": ["limit_is_500"]})

    topic = live_settings.topic(METER_DEFINITIONS)
    async with admin_client(live_settings) as admin:
        for message_bytes, expected in ((100, 503), (4_194_304, 200)):
            configs = {
                "max.message.bytes": str(message_bytes),
                "message.timestamp.type": "LogAppendTime",
            }
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)
            await admin.alter_configs([resource])

            async def posted() -> int:
                metric = {
                    "name": "m",
                    "code": f"m-{time.time_ns()}",
                    "aggregation_type": "count_agg",
                }
                status, _ = await api.call("POST", "/billable_metrics", {"billable_metric": metric})
                return status

            await eventually(posted, expected)
