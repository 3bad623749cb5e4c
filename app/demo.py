"""The sample generator of the local profile: metrics, a plan, subscriptions, a few events a second.

It uses the product as anybody would: definitions through the engine's log, events through Kafka.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any
from uuid import uuid4

import msgspec
from aiokafka import AIOKafkaProducer

from app.definitions import commands
from app.definitions.commands import Command
from app.definitions.outcome import Applied
from app.main import Worker
from app.records import instant
from app.settings import Settings
from app.wire.raw import message_key

EVENTS_PER_S = 20
SUBSCRIPTIONS = [f"demo_{name}" for name in ("ada", "bob", "cleo", "dora", "emil")]
MONTH_MS = 31 * 86_400_000

METRICS: list[dict[str, Any]] = [
    {
        "name": "API calls",
        "code": "demo_calls",
        "aggregation_type": "count_agg",
    },
    {
        "name": "Traffic",
        "code": "demo_traffic",
        "aggregation_type": "sum_agg",
        "field_name": "gb",
        "filters": [{"key": "region", "values": ["eu", "us"]}],
    },
    {
        "name": "Users",
        "code": "demo_users",
        "aggregation_type": "unique_count_agg",
        "field_name": "user_id",
        "recurring": True,
    },
    {
        "name": "Peak CPU",
        "code": "demo_cpu",
        "aggregation_type": "max_agg",
        "field_name": "cores",
    },
    {
        "name": "Disk",
        "code": "demo_disk",
        "aggregation_type": "weighted_sum_agg",
        "field_name": "gb",
        "recurring": True,
        "weighted_interval": "seconds",
    },
]


async def demo(worker: Worker, settings: Settings) -> None:
    """Define what is not defined yet, then feed events until cancelled."""
    organization_id = settings.api_keys[0].organization_id
    await _define(worker, organization_id)
    producer = AIOKafkaProducer(acks="all", **settings.kafka_options())
    await producer.start()
    try:
        while True:
            await _send(producer, worker, settings, organization_id)
            await asyncio.sleep(1 / EVENTS_PER_S)
    finally:
        await producer.stop()


async def _define(worker: Worker, organization_id: str) -> None:
    definitions, define = worker.gateway.definitions, worker.gateway.define
    if definitions.plan(organization_id, "demo_plan") is not None:
        return
    charges = []
    for body in METRICS:
        outcome = await define(commands.create_billable_metric(organization_id, body))
        if isinstance(outcome, Applied):
            charges.append(_charge(outcome.object.id, body))
    plan = {
        "name": "Demo",
        "code": "demo_plan",
        "interval": "monthly",
        "amount_cents": 0,
        "amount_currency": "EUR",
        "pay_in_advance": False,
        "charges": charges,
    }
    await define(commands.create_plan(organization_id, plan))
    for name in SUBSCRIPTIONS:
        await define(_subscription(organization_id, name, worker.gateway.now_ms()))


def _charge(metric_id: str, metric: dict[str, Any]) -> dict[str, Any]:
    charge: dict[str, Any] = {
        "billable_metric_id": metric_id,
        "charge_model": "standard",
        "properties": {"amount": "0"},
    }
    if metric.get("filters"):
        charge["filters"] = [{"properties": {"amount": "0"}, "values": {"region": ["eu"]}}]
    return charge


def _subscription(organization_id: str, name: str, now_ms: int) -> Command:
    """Back-dated by three months, so that elapsed periods close before your eyes."""
    started = now_ms - 3 * MONTH_MS
    body = {
        "external_customer_id": name.removeprefix("demo_"),
        "plan_code": "demo_plan",
        "external_id": name,
        "subscription_at": instant(started),
    }
    return commands.create_subscription(organization_id, body)


async def _send(
    producer: AIOKafkaProducer, worker: Worker, settings: Settings, organization_id: str
) -> None:
    # Chance makes the sample lively; no figure rests on it.
    choose = random.choice
    name = choose(SUBSCRIPTIONS)
    metric = choose(METRICS)
    properties: dict[str, Any] = {
        "gb": choose(["0.25", "1", "2.5"]),
        "region": choose(["eu", "us", "moon"]),
        "user_id": f"user-{random.randrange(200)}",
        "cores": random.randrange(1, 65),
    }
    event = {
        "organization_id": organization_id,
        "external_subscription_id": name,
        "transaction_id": str(uuid4()),
        "code": metric["code"],
        "timestamp": f"{worker.gateway.now_ms() / 1000:.3f}",
        "properties": properties,
    }
    topic = settings.topic(settings.raw_topic)
    home = worker.engine.homes.of(organization_id, name)
    key = message_key(organization_id, name)
    await producer.send(topic, msgspec.json.encode(event), key=key, partition=home)
