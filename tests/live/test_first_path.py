"""The first path: define by REST as the seeds print it, produce to Kafka, read usage."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from aiokafka import AIOKafkaProducer

from app.settings import LOCAL_ORGANIZATION_ID, Settings
from tests.world.live.api import Api, Json
from tests.world.live.consumer import records_of
from tests.world.live.producer import (
    encoded,
    event_key,
    foreign_producer,
    raw_event,
    send_in_turn,
)
from tests.world.live.world import Months
from tests.world.seeds import metric_bodies
from tests.world.waiting import eventually

pytestmark = pytest.mark.servers


@pytest.fixture
async def producer(live_settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """Keys as librdkafka does."""
    async with foreign_producer(live_settings) as producer:
        yield producer


async def define_metrics(api: Api) -> dict[str, str]:
    """The four metrics; their ids by code."""
    ids = {}
    for body in metric_bodies():
        metric = (await api.post("/billable_metrics", body))["billable_metric"]
        ids[metric["code"]] = metric["lago_id"]
    return ids


async def subscribe(api: Api, ids: dict[str, str], name: str) -> None:
    """A subscription since the beginning of the month."""
    charges = [
        {"billable_metric_id": ids[code], "charge_model": "standard", "properties": {"amount": "1"}}
        for code in ids
    ]
    plan = await api.make_plan(f"plan-of-{name}", charges, name="p")
    since = {"billing_time": "calendar", "subscription_at": Months().named(2)}
    await api.subscribe(name, plan["code"], "acme", **since)


EXPECTED = {
    "storage": Decimal("37.625"),
    "seats": Decimal(2),
    "cpu": Decimal(16),
    "payments": Decimal("0.30"),
}


def events(name: str) -> list[Json]:
    """0.1 + 0.2 is 0.3 here; the seat that left does not count; each id once."""
    return [
        raw_event(name, "s1", "storage", gb=12.5, provider="aws"),
        raw_event(name, "s2", "storage", gb="25.125", provider="google"),
        raw_event(name, "s1", "storage", gb=12.5, provider="aws"),
        raw_event(name, "u1", "seats", seat_id="a"),
        raw_event(name, "u2", "seats", seat_id="b"),
        raw_event(name, "u3", "seats", seat_id="c"),
        raw_event(name, "u4", "seats", seat_id="c", operation_type="remove"),
        raw_event(name, "c1", "cpu", total_cpu=16),
        raw_event(name, "c2", "cpu", total_cpu=2),
        raw_event(name, "p1", "payments", amount=0.1),
        raw_event(name, "p2", "payments", amount=0.2),
    ]


async def test_seeds_metrics_and_kafka_events(
    live_settings: Settings, api: Api, producer: AIOKafkaProducer
) -> None:
    ids = await define_metrics(api)
    await subscribe(api, ids, "s")
    topic = live_settings.topic(live_settings.raw_topic)
    await send_in_turn(producer, topic, events("s"))
    await eventually(lambda: api.units("acme", "s"), EXPECTED)

    async def missing() -> list[str]:
        texts = {address: await api.text(f"/page/view{address}") for address in VIEWS}
        return [address for address, text in texts.items() if VIEWS[address] not in text]

    await eventually(missing, [])


VIEWS = {
    "": '<a href="/subscriptions/s">s</a>',
    "/subscriptions/s": "37.625",
    "/subscriptions/s/explain/storage": "Each live figure is equal to what the raw events come to.",
    "/events/s1?subscription=s": "First arrival",
    "/not-counted": "Not counted",
    "/dead-letters": "Dead letters",
    "/definitions": '<a href="/definitions/metrics/storage">',
    "/definitions/metrics/storage": "A plan uses it",
    "/definitions/plans/plan-of-s": "Charges",
}
"""What each view of the page shows of them."""


async def test_events_before_any_definition(
    live_settings: Settings, api: Api, producer: AIOKafkaProducer
) -> None:
    topic = live_settings.topic(live_settings.raw_topic)
    await send_in_turn(producer, topic, events("s"))
    ids = await define_metrics(api)
    await subscribe(api, ids, "s")
    await eventually(lambda: api.units("acme", "s"), EXPECTED)


@pytest.mark.parametrize("partition", [0, 1, 2])
async def test_events_from_any_partition(
    live_settings: Settings, api: Api, producer: AIOKafkaProducer, partition: int
) -> None:
    ids = await define_metrics(api)
    await subscribe(api, ids, "s")
    topic = live_settings.topic(live_settings.raw_topic)
    for event in events("s"):
        await producer.send_and_wait(topic, encoded(event), partition=partition)
    await eventually(lambda: api.units("acme", "s"), EXPECTED)


async def test_cloud_events_and_arrays(
    live_settings: Settings, api: Api, producer: AIOKafkaProducer
) -> None:
    ids = await define_metrics(api)
    await subscribe(api, ids, "s")
    topic = live_settings.topic(live_settings.raw_topic)
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    structured = {
        "specversion": "1.0",
        "id": "t1",
        "source": "shop",
        "type": "storage",
        "subject": "s",
        "time": now,
        "organizationid": LOCAL_ORGANIZATION_ID,
        "data": {"gb": 1},
    }
    headers = [
        ("content-type", b"application/json"),
        ("ce_specversion", b"1.0"),
        ("ce_id", b"t2"),
        ("ce_source", b"shop"),
        ("ce_type", b"storage"),
        ("ce_subject", b"s"),
        ("ce_time", now.encode()),
        ("ce_organizationid", LOCAL_ORGANIZATION_ID.encode()),
    ]
    array = [
        raw_event("s", "t3", "storage", gb=100),
        structured | {"id": "t4", "data": {"gb": 1000}},
        {"no": "event"},
    ]
    await producer.send_and_wait(topic, encoded(structured), key=event_key("s"))
    await producer.send_and_wait(topic, b'{"gb": 10}', key=event_key("s"), headers=headers)
    await producer.send_and_wait(topic, encoded(array), key=event_key("s"))

    async def storage() -> Decimal:
        return (await api.units("acme", "s"))["storage"]

    await eventually(storage, Decimal(1111))


async def test_events_by_rest(api: Api) -> None:
    ids = await define_metrics(api)
    await subscribe(api, ids, "s")
    single, *batch = (_by_rest(event) for event in events("s"))
    await api.post("/events", {"event": single})
    unique = {event["transaction_id"]: event for event in batch if event["transaction_id"] != "s1"}
    await api.post("/events/batch", {"events": list(unique.values())})
    # Read your own write: the answers came after the fold.
    assert await api.units("acme", "s") == EXPECTED
    status, answer = await api.call("POST", "/events", {"event": single})
    assert (status, answer["error_details"]["transaction_id"]) == (422, ["value_already_exist"])
    assert await api.units("acme", "s") == EXPECTED


def _by_rest(event: Json) -> Json:
    names = ("transaction_id", "external_subscription_id", "code", "properties")
    return {name: event[name] for name in names}


REFUSED: dict[bytes, str] = {
    b"{broken": "invalid_json",
    b'"text"': "invalid_event",
    b'{"organization_id":"o","external_subscription_id":"s","code":"storage"}': "missing_field",
    encoded(raw_event("s", "r1", "storage", "yesterday", gb=1)): "invalid_timestamp",
    encoded(raw_event("s", "r2", "storage", time.time() * 1000, gb=1)): "timestamp_out_of_range",
    encoded(raw_event("s", "s2", "storage", gb=7)): "conflicting_duplicate",
}


async def test_dead_letters_hold_bytes_and_reasons(
    live_settings: Settings, api: Api, producer: AIOKafkaProducer
) -> None:
    ids = await define_metrics(api)
    await subscribe(api, ids, "s")
    topic = live_settings.topic(live_settings.raw_topic)
    await send_in_turn(producer, topic, events("s"))
    sent = {
        value: await producer.send_and_wait(topic, value, key=event_key("s")) for value in REFUSED
    }
    wanted: dict[bytes, tuple[str, ...]] = {
        value: (REFUSED[value], topic, str(at.partition), str(at.offset), "0")
        for value, at in sent.items()
    }
    await eventually(lambda: dead_letters(live_settings), wanted)
    assert await api.units("acme", "s") == EXPECTED
    refused = {
        record.value: record
        for record in await records_of(live_settings, live_settings.dead_letter_topic)
    }
    again = refused[b"{broken"]
    text = await api.form("/page/dead-letters/replay", place=f"{again.partition}/{again.offset}")
    # A busy machine may take longer than the page waits.
    assert re.search("1 event replayed: 1 (refused again|sent)[.]", text)


async def dead_letters(settings: Settings) -> dict[bytes, tuple[str, ...]]:
    """Code and place of each refused value; none comes twice."""
    names = ("error-code", "source-topic", "source-partition", "source-offset", "source-index")
    found: dict[bytes, tuple[str, ...]] = {}
    for record in await records_of(settings, settings.dead_letter_topic):
        headers = {name: value.decode() for name, value in record.headers}
        assert record.value not in found
        assert headers["meter-error-message"]
        assert headers["meter-failed-at"]
        found[record.value] = tuple(headers[f"meter-{name}"] for name in names)
    return found
