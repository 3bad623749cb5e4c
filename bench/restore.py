"""Many cells: how long a worker restarts and closes that has a million, and what they weigh.

Folds events of five metrics in many groups through a worker on a real broker, then starts the
worker anew in a process of its own, lets the month end, and starts it once more. With `--state` the
servers' files stay, so that the second run measures without folding again.

    python -m bench.restore [--subscriptions N] [--groups N] [--state DIRECTORY]
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import resource
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec
import psutil
import uvloop
from aiokafka import AIOKafkaProducer

from app.clock import SystemClock
from app.definitions import commands
from app.definitions.outcome import Applied
from app.kafka.topics import METER_DEFINITIONS
from app.local_servers.kafka import LocalKafka
from app.local_servers.ports import free_ports
from app.local_servers.redis import LocalRedis
from app.main import Worker, running_worker
from app.settings import LOCAL_ORGANIZATION_ID, Settings
from app.wire.keys import home_partition, message_key
from bench.world import METRICS, charge_of, plan_of, subscription_of

FOLDED_MS = int(datetime(2026, 1, 20, tzinfo=UTC).timestamp() * 1000)
RESTARTED_MS = int(datetime(2026, 1, 31, 23, tzinfo=UTC).timestamp() * 1000)
MONTH_END_MS = int(datetime(2026, 2, 1, tzinfo=UTC).timestamp() * 1000)
CLOSED_MS = MONTH_END_MS + 10_000
PREFIX = "scale-"


class ShiftedClock(SystemClock):
    """A clock that runs as ever, but stands elsewhere."""

    def __init__(self, starts_at_ms: int):
        self._shift_ms = starts_at_ms - super().now_ms()

    def now_ms(self) -> int:
        return super().now_ms() + self._shift_ms

    def jump(self, to_ms: int) -> None:
        """Stand at another time from now on."""
        self._shift_ms = to_ms - super().now_ms()


class Shape(msgspec.Struct):
    """How many cells there are, and of what."""

    subscriptions: int
    groups: int
    events: int

    @property
    def cells(self) -> int:
        """Each metric of each subscription has every group."""
        return self.subscriptions * len(METRICS) * self.groups


@click.command()
@click.option("--subscriptions", default=20_000, show_default=True)
@click.option("--groups", default=10, show_default=True, help="Groups of each metric.")
@click.option("--events", default=2, show_default=True, help="Events of each cell.")
@click.option("--partitions", default=4, show_default=True)
@click.option("--state", type=click.Path(path_type=Path), help="Keep the servers' files there.")
@click.option("--restart-only", is_flag=True, help="Leave the month open.")
def main(
    subscriptions: int,
    groups: int,
    events: int,
    partitions: int,
    state: Path | None,
    restart_only: bool,
) -> None:
    """Measure restart, memory and closing."""
    shape = Shape(subscriptions, groups, events)
    kept: AbstractContextManager[str | Path] = (
        nullcontext(state) if state else tempfile.TemporaryDirectory()
    )
    with kept as directory:
        uvloop.run(_main(shape, partitions, Path(directory), restart_only))


async def _main(shape: Shape, partitions: int, state: Path, restart_only: bool) -> None:
    folded = state / "folded"
    async with LocalKafka(state / "kafka") as kafka, LocalRedis(state / "redis") as redis:
        settings = Settings(
            profile="test",
            test_clock=True,
            topic_prefix=PREFIX,
            kafka_bootstrap_servers=kafka.bootstrap_servers,
            kafka_dir=kafka.directory,
            redis_url=redis.url,
            state_dir=state / "meter",
            raw_partitions=partitions,
            http_port=free_ports(1)[0],
            verify_pairs_per_minute=0,
        )
        if not folded.exists():
            await asyncio.to_thread(_in_own_process, _fold, settings, shape)
            folded.touch()
        await asyncio.to_thread(_in_own_process, _restart, settings, shape)
        if not restart_only:
            await asyncio.to_thread(_in_own_process, _close, settings, shape)
            await asyncio.to_thread(_in_own_process, _restart, settings, shape)


def _in_own_process(measure: Any, settings: Settings, shape: Shape) -> None:
    """So that what one measurement leaves behind in memory does not count for the next."""
    process = multiprocessing.get_context("spawn").Process(
        target=_run, args=(measure, settings, shape)
    )
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(process.exitcode)


def _run(measure: Any, settings: Settings, shape: Shape) -> None:
    uvloop.run(measure(settings, shape))


async def _fold(settings: Settings, shape: Shape) -> None:
    clock = ShiftedClock(FOLDED_MS)
    started, cpu_s = time.perf_counter(), _cpu_s()
    async with running_worker(settings, clock) as worker:
        await _define(worker, shape)
        await _produce(settings, shape, clock)
        total = shape.cells * shape.events
        while (seen := sum(o.folded_events for o in worker.engine.owned.values())) < total:
            await asyncio.sleep(0.1)
        if seen > total:
            raise ValueError(f"{seen} events folded of {total}")
    _report("folded", shape, time.perf_counter() - started, _cpu_s() - cpu_s)


async def _define(worker: Worker, shape: Shape) -> None:
    define, org = worker.gateway.definer.define, LOCAL_ORGANIZATION_ID
    grouping = {"pricing_group_keys": ["zone"]} if shape.groups > 1 else {}
    charges = []
    for body in METRICS:
        outcome = await define(commands.create_billable_metric(org, body))
        if not isinstance(outcome, Applied):
            raise TypeError(str(outcome))
        charges.append(charge_of(outcome.object.id, **grouping))
    await define(commands.create_plan(org, plan_of(charges)))
    topic = worker.settings.topic(METER_DEFINITIONS)
    at_once = 1_000
    for start in range(0, shape.subscriptions, at_once):
        numbers = range(start, min(start + at_once, shape.subscriptions))
        bodies = (commands.create_subscription(org, _subscription(i)) for i in numbers)
        sent = await asyncio.gather(
            *(worker.engine.append(topic, None, body.encode(), 0) for body in bodies)
        )
        while worker.engine.definitions.offset <= max(record.offset for record in sent):
            await asyncio.sleep(0.01)


def _name(i: int) -> str:
    return f"subscription_{i:06d}"


def _subscription(i: int) -> dict[str, Any]:
    since = {"billing_time": "calendar", "subscription_at": "2026-01-01T00:00:00Z"}
    return {**subscription_of(i), **since}


async def _produce(settings: Settings, shape: Shape, clock: ShiftedClock) -> None:
    producer = AIOKafkaProducer(linger_ms=20, max_batch_size=1 << 19, **settings.kafka_options())
    await producer.start()
    topic, sent = settings.topic(settings.raw_topic), []
    batches = {p: producer.create_batch() for p in range(settings.raw_partitions)}
    for home, key, value in _events(shape, settings.raw_partitions):
        fields = {"key": key, "value": value, "timestamp": clock.now_ms()}
        if batches[home].append(**fields) is None:
            sent.append(await producer.send_batch(batches[home], topic, partition=home))
            batches[home] = producer.create_batch()
            batches[home].append(**fields)
    for home, batch in batches.items():
        sent.append(await producer.send_batch(batch, topic, partition=home))
    await asyncio.gather(*sent)
    await producer.stop()


def _events(shape: Shape, partitions: int) -> Iterator[tuple[int, bytes, bytes]]:
    encode = msgspec.json.encode
    for i in range(shape.subscriptions):
        key = message_key(LOCAL_ORGANIZATION_ID, _name(i))
        home = home_partition(key, partitions, "crc32")
        for n in range(shape.events * shape.groups * len(METRICS)):
            group, turn = divmod(n // len(METRICS), shape.events)
            event = {
                "organization_id": LOCAL_ORGANIZATION_ID,
                "external_subscription_id": _name(i),
                "transaction_id": f"transaction-{i}-{n}",
                "timestamp": f"{FOLDED_MS // 1000 + i % 86_400}.{n % 1000:03}",
                "code": METRICS[n % len(METRICS)]["code"],
                "precise_total_amount_cents": "0.0",
                "properties": {
                    "zone": f"zone-{group:03}",
                    "gb": f"{i % 997}.{n % 97:02}",
                    "cores": n % 64,
                    "user": f"u{turn % 1000}",
                },
            }
            yield home, key, encode(event)


async def _restart(settings: Settings, shape: Shape) -> None:
    """From nothing to answering for every partition."""
    async with _restarted(settings, shape, ShiftedClock(RESTARTED_MS)):
        pass


async def _close(settings: Settings, shape: Shape) -> None:
    """From the end of the month to the last usage record, durable."""
    clock = ShiftedClock(RESTARTED_MS)
    async with _restarted(settings, shape, clock) as worker:
        started, cpu_s = time.perf_counter(), _cpu_s()
        clock.jump(CLOSED_MS)
        engine = worker.engine
        owned = engine.owned.values()
        while not owned or any(o.state.checkpoint.cut_ms < MONTH_END_MS for o in owned):
            if engine.failure is not None:
                raise engine.failure
            await asyncio.sleep(0.05)
        for one in owned:
            await one.flush()
        _report("closed", shape, time.perf_counter() - started, _cpu_s() - cpu_s)


@asynccontextmanager
async def _restarted(
    settings: Settings, shape: Shape, clock: ShiftedClock
) -> AsyncIterator[Worker]:
    started, cpu_s = time.perf_counter(), _cpu_s()
    worker = Worker(settings, clock)
    engine = worker.engine
    before = asyncio.create_task(_bytes_before_cells(worker))
    try:
        await worker.start()
        while len(engine.owned) < settings.raw_partitions or engine.restoring:
            await asyncio.sleep(0.01)
        cells = sum(owned.state.checkpoint.cells for owned in engine.owned.values())
        if cells != shape.cells:
            raise ValueError(f"{cells:,} cells, not {shape.cells:,}")
        _report("restarted", shape, time.perf_counter() - started, _cpu_s() - cpu_s)
        _weigh("restarted", shape, await before)
        yield worker
        _weigh("in the end", shape, await before)
    finally:
        before.cancel()
        await worker.stop()


async def _bytes_before_cells(worker: Worker) -> int:
    """Resident memory with every definition applied and no partition restored."""
    while not (worker.engine.restoring or worker.engine.owned):
        await asyncio.sleep(0.001)
    return _resident_bytes()


def _resident_bytes() -> int:
    return int(psutil.Process().memory_info().rss)


def _weigh(what: str, shape: Shape, before: int) -> None:
    gc.collect()
    now, peak = _resident_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    click.echo(
        f"{what:12} {(now - before) / shape.cells:10,.0f} bytes a cell   "
        f"(before {before >> 20:,} MB, now {now >> 20:,} MB, at most {peak >> 20:,} MB)"
    )


def _cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _report(what: str, shape: Shape, elapsed_s: float, cpu_s: float) -> None:
    click.echo(f"{what:12} {shape.cells:10,} cells   {elapsed_s:7.2f} s   {cpu_s:7.2f} s CPU")


if __name__ == "__main__":
    main()
