"""The sample generator of the local profile: metrics, a plan, subscriptions, a few events a second.

It uses the product as anybody would: definitions through the engine's log, events through Kafka.
The subscriptions begin in the past, and their past events come first. Elapsed months therefore
close with figures in them as soon as the subscriptions are there.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any
from uuid import uuid4

import msgspec

from app.billing_periods.instants import iso_seconds
from app.definitions import commands
from app.definitions.command import Command
from app.definitions.model import Metric
from app.kafka.clients import Producer, started
from app.kafka.compression import COMPRESSION
from app.kafka.names import AIOKafkaProducer, RecordMetadata
from app.main import Worker
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from app.wire.keys import message_key

EVENTS_PER_S = 20
LATE_SHARE = 0.01
"""Share of the events that belong to a closed month; the next full hour brings their revisions."""
PAST_EVENTS = 120
"""Past events of each subscription, sent before it is defined."""
SUBSCRIPTIONS = [f"demo_{name}" for name in ("ada", "bob", "cleo", "dora", "emil")]
MONTH_MS = 31 * 86_400_000
PAST_MS = 3 * MONTH_MS
PLAN = "demo_plan"

# Chance makes the sample lively; no figure rests on it.
CHANCE = random.Random()  # noqa: S311

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


def organization_of(settings: Settings) -> str:
    """Return whose usage is tried: that of the first key, else the default organization's."""
    if settings.api_keys:
        return settings.api_keys[0].organization_id
    return settings.default_organization_id or LOCAL_ORGANIZATION_ID


async def demo(worker: Worker, settings: Settings) -> None:
    """Define what is not defined yet, then feed events until cancelled."""
    organization_id = organization_of(settings)
    options = {"compression_type": COMPRESSION, **settings.kafka_options()}
    async with started(Producer(acks="all", **options)) as producer:
        sample = Sample(worker, settings, organization_id, producer)
        await sample.define()
        await sample.feed()


class Sample:
    """One organization's sample data."""

    def __init__(
        self, worker: Worker, settings: Settings, organization_id: str, producer: AIOKafkaProducer
    ):
        self._worker = worker
        self._topic = settings.topic(settings.raw_topic)
        self._organization_id = organization_id
        self._producer = producer

    async def define(self) -> None:
        """Define missing metrics, the plan and subscriptions, these after their past events."""
        definitions, define = self._worker.gateway.definitions, self._worker.gateway.definer.define
        organization_id = self._organization_id
        for body in METRICS:
            if definitions.metric(organization_id, body["code"]) is None:
                await define(commands.create_billable_metric(organization_id, body))
        if definitions.plan(organization_id, PLAN) is None:
            metrics = (definitions.metric(organization_id, body["code"]) for body in METRICS)
            plan = _plan([metric for metric in metrics if metric is not None])
            await define(commands.create_plan(organization_id, plan))
            await self._append_mistake()
        for name in SUBSCRIPTIONS:
            if not definitions.subscriptions(organization_id, name):
                await self._begin(name)

    async def _begin(self, name: str) -> None:
        """Send past events, then define their subscription, so that the first cuts have them."""
        now_ms = self._worker.gateway.now_ms()
        sent = [
            await self._send(name, now_ms - CHANCE.randrange(1, PAST_MS))
            for _ in range(PAST_EVENTS)
        ]
        await asyncio.gather(*sent)
        await self._worker.gateway.definer.define(
            _subscription(self._organization_id, name, now_ms - PAST_MS)
        )

    async def feed(self) -> None:
        """Send events of now, and a few of last month, until cancelled."""
        while True:
            at_ms = self._worker.gateway.now_ms()
            late = CHANCE.random() < LATE_SHARE
            await self._send(CHANCE.choice(SUBSCRIPTIONS), at_ms - MONTH_MS if late else at_ms)
            await asyncio.sleep(1 / EVENTS_PER_S)

    async def _send(self, name: str, at_ms: int) -> asyncio.Future[RecordMetadata]:
        properties: dict[str, Any] = {
            "gb": CHANCE.choice(["0.25", "1", "2.5"]),
            "region": CHANCE.choice(["eu", "us", "moon"]),
            "user_id": f"user-{CHANCE.randrange(200)}",
            "cores": CHANCE.randrange(1, 65),
        }
        event = {
            "organization_id": self._organization_id,
            "external_subscription_id": name,
            "transaction_id": str(uuid4()),
            "code": CHANCE.choice(METRICS)["code"],
            "timestamp": f"{at_ms / 1000:.3f}",
            "properties": properties,
        }
        return await self._append(name, event)

    async def _append_mistake(self) -> None:
        """Append a typical mistake of a producer, so that the dead letters show its outcome."""
        name = SUBSCRIPTIONS[0]
        event = {
            "organization_id": self._organization_id,
            "external_subscription_id": name,
            "transaction_id": str(uuid4()),
            "code": METRICS[0]["code"],
            "timestamp": str(self._worker.gateway.now_ms()),
            "properties": {"note": "sample of a mistake: milliseconds instead of seconds"},
        }
        await self._append(name, event)

    async def _append(self, name: str, event: dict[str, Any]) -> asyncio.Future[RecordMetadata]:
        sent: asyncio.Future[RecordMetadata] = await self._producer.send(
            self._topic,
            msgspec.json.encode(event),
            key=message_key(self._organization_id, name),
            partition=self._worker.engine.homes.of(self._organization_id, name),
        )
        return sent


def _plan(metrics: list[Metric]) -> dict[str, Any]:
    return {
        "name": "Demo",
        "code": PLAN,
        "interval": "monthly",
        "amount_cents": 0,
        "amount_currency": "EUR",
        "pay_in_advance": False,
        "charges": [_charge(metric) for metric in metrics],
    }


def _charge(metric: Metric) -> dict[str, Any]:
    charge: dict[str, Any] = {
        "billable_metric_id": metric.id,
        "charge_model": "standard",
        "properties": {"amount": "0"},
    }
    if metric.filters:
        charge["filters"] = [{"properties": {"amount": "0"}, "values": {"region": ["eu"]}}]
    return charge


def _subscription(organization_id: str, name: str, started_ms: int) -> Command:
    body = {
        "external_customer_id": name.removeprefix("demo_"),
        "plan_code": PLAN,
        "external_id": name,
        "subscription_at": iso_seconds(started_ms),
    }
    return commands.create_subscription(organization_id, body)
