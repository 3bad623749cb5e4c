"""Latency: how long answers take while one worker ingests at a given rate.

A process of its own writes events at `--rate` to a real broker and meanwhile asks the worker over
HTTP: for the current usage of some subscription, and, of events that it has just written, for usage
that includes them. Prints percentiles in ms, and how much CPU the worker took.

    python -m bench.latency [--rate N] [--seconds N] [--subscriptions N] [--partitions N] [--mixed]

`--mixed` is what real producers do: of the events some lie on the wrong partition and some come
twice, and all the time subscriptions are created whose events are there already.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterator
from http import HTTPStatus
from itertools import count

import aiohttp
import click
import msgspec
import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from prometheus_client.parser import text_string_to_metric_families

from app.main import running_worker
from bench.world import (
    at_shares,
    define,
    definitions_log,
    event_value,
    folded_events,
    in_own_process,
    keyed,
    local_servers,
    number_of,
    subscription_of,
)

STEP_S = 0.05
"""Events are written once in so long."""

QUERY_EVERY_S = 0.05
VISIBLE_EVERY_S = 0.2
DEFINED_EVERY_S = 1.0


class Load(msgspec.Struct, frozen=True):
    """What is written and asked, and where."""

    rate: int
    seconds: int
    subscriptions: int
    partitions: int
    url: str
    secret: str
    servers: list[str]
    mixed: bool = False


@click.command()
@click.option("--rate", default=40_000, show_default=True, help="Events a second.")
@click.option("--seconds", default=20, show_default=True)
@click.option("--subscriptions", default=1_000, show_default=True)
@click.option("--partitions", default=4, show_default=True)
@click.option("--mixed", is_flag=True, help="Misplaced events, duplicates, late definitions too.")
def main(rate: int, seconds: int, subscriptions: int, partitions: int, mixed: bool) -> None:
    """Measure the latency of one worker under load."""
    uvloop.run(_main(rate, seconds, subscriptions, partitions, mixed))


async def _main(rate: int, seconds: int, subscriptions: int, partitions: int, mixed: bool) -> None:
    async with local_servers(partitions) as settings, running_worker(settings) as worker:
        await define(worker, definitions_log(subscriptions))
        load = Load(
            rate,
            seconds,
            subscriptions,
            partitions,
            worker.url,
            settings.api_keys[0].key.get_secret_value(),
            settings.kafka_options()["bootstrap_servers"],
            mixed,
        )
        started, cpu = time.perf_counter(), time.process_time()
        await asyncio.to_thread(in_own_process, _client, load)
        elapsed, cpu = time.perf_counter() - started, time.process_time() - cpu
        folded = folded_events(worker)
        click.echo(
            f"{folded:,} events folded, {cpu / elapsed:.0%} of a core, "
            f"{cpu / max(folded, 1) * 1e6:.1f} µs CPU an event with everything asked"
        )


async def _client(load: Load) -> None:
    """Write and ask."""
    producer = AIOKafkaProducer(bootstrap_servers=load.servers, max_batch_size=1 << 20)
    await producer.start()
    numbers = count()
    until_s = time.perf_counter() + load.seconds
    headers = {"Authorization": f"Bearer {load.secret}"}
    try:
        async with aiohttp.ClientSession(load.url, headers=headers) as session:
            before = await _stalls(session)
            answers, visible, *_ = await asyncio.gather(
                _ask(session, load, until_s),
                _see(session, producer, numbers, load, until_s),
                _write(producer, numbers, load, until_s),
                _define_late(session, load, until_s),
            )
            after = await _stalls(session)
    finally:
        await producer.stop()
    _report("current_usage", answers)
    _report("event to visible usage", visible)
    counts = {bound: count - before[bound] for bound, count in after.items()}
    total = max(counts.values())
    over = ", ".join(
        f"{total - n:.0f} over {b * 1e3:.0f} ms" for b, n in counts.items() if n < total
    )
    click.echo(f"of {total:.0f} looks at the event loop came late: {over or 'none'}")


async def _write(
    producer: AIOKafkaProducer,
    numbers: Iterator[int],
    load: Load,
    until_s: float,
) -> None:
    """Events at an even rate; what a slow moment left out is written in the next."""
    late = int(load.seconds / DEFINED_EVERY_S) if load.mixed else 0
    names = [f"subscription_{n:06d}" for n in range(load.subscriptions + late)]
    placed = [keyed(name, load.partitions) for name in names]
    started_s, written = time.perf_counter(), 0
    while (now_s := time.perf_counter()) < until_s:
        batches: defaultdict[int, BatchBuilder] = defaultdict(producer.create_batch)
        for _ in range(int((now_s - started_s) * load.rate) - written):
            i = next(numbers)
            n = number_of(i, len(names))
            value, (key, partition) = event_value(i, n, time.time()), placed[n]
            if load.mixed and i % 20 == 0:
                partition = (partition + 1) % load.partitions
            if batches[partition].append(key=key, value=value, timestamp=None) is None:
                break
            if load.mixed and i % 33 == 0:
                batches[partition].append(key=key, value=value, timestamp=None)
            written += 1
        for partition, batch in batches.items():
            await producer.send_batch(batch, "events-raw", partition=partition)
        await asyncio.sleep(STEP_S)


async def _define_late(session: aiohttp.ClientSession, load: Load, until_s: float) -> None:
    """Create subscriptions that have events already: each is a repair."""
    n = load.subscriptions
    while load.mixed and time.perf_counter() < until_s - DEFINED_EVERY_S:
        await asyncio.sleep(DEFINED_EVERY_S)
        body = {"subscription": {**subscription_of(n), "subscription_at": "2020-01-01T00:00:00Z"}}
        async with session.post("/api/v1/subscriptions", json=body) as answer:
            answer.raise_for_status()
        n += 1


async def _stalls(session: aiohttp.ClientSession) -> dict[float, float]:
    """How often the event loop was looked at, by how late that was at most."""
    async with session.get("/metrics") as answer:
        families = list(text_string_to_metric_families(await answer.text()))
    return {
        float(sample.labels["le"]): sample.value
        for family in families
        for sample in family.samples
        if sample.name == "meter_loop_stall_seconds_bucket"
    }


async def _ask(session: aiohttp.ClientSession, load: Load, until_s: float) -> list[float]:
    """Seconds that each answer took."""
    taken: list[float] = []
    while (asked_s := time.perf_counter()) < until_s:
        await _usage(session, len(taken) * 31 % load.subscriptions)
        taken.append(time.perf_counter() - asked_s)
        await asyncio.sleep(QUERY_EVERY_S)
    return taken


async def _see(
    session: aiohttp.ClientSession,
    producer: AIOKafkaProducer,
    numbers: Iterator[int],
    load: Load,
    until_s: float,
) -> list[float]:
    """Seconds from writing an event to an answer that includes it; those that took over 5 s too."""
    taken: list[float] = []
    while (sent_s := time.perf_counter()) < until_s:
        i = next(numbers)
        n = number_of(i, load.subscriptions)
        key, home = keyed(f"subscription_{n:06d}", load.partitions)
        value = event_value(i, n, time.time())
        written = await producer.send_and_wait("events-raw", value, key=key, partition=home)
        while not await _usage(session, n, wait_for=f"{written.partition}:{written.offset}"):
            click.echo("not folded within 5 s: the worker does not keep up")
        taken.append(time.perf_counter() - sent_s)
        await asyncio.sleep(VISIBLE_EVERY_S)
    return taken


async def _usage(session: aiohttp.ClientSession, n: int, **parameters: str) -> bool:
    """Whether there was an answer; False: what it was to wait for is not folded."""
    path = f"/api/v1/customers/customer_{n}/current_usage"
    asked = {"external_subscription_id": f"subscription_{n:06d}", **parameters}
    async with session.get(path, params=asked) as answer:
        await answer.read()
        if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
            answer.raise_for_status()
        return answer.ok


def _report(what: str, taken_s: list[float]) -> None:
    p50, p90, p99, most = (each * 1e3 for each in at_shares(taken_s, 0.5, 0.9, 0.99, 1))
    click.echo(
        f"{what:24} {len(taken_s):5} times   p50 {p50:6.1f}   p90 {p90:6.1f}   p99 {p99:6.1f}"
        f"   max {most:6.1f} ms"
    )


if __name__ == "__main__":
    main()
