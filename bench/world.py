"""What the benches share: servers, five metrics over many subscriptions, events of them."""

from __future__ import annotations

import asyncio
import resource
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec

from app.definitions import commands
from app.definitions.outcome import Applied
from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.main import Worker
from app.settings import LOCAL_ORGANIZATION_ID, Settings

METRICS: list[dict[str, Any]] = [
    {"name": "calls", "code": "calls", "aggregation_type": "count_agg"},
    {"name": "gb", "code": "gb", "aggregation_type": "sum_agg", "field_name": "gb"},
    {"name": "cpu", "code": "cpu", "aggregation_type": "max_agg", "field_name": "cores"},
    {
        "name": "users",
        "code": "users",
        "aggregation_type": "unique_count_agg",
        "field_name": "user",
    },
    {
        "name": "disk",
        "code": "disk",
        "aggregation_type": "weighted_sum_agg",
        "field_name": "gb",
        "weighted_interval": "seconds",
    },
]


def charge_of(metric_id: str, **properties: Any) -> dict[str, Any]:
    """A charge of a metric as a plan is created with it."""
    return {
        "billable_metric_id": metric_id,
        "charge_model": "standard",
        "properties": {"amount": "0", **properties},
    }


def plan_of(charges: list[dict[str, Any]]) -> dict[str, Any]:
    """The one plan of every bench."""
    return {
        "name": "bench",
        "code": "bench",
        "interval": "monthly",
        "amount_cents": 0,
        "amount_currency": "EUR",
        "pay_in_advance": False,
        "charges": charges,
    }


def subscription_of(i: int) -> dict[str, Any]:
    """A subscription of that plan."""
    return {
        "external_customer_id": f"customer_{i}",
        "plan_code": "bench",
        "external_id": f"subscription_{i:06d}",
    }


@asynccontextmanager
async def local_servers(partitions: int) -> AsyncIterator[Settings]:
    """Kafka and Redis of their own, and settings of a worker on them."""
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory)
        async with LocalKafka(state / "kafka") as kafka, LocalRedis(state / "redis") as redis:
            yield Settings(
                profile="local",
                kafka_bootstrap_servers=kafka.bootstrap_servers,
                redis_url=redis.url,
                state_dir=state / "meter",
                raw_partitions=partitions,
                http_port=free_ports(1)[0],
                implicit_plan=False,
            )


async def define(worker: Worker, subscriptions: int, **properties: Any) -> None:
    """The metrics, a plan of all of them with these properties, and subscriptions."""
    accept, org = worker.gateway.definer.define, LOCAL_ORGANIZATION_ID
    charges = []
    for body in METRICS:
        outcome = await accept(commands.create_billable_metric(org, body))
        if not isinstance(outcome, Applied):
            raise TypeError(str(outcome))
        charges.append(charge_of(outcome.object.id, **properties))
    await accept(commands.create_plan(org, plan_of(charges)))
    for start in range(0, subscriptions, 50):
        await asyncio.gather(
            *(
                accept(commands.create_subscription(org, subscription_of(i)))
                for i in range(start, min(start + 50, subscriptions))
            )
        )


def number_of(i: int, subscriptions: int) -> int:
    """Which subscription the i-th event is of: each metric of one, then another far from it."""
    return i // 5 * 7919 % subscriptions


def event_value(i: int, n: int, now_s: float, code: str | None = None, **properties: str) -> bytes:
    """The i-th event, of subscription n, as Lago's own producer writes it.

    `code`: its own instead of that of the metrics in turns. `properties`: more of them.
    """
    return msgspec.json.encode(
        {
            "organization_id": LOCAL_ORGANIZATION_ID,
            "external_customer_id": None,
            "external_subscription_id": f"subscription_{n:06d}",
            "transaction_id": f"transaction-{i:012d}",
            "timestamp": f"{now_s + (i % 100_000) / 1000:.3f}",
            "code": code or METRICS[i % 5]["code"],
            "precise_total_amount_cents": "0.0",
            "properties": {"gb": (i % 997) / 4, "cores": i % 64, "user": f"u{i % 5000}"}
            | properties,
            "ingested_at": "2026-01-01T00:00:01.118",
            "source": "bench",
        }
    )


def cpu_s() -> float:
    """CPU seconds that this process has taken."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
