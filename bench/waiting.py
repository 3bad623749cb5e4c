"""Subscriptions that are created while events wait for them: CPU until these count.

Events of names that nothing defines are folded first. Then the subscriptions are created, by 32
at once, and each is looked at until its usage shows all of its events. One process, with the
worker, the requests and the looks.

    python -m bench.waiting [COUNT ...]
"""

from __future__ import annotations

import asyncio
import time

import click
import uvloop
from aiokafka import AIOKafkaProducer

from app.bounds.turns import drained
from app.definitions import commands
from app.main import Worker, running_worker
from app.settings import LOCAL_ORGANIZATION_ID as ORG
from app.settings import Settings
from bench.world import (
    define,
    definitions_log,
    event_value,
    folded_events,
    keyed,
    local_servers,
    subscription_of,
)
from tables.reading.usage import current_usage_steps

OF_EACH = 10
AT_ONCE = 32
FIRST = 1_000
"""Those before exist already."""


@click.command()
@click.argument("counts", type=int, nargs=-1)
def main(counts: tuple[int, ...]) -> None:
    """Measure so many subscriptions, beside all before."""
    uvloop.run(_main(counts or (100, 1_000)))


async def _main(counts: tuple[int, ...]) -> None:
    async with local_servers(4) as settings, running_worker(settings) as worker:
        await define(worker, definitions_log(10))
        first = FIRST
        for count in counts:
            numbers = range(first, first + count)
            await _send(settings, worker, numbers)
            work = worker.engine.tally.work.counts.copy()
            began_s, cpu = time.perf_counter(), time.process_time()
            await _create(worker, numbers)
            created_s = time.perf_counter() - began_s
            await _counted(worker, numbers)
            took_s, cpu = time.perf_counter() - began_s, time.process_time() - cpu
            done = worker.engine.tally.work.counts - work
            touched = ", ".join(
                f"{operation} {kind} {number / count:,.1f}"
                for (operation, kind), number in sorted(done.items())
            )
            click.echo(
                f"{count:6,} subscriptions: created in {created_s:.2f} s, "
                f"counted in {took_s:.2f} s: {count / took_s:,.0f}/s; "
                f"{cpu / count * 1e3:.2f} ms CPU each\n"
                f"{'':6} touched for each: {touched}"
            )
            first += count


async def _send(settings: Settings, worker: Worker, numbers: range) -> None:
    before = folded_events(worker)
    topic, total = settings.topic(settings.raw_topic), len(numbers) * OF_EACH
    async with AIOKafkaProducer(linger_ms=20, **settings.kafka_options()) as producer:
        for i in range(total):
            number = numbers[i % len(numbers)]
            name = str(subscription_of(number)["external_id"])
            key, home = keyed(name, settings.raw_partitions)
            value = event_value((numbers[0] * OF_EACH + i) * 5, number, time.time())
            await producer.send(topic, value, key=key, partition=home)
    while folded_events(worker) - before < total or worker.engine.restoring:
        await asyncio.sleep(0.1)
    await asyncio.sleep(3)


async def _create(worker: Worker, numbers: range) -> None:
    left = iter(numbers)

    async def one_by_one() -> None:
        for number in left:
            body = {**subscription_of(number), "subscription_at": "2026-01-01T00:00:00Z"}
            await worker.gateway.definer.define(commands.create_subscription(ORG, body))

    await asyncio.gather(*(one_by_one() for _ in range(AT_ONCE)))


async def _counted(worker: Worker, numbers: range) -> None:
    waiting = set(numbers)
    while waiting:
        await asyncio.sleep(0.2)
        for number in list(waiting):
            name = (ORG, str(subscription_of(number)["external_id"]))
            owned = worker.engine.owned[worker.engine.shared.homes.of(*name)]
            if owned.refold_queue.meter_keys:
                continue
            steps = current_usage_steps(owned.state, name, worker.engine.clock.now_ms())
            found = drained(steps)
            counts = [] if found is None else [row.events_count for row in found.rows]
            if sum(counts) != OF_EACH:
                break
            waiting.discard(number)


if __name__ == "__main__":
    main()
