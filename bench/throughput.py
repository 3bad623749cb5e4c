"""Throughput: one worker on a real broker, changelogs on, from the raw topic to durable state.

Writes events of five metrics (count, sum, max, unique_count, weighted_sum) over many subscriptions,
then starts a worker and takes the time until every event is folded and flushed. Prints events per
second and CPU per event, beside what merely reading the same records costs in the same run.

    python -m bench.throughput [--events N] [--subscriptions N] [--partitions N] [--profile]
"""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import time

import click
import uvloop
from aiokafka import AIOKafkaProducer, TopicPartition

from app.kafka.log_readers import plain_consumer
from app.main import running_worker
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from app.wire.keys import home_partition, message_key
from bench.world import cpu_s, define, event_value, local_servers, number_of


@click.command()
@click.option("--events", default=500_000, show_default=True)
@click.option("--subscriptions", default=1_000, show_default=True)
@click.option("--partitions", default=4, show_default=True)
@click.option("--profile", is_flag=True, help="Print where the CPU goes (slows the run down).")
def main(events: int, subscriptions: int, partitions: int, profile: bool) -> None:
    """Measure one worker."""
    uvloop.run(_main(events, subscriptions, partitions, profile))


async def _main(events: int, subscriptions: int, partitions: int, profile: bool) -> None:
    async with local_servers(partitions) as settings:
        async with running_worker(settings) as worker:
            await define(worker, subscriptions)
        await _produce(settings, events, subscriptions)
        await _read_only(settings, events)
        await _fold(settings, events, profile)


async def _produce(settings: Settings, events: int, subscriptions: int) -> None:
    producer = AIOKafkaProducer(linger_ms=20, max_batch_size=1 << 20, **settings.kafka_options())
    await producer.start()
    topic = settings.topic(settings.raw_topic)
    now_s = time.time()
    keys = [
        message_key(LOCAL_ORGANIZATION_ID, f"subscription_{i:06d}") for i in range(subscriptions)
    ]
    homes = [home_partition(key, settings.raw_partitions, "crc32") for key in keys]
    batches = {p: producer.create_batch() for p in range(settings.raw_partitions)}
    sent = []
    size = 0
    for i in range(events):
        n = number_of(i, subscriptions)
        value = event_value(i, n, now_s)
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
    started, cpu = time.perf_counter(), cpu_s()
    seen = 0
    while seen < events:
        for records in (await consumer.getmany(timeout_ms=1000)).values():
            seen += sum(1 for record in records if record.value is not None)
    _report("reading alone", events, time.perf_counter() - started, cpu_s() - cpu)
    await consumer.stop()


async def _fold(settings: Settings, events: int, profile: bool) -> None:
    profiler = cProfile.Profile() if profile else None
    async with running_worker(settings) as worker:
        while not any(o.folded_events for o in worker.engine.owned.values()):
            await asyncio.sleep(0.001)
        if profiler:
            profiler.enable()
        first = sum(o.folded_events for o in worker.engine.owned.values())
        started, cpu = time.perf_counter(), cpu_s()
        while sum(o.folded_events for o in worker.engine.owned.values()) < events:
            await asyncio.sleep(0.01)
        for owned in worker.engine.owned.values():
            await owned.flush()
        elapsed, cpu = time.perf_counter() - started, cpu_s() - cpu
        if profiler:
            profiler.disable()
        _report("one worker, durable", events - first, elapsed, cpu)
    if profiler:
        pstats.Stats(profiler).sort_stats("tottime").print_stats(45)


def _report(what: str, events: int, elapsed_s: float, cpu_s: float) -> None:
    click.echo(
        f"{what:22} {events / elapsed_s:10,.0f} events/s   {cpu_s / events * 1e6:6.2f} µs CPU/event"
        f"   {elapsed_s:.2f} s"
    )


if __name__ == "__main__":
    main()
