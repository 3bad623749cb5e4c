"""Throughput: one worker on a real broker, changelogs on, from the raw topic to durable state.

Writes events of five metrics (count, sum, max, unique_count, weighted_sum) over many subscriptions,
then starts a worker and takes the time until every event is folded and flushed. Prints events per
second and CPU per event, beside what merely reading the same records costs in the same run.

    python -m bench.throughput [--events N] [--subscriptions N] [--partitions N] [--profile]
"""

from __future__ import annotations

import asyncio
import cProfile
import gc
import pstats
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import click
import msgspec
import uvloop
from aiokafka import AIOKafkaProducer, TopicPartition

from app.definitions import commands
from app.definitions.outcome import Applied
from app.main import Worker, running_worker
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from app.stack.kafka import LocalKafka
from app.stack.ports import free_ports
from app.stack.redis import LocalRedis
from app.wire.raw import home_partition, message_key
from tables.stores.changelog import plain_consumer

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


@click.command()
@click.option("--events", default=500_000, show_default=True)
@click.option("--subscriptions", default=1_000, show_default=True)
@click.option("--partitions", default=4, show_default=True)
@click.option("--profile", is_flag=True, help="Print where the CPU goes (slows the run down).")
def main(events: int, subscriptions: int, partitions: int, profile: bool) -> None:
    """Measure one worker."""
    uvloop.run(_main(events, subscriptions, partitions, profile))


async def _main(events: int, subscriptions: int, partitions: int, profile: bool) -> None:
    with tempfile.TemporaryDirectory() as directory:
        state = Path(directory)
        async with LocalKafka(state / "kafka") as kafka, LocalRedis(state / "redis") as redis:
            settings = Settings(
                profile="local",
                kafka_bootstrap_servers=kafka.bootstrap_servers,
                redis_url=redis.url,
                state_dir=state / "meter",
                raw_partitions=partitions,
                http_port=free_ports(1)[0],
                implicit_plan=False,
            )
            async with running_worker(settings) as worker:
                await _define(worker, subscriptions)
            await _produce(settings, events, subscriptions)
            await _read_only(settings, events)
            await _fold(settings, events, profile)


async def _define(worker: Worker, subscriptions: int) -> None:
    define, org = worker.gateway.define, LOCAL_ORGANIZATION_ID
    charges = []
    for body in METRICS:
        outcome = await define(commands.create_billable_metric(org, body))
        if not isinstance(outcome, Applied):
            raise TypeError(str(outcome))
        charges.append(
            {
                "billable_metric_id": outcome.object.id,
                "charge_model": "standard",
                "properties": {"amount": "0"},
            }
        )
    plan = {
        "name": "bench",
        "code": "bench",
        "interval": "monthly",
        "amount_cents": 0,
        "amount_currency": "EUR",
        "pay_in_advance": False,
        "charges": charges,
    }
    await define(commands.create_plan(org, plan))
    for start in range(0, subscriptions, 50):
        await asyncio.gather(
            *(
                define(commands.create_subscription(org, _subscription(i)))
                for i in range(start, min(start + 50, subscriptions))
            )
        )


def _subscription(i: int) -> dict[str, Any]:
    return {
        "external_customer_id": f"customer_{i}",
        "plan_code": "bench",
        "external_id": f"subscription_{i:06d}",
    }


async def _produce(settings: Settings, events: int, subscriptions: int) -> None:
    producer = AIOKafkaProducer(linger_ms=20, max_batch_size=1 << 20, **settings.kafka_options())
    await producer.start()
    topic = settings.topic(settings.raw_topic)
    now_s = time.time()
    encode = msgspec.json.encode
    keys = [
        message_key(LOCAL_ORGANIZATION_ID, f"subscription_{i:06d}") for i in range(subscriptions)
    ]
    homes = [home_partition(key, settings.raw_partitions, "crc32") for key in keys]
    batches = {p: producer.create_batch() for p in range(settings.raw_partitions)}
    sent = []
    size = 0
    for i in range(events):
        n = (i // 5 * 7919) % subscriptions
        value = encode(
            {
                "organization_id": LOCAL_ORGANIZATION_ID,
                "external_customer_id": None,
                "external_subscription_id": f"subscription_{n:06d}",
                "transaction_id": f"transaction-{i:012d}",
                "timestamp": f"{now_s + (i % 100_000) / 1000:.3f}",
                "code": METRICS[i % 5]["code"],
                "precise_total_amount_cents": "0.0",
                "properties": {"gb": (i % 997) / 4, "cores": i % 64, "user": f"u{i % 5000}"},
                "ingested_at": "2026-01-01T00:00:01.118",
                "source": "bench",
            }
        )
        size += len(value)
        batch = batches[homes[n]]
        if batch.append(key=keys[n], value=value, timestamp=None) is None:
            sent.append(await producer.send_batch(batch, topic, partition=homes[n]))
            batches[homes[n]] = batch = producer.create_batch()
            batch.append(key=keys[n], value=value, timestamp=None)
    for partition, batch in batches.items():
        sent.append(await producer.send_batch(batch, topic, partition=partition))
    for future in sent:
        await future
    await producer.stop()
    click.echo(f"{events:,} events of {size / events:.0f} bytes written")


async def _read_only(settings: Settings, events: int) -> None:
    """The floor: the same records fetched and parsed, and nothing done with them."""
    consumer = plain_consumer(settings)
    await consumer.start()
    topic = settings.topic(settings.raw_topic)
    consumer.assign([TopicPartition(topic, p) for p in range(settings.raw_partitions)])
    await consumer.seek_to_beginning()
    started, cpu = time.perf_counter(), _cpu_s()
    seen = 0
    while seen < events:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            seen += sum(1 for record in records if record.value is not None)
    _report("reading alone", events, time.perf_counter() - started, _cpu_s() - cpu)
    await consumer.stop()


async def _fold(settings: Settings, events: int, profile: bool) -> None:
    profiler = cProfile.Profile() if profile else None
    gc.set_threshold(50_000, 20, 50)  # as `run_worker` does
    async with running_worker(settings) as worker:
        while not any(o.folded_events for o in worker.engine.owned.values()):
            await asyncio.sleep(0.001)
        if profiler:
            profiler.enable()
        first = sum(o.folded_events for o in worker.engine.owned.values())
        started, cpu = time.perf_counter(), _cpu_s()
        while sum(o.folded_events for o in worker.engine.owned.values()) < events:
            await asyncio.sleep(0.01)
        for owned in worker.engine.owned.values():
            await owned.flush()
        elapsed, cpu = time.perf_counter() - started, _cpu_s() - cpu
        if profiler:
            profiler.disable()
        _report("one worker, durable", events - first, elapsed, cpu)
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _report(what: str, events: int, elapsed_s: float, cpu_s: float) -> None:
    click.echo(
        f"{what:22} {events / elapsed_s:10,.0f} events/s   {cpu_s / events * 1e6:6.2f} µs CPU/event"
        f"   {elapsed_s:.2f} s"
    )


if __name__ == "__main__":
    main()
