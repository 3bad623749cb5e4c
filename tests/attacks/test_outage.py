"""A broker that does not answer (bounded-work C5): nothing ends, nothing is restored.

For long: `tests/faults`.

The neighbour is not measured: its producer has no broker either.
"""

from __future__ import annotations

import asyncio

import pytest
from aiokafka import AIOKafkaProducer

from app.bounds.limits import OPEN_TRANSACTION_S
from app.local_servers.kafka import LocalKafka
from tests.attacks.victim import Victim, folded, restores
from tests.world.live.api import text_of
from tests.world.live.paused import pause, resume
from tests.world.waiting import PATIENCE_S, eventually

pytestmark = [pytest.mark.servers, pytest.mark.slow]

FROZEN_S = 7.0
"""After five seconds Kafka counts as lost."""


async def test_a_transaction_left_open_is_named_and_ends_nothing(victim: Victim) -> None:
    """It holds back what lies behind it in its partition, and that is told (bounded-work M28)."""
    pid, before = victim.worker.pid, await victim.metrics()
    producer = AIOKafkaProducer(transactional_id="open", **victim.settings.kafka_options())
    await producer.start()
    try:
        await producer.begin_transaction()
        await producer.send_and_wait(victim.raw_topic, b"{}", partition=0)
        holder = producer._txn_manager.producer_id
        held = f"raw partitions 0 (by producer id {holder})"
        ready = f"{victim.url}/health/ready"
        await eventually(lambda: _says(ready, held), True)
        metrics = await victim.metrics()
        assert metrics["meter_open_transaction_producer_id,partition=0"] == holder
        assert metrics["meter_open_transaction_seconds,partition=0"] >= OPEN_TRANSACTION_S
        assert metrics["meter_lag_records,log=raw,partition=0"] > 0
        await producer.abort_transaction()
        await eventually(lambda: _says(ready, '"status":"ready"'), True)
    finally:
        await producer.stop()
    assert not (await victim.tell()).wrong
    assert victim.worker.pid == pid
    assert restores(await victim.metrics()) == restores(before)
    log = victim.worker.said()
    assert f"partitions=0 producers={holder}" in log
    assert "open_transaction: over after" in log


async def test_a_frozen_broker_ends_nothing(victim: Victim, local_kafka: LocalKafka) -> None:
    pid, before = victim.worker.pid, await victim.metrics()
    pause(local_kafka.process)
    try:
        await asyncio.sleep(FROZEN_S)
        plan = {"plan": {"name": "p", "code": "p", "interval": "monthly", "charges": []}}
        status, _ = await victim.attacker.call("POST", "/plans", plan)
        assert status == 503
    finally:
        resume(local_kafka.process)
    async with asyncio.timeout(PATIENCE_S):
        while folded(await victim.metrics()) <= folded(before):
            await asyncio.sleep(0.1)
    assert victim.worker.is_running(), victim.worker.tail()
    assert victim.worker.pid == pid
    assert restores(await victim.metrics()) == restores(before)
    assert "Kafka lost: no answer from 1 of 1 brokers for 5 s" in victim.worker.said()
    # The victim of the next file begins with a broker that is back.
    await victim.attacker.make_metric("after", "count_agg")


async def _says(url: str, text: str) -> bool:
    return text in await text_of(url)
