"""The whole topic again, and values that no producer should send (faults F10, F12)."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal, localcontext
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer, TopicPartition

from app.kafka.log_readers import read_to_end
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from tests.world.live.committed import all_of
from tests.world.live.consumer import records_of
from tests.world.live.load import load, prove, prove_by_fold, supervised, world_on
from tests.world.live.producer import encoded, event_key, foreign_producer, raw_event
from tests.world.live.worker import worker_process
from tests.world.live.world import CUSTOMER
from tests.world.waiting import eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

POISONED = "poisoned"
AWAY_EVERY = 10
"""Of so many repeated records one lies on another partition than before."""


async def test_the_whole_topic_again(live_settings: Settings, tmp_path: Path) -> None:
    """Twice, while new events come; the worker is killed in between."""
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        async with supervised(worker), load(world, seed=1):
            await asyncio.sleep(2)
            first = await _produce_again(live_settings)
            await worker.kill()
            second = await _produce_again(live_settings)
        assert second > first > 0
        world.api.url = worker.url
        recount = await world.recounted()
        assert recount.events > 2 * recount.ids, "most came several times"
        await prove(world, tmp_path)


async def _produce_again(settings: Settings) -> int:
    """Everything that is on the raw topic; how many records."""
    topic, partitions = settings.topic(settings.raw_topic), settings.raw_partitions
    tps = [TopicPartition(topic, number) for number in range(partitions)]
    produced = 0
    async with foreign_producer(settings) as producer:
        for tp, records in await all_of(read_to_end(settings, tps)):
            for _, key, value in records:
                away = produced % AWAY_EVERY == 0
                partition = (tp.partition + 1) % partitions if away else tp.partition
                await producer.send(topic, value, key=key, partition=partition)
                produced += 1
        await producer.flush()
    return produced


def _event(name: str, **properties: object) -> bytes:
    return encoded(raw_event(POISONED, f"poison-{name}", "traffic", **properties))


def _with(value: bytes, name: str = "x") -> bytes:
    """An event whose property has exactly these bytes."""
    return _event(name, gb="HERE").replace(b'"HERE"', value)


def _of(**fields: object) -> bytes:
    """An event with other fields, None: without."""
    event = {**raw_event(POISONED, "poison-fields", "traffic", gb=1), **fields}
    return encoded({name: value for name, value in event.items() if value is not None})


REFUSED: dict[bytes, str] = {
    b"": "invalid_json",
    b"\x00": "invalid_json",
    b"\xff\xfe{}": "invalid_json",
    b"{": "invalid_json",
    b"nothing": "invalid_json",
    b'"text"': "invalid_event",
    b"7": "invalid_event",
    b"{}": "missing_field",
    _with(b"NaN"): "invalid_json",
    _with(b"Infinity"): "invalid_json",
    _with(b'"\xff"'): "invalid_json",
    _with(b'"\\ud800"'): "invalid_json",
    _event("key", gb=1).replace(b"gb", b"g\xff"): "invalid_json",
    _event("code", gb=1).replace(b"traffic", b"tr\xed\xa0\x80"): "invalid_json",
    _with(b"[" * 20 + b"]" * 20): "too_large",
    _with(b"[" * 100_000 + b"]" * 100_000): "too_large",
    _with(b'"' + b"x" * 1_000_000 + b'"'): "too_large",
    _of(code=7): "invalid_event",
    _of(code=""): "missing_field",
    _of(transaction_id=["t"]): "invalid_event",
    _of(transaction_id=None): "missing_field",
    _of(external_subscription_id=None): "missing_field",
    _of(properties="text"): "invalid_event",
    _of(timestamp="soon"): "invalid_timestamp",
    _of(timestamp="1e3"): "invalid_timestamp",
    _of(timestamp=-1): "timestamp_out_of_range",
    _of(timestamp=2**63): "timestamp_out_of_range",
    _of(organization_id=LOCAL_ORGANIZATION_ID, operation="cancel", correction_id=7): (
        "invalid_correction"
    ),
}
"""Values and the code they are refused with."""

IGNORED: list[bytes] = [
    _with(b"1e400", "1e400"),
    _with(str(10**60).encode(), "60 digits"),
    _with(b'"NaN"', "text"),
    _with(b'"\\u0000"', "nul"),
    _with(b"[[[1]]]", "array"),
    _with(b"null", "null"),
]
"""Events that are taken, and ignored by the metric: their quantity is none."""

FINEST = f"0.{'1':0>38}"
"""As many fraction digits as a quantity may have."""
COUNTED: dict[bytes, str] = {
    _with(str(2**63 - 1).encode(), "below"): str(2**63 - 1),
    _with(str(2**63).encode(), "at"): str(2**63),
    _with(str(2**63 + 1).encode(), "above"): str(2**63 + 1),
    _with(f'"{FINEST}"'.encode(), "fine"): FINEST,
    _event("flood", gb=1, **{f"key-{number}": number for number in range(20_000)}): "1",
}
"""Extreme values that are quantities all the same."""


async def test_poison_on_every_partition(live_settings: Settings, tmp_path: Path) -> None:
    topic, partitions = live_settings.topic(live_settings.raw_topic), live_settings.raw_partitions
    async with (
        worker_process(live_settings, tmp_path) as worker,
        world_on(live_settings, worker.url) as world,
    ):
        await world.subscribe_also(POISONED)
        refused: dict[Place, str] = {}
        async with supervised(worker), load(world), foreign_producer(live_settings) as producer:
            await asyncio.sleep(1)
            for partition in range(partitions):
                mixed = [{"no": "event"}, json.loads(_event(f"mixed-{partition}", gb=1)), []]
                for taken in (*IGNORED, *COUNTED, b"[]", None):
                    await _send(producer, topic, taken, partition)
                for value, code in REFUSED.items():
                    at = await _send(producer, topic, value, partition)
                    refused[partition, at, 0] = code
                at = await _send(producer, topic, encoded(mixed), partition)
                refused |= {
                    (partition, at, 0): "missing_field",
                    (partition, at, 2): "invalid_event",
                }
        world.api.url = worker.url
        await eventually(lambda: _refused(live_settings), refused)
        with localcontext(prec=100):
            units = sum(map(Decimal, COUNTED.values()), Decimal(partitions))

        async def counted() -> Decimal | None:
            return (await world.api.units(CUSTOMER, POISONED)).get("traffic")

        await eventually(counted, units)
        await prove_by_fold(world, tmp_path)


Place = tuple[int, int, int]
"""(raw partition, offset, index)"""


async def _send(producer: AIOKafkaProducer, topic: str, value: bytes | None, partition: int) -> int:
    key = event_key(POISONED)
    sent = await producer.send_and_wait(topic, value, key=key, partition=partition)
    offset: int = sent.offset
    return offset


async def _refused(settings: Settings) -> dict[Place, str]:
    """Codes of dead letters, without those of the load itself, which repeats some ids otherwise."""
    found: dict[Place, str] = {}
    for record in await records_of(settings, settings.dead_letter_topic):
        headers = {name.removeprefix("meter-"): value.decode() for name, value in record.headers}
        code = headers["error-code"]
        if code != "conflicting_duplicate":
            names = ("source-partition", "source-offset", "source-index")
            partition, offset, index = (int(headers[name]) for name in names)
            assert (partition, offset, index) not in found
            found[partition, offset, index] = code
    return found
